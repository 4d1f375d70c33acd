"""Whole models of pythae with its default dense networks: weights by its own names, losses, reconstructions, codes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders.vae import detect

_spec = importlib.util.spec_from_file_location("vae_golden_tools", Path(__file__).with_name("test_vae_losses.py"))
assert _spec is not None
assert _spec.loader is not None
tools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tools)


@pytest.mark.golden("autoencoders_pythae*.safetensors")
def test_models(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x = golden.inputs["x"].requires_grad_()
    for name, config in golden.config["models"].items():
        _, loss = tools.made(config["name"].removesuffix("Config").rstrip("_"), config)
        state = golden.part(name)
        assert detect(state)
        loss = tools.with_codebook(loss, state)
        model = tools.filled(state, tuple(x.shape[1:]), loss)
        count = sum(key.startswith(f"in.{name}.eps") for key in golden.tensors)
        eps = [golden.tensors[f"in.{name}.eps{i}"] for i in range(count)]
        out, moment = tools.passed(model, loss, x, eps, 0, len(x))
        expected = golden.part(f"out.{name}")
        terms = loss.terms(x, out, moment)
        found = {
            "loss": torch.stack(list(loss.losses(x, out, moment).values())).sum(),
            "recon_loss": terms["reconstruction"].value,
            "recon_x": tools.first_draw(out.reconstruction, len(loss.axes)),
            "z": tools.first_draw(out.z, len(loss.axes)),
        }
        for key in ("reg_loss", "kld"):
            if key in expected:
                found[key] = terms["kl"].value
        if "mmd_loss" in expected:
            found["mmd_loss"] = terms["mmd"].value
        for key in sorted(expected.keys() & found.keys()):
            assert_same(found[key], expected[key], 1e-5, f"{name} {key}")
        assert {"loss", "recon_x", "z"} <= expected.keys()
