"""The buffers in checkpoints of Stable Diffusion belong to no network, and give the noise schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lienzo.diffusion.schedules import alphas_cumprod, stable_diffusion
from lienzo.diffusion.sd_parts import BUFFERS, EMA, noise_schedule


@pytest.mark.golden("manifest_sd_v1_buffers*.json")
def test_buffers(golden_path: Path) -> None:
    manifest = json.loads(golden_path.read_text())
    names = manifest["schedule_buffers"]
    assert names.keys() <= BUFFERS
    assert all(name.startswith(EMA) for name in manifest["others"])
    (steps,) = names["betas"]
    betas = stable_diffusion(steps)
    tables = {"betas": betas.float(), "alphas_cumprod": alphas_cumprod(betas).float()}
    assert {name: [len(table)] for name, table in tables.items()} == {name: names[name] for name in tables}
    for name, table in tables.items():
        assert torch.allclose(noise_schedule({name: table}), betas, rtol=2e-3)
