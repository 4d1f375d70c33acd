"""The latent-diffusion schedules equal ldm's make_beta_schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
from goldens import Golden, assert_same

from lienzo.diffusion.schedules import SCHEDULES


@pytest.mark.golden("ldm_beta_schedules*.safetensors")
def test_betas(golden_path: Path) -> None:
    golden = Golden(golden_path)
    config = golden.config
    line = {"start": config.get("linear_start", 1e-4), "end": config.get("linear_end", 2e-2)}
    assert golden.outputs
    for name, expected in golden.outputs.items():
        options = {"s": config.get("cosine_s", 8e-3)} if name == "cosine" else line
        betas = SCHEDULES.load(f"ldm_{name}")(config["n"], **options)
        assert_same(betas, expected, 1e-12, name)
