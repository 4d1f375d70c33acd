"""Reading golden files (inputs, weights and outputs that the original programs computed) and comparing to them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """One golden safetensors file: `config` from its metadata, tensors by their prefix."""

    path: Path

    @cached_property
    def metadata(self) -> dict[str, str]:
        with safe_open(self.path, "pt") as file:
            return file.metadata() or {}

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads(self.metadata["config"])

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        with safe_open(self.path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix.`; half-precision weights come back as float32."""
        found = {k.removeprefix(prefix + "."): v for k, v in self.tensors.items() if k.startswith(prefix + ".")}
        return {k: v.float() if v.dtype is torch.float16 else v for k, v in found.items()}

    @property
    def state(self) -> dict[str, Tensor]:
        return self.part("state")

    @property
    def inputs(self) -> dict[str, Tensor]:
        return self.part("in")

    @property
    def outputs(self) -> dict[str, Tensor]:
        return self.part("out")


def assert_same(actual: Tensor, expected: Tensor, tolerance: float = 2e-5, what: str = "") -> None:
    """max|a-b| / max|b| within `tolerance`; integer and boolean tensors must be equal."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    if not expected.is_floating_point():
        assert torch.equal(actual.to(expected.dtype), expected), f"{what}: not equal"
        return
    a, b = actual.detach().double(), expected.double()
    worst = (a - b).abs().max().item() / max(b.abs().max().item(), 1e-30)
    assert worst <= tolerance, f"{what}: relative difference {worst:.2e} is above {tolerance:.0e}"


def named_weights(module: torch.nn.Module, salt: str, key_prefix: str = "") -> None:
    """Fill a full-size network in place with the weights that `full_*` files derive from each tensor's name."""
    state = module.state_dict()
    for key, value in state.items():
        if not value.is_floating_point() or key.endswith(("attn_mask", "mask")):
            continue
        generator = torch.Generator().manual_seed(zlib.crc32((salt + key_prefix + key).encode()))
        r = torch.randn(value.shape, generator=generator)
        if value.ndim >= 2:
            value.copy_(r / value[0].numel() ** 0.5)
        elif value.ndim == 1:
            if key.endswith("running_var"):
                value.copy_(1 + 0.1 * r.abs())
            else:
                value.copy_(1 + 0.1 * r if key.endswith("weight") else 0.1 * r)
        else:
            value.fill_(2.6592)


def det_weights(module: torch.nn.Module, salt: str) -> None:
    """Fill a network in place with the numpy "det" weights of the clip_model_*, lpips and inception files."""
    for key, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        a = np.random.RandomState(zlib.crc32(f"{salt}:{key}".encode()) & 0xFFFFFFFF).randn(*value.shape)
        if key.endswith("running_var"):
            a = 1 + 0.1 * np.abs(a)
        elif key.endswith(("running_mean", "bias")):
            a = 0.05 * a
        elif value.ndim <= 1:
            a = 1 + 0.1 * a if key.endswith("weight") else 0.05 * a
        else:
            a = a * 1.4 / np.sqrt(np.prod(value.shape[1:]))
        value.copy_(torch.as_tensor(a, dtype=value.dtype))
