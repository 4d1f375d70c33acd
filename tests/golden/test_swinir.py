"""SwinIR equals the original, number for number, from the constructor and from the bare weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.imaging.tiles import run_tiled
from lienzo.upscaling.swinir import SwinIR, detect, load


def network_options(golden: Golden) -> dict[str, Any]:
    known = inspect.signature(SwinIR).parameters
    return {k: v for k, v in golden.config.items() if k in known}


def flip_padded(model: SwinIR, x: Tensor, window: int) -> Tensor:
    """The original's command line: it appends the mirrored picture, always by at least one pixel to a window."""
    height, width = x.shape[2:]
    padded = torch.cat([x, x.flip(2)], 2)[:, :, : (height // window + 1) * window]
    padded = torch.cat([padded, padded.flip(3)], 3)[:, :, :, : (width // window + 1) * window]
    return model(padded)[:, :, : height * model.scale, : width * model.scale]


def check_outputs(model: SwinIR, golden: Golden) -> None:
    config, x, y = golden.config, golden.inputs, golden.outputs
    with torch.no_grad():
        assert_same(model(x["x"]), y["y"], what="y")
        if "y_odd" in y:
            assert_same(model(x["x_odd"]), y["y_odd"], what="y_odd")
        if "y_odd_flip_padded" in y:
            padded = flip_padded(model, x["x_odd"], config["window_size"])
            assert_same(padded, y["y_odd_flip_padded"], what="y_odd_flip_padded")
        if "y_tiled" in y:
            tiled = run_tiled(
                model,
                x["x_tile"],
                tile=config["tile"],
                overlap=config["tile_overlap"],
                scale=model.scale,
                blend="uniform",
            )
            assert_same(tiled, y["y_tiled"], what="y_tiled")


@pytest.mark.golden("swinir_*.safetensors")
def test_swinir_from_its_config(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model = SwinIR(**network_options(golden)).eval()
    model.load_state_dict(golden.state)
    check_outputs(model, golden)


@pytest.mark.golden("swinir_*.safetensors")
def test_swinir_loads_from_bare_weights(golden_path: Path) -> None:
    golden, options = Golden(golden_path), network_options(Golden(golden_path))
    assert detect(golden.state)
    model = load(golden.state, options)
    check_outputs(model, golden)
    # What the shapes alone show is what the config says, save options that leave no trace in them.
    alone = load(golden.state).config
    hidden = {"qk_scale", "drop_rate", "attn_drop_rate", "drop_path_rate", "use_checkpoint", "img_range", "patch_size"}
    hidden |= set() if options.get("upsampler") else {"upscale"}
    for name in set(options) - hidden:
        assert alone[name] == pytest.approx(options[name]) if name == "mlp_ratio" else alone[name] == options[name]


@pytest.mark.golden("swinir_*.safetensors")
def test_swinir_computes_the_stored_buffers(golden_path: Path) -> None:
    golden = Golden(golden_path)
    buffers = dict(SwinIR(**network_options(golden)).named_buffers())
    stored = {k: v for k, v in golden.state.items() if k.endswith(("attn_mask", "relative_position_index"))}
    assert stored
    for key, value in stored.items():
        assert_same(buffers[key], value, what=key)
