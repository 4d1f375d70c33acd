"""SwinIR beyond its golden files: every option, any size, both attention paths, loading and its refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.upscaling.swin import DropPath
from lienzo.upscaling.swinir import SwinIR, detect, load, reflect_to_multiple, unwrap

SMALL: dict[str, Any] = {
    "img_size": 16, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4, "mlp_ratio": 2.0,
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {"upsampler": "pixelshuffle", "upscale": 8},
    {"upsampler": "pixelshuffle", "upscale": 3},
    {"upsampler": "pixelshuffle", "upscale": 1},
    {"upsampler": "pixelshuffledirect", "upscale": 3},
    {"upsampler": "nearest+conv", "upscale": 2},
    {"upsampler": "nearest+conv", "upscale": 4, "resi_connection": "3conv"},
    {"upsampler": "", "in_chans": 1, "upscale": 1},
    {"upsampler": "", "in_chans": 4, "upscale": 1, "img_range": 255.0},
    {"ape": True, "patch_norm": False, "qkv_bias": False},
    {"qk_scale": 0.5, "window_size": 7, "img_size": 14, "num_heads": [1, 4]},
    {"img_size": [8, 16], "depths": [1, 3]},
    {"img_size": 32, "patch_size": 2},
    {"img_size": 4, "window_size": 8},
    {"use_checkpoint": True, "drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.3},
    {"mlp_ratio": 29.5 / 8},
]


def fresh(**options: Any) -> SwinIR:
    """A network whose every weight counts: also those that start at zero."""
    torch.manual_seed(0)
    model = SwinIR(**{**SMALL, **options}).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_option_runs_trains_and_loads_back(options: dict[str, Any]) -> None:
    model = fresh(**options)
    x = picture(2, model.in_chans, 9, 14)
    with torch.no_grad():
        y = model(x)
    assert y.shape == (2, model.in_chans, 9 * model.scale, 14 * model.scale)

    loaded = load({"params": model.state_dict()}, json.loads(json.dumps(model.config)))
    assert loaded.config == model.config
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), y, atol=0, rtol=0)

    model.train()
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


TRACELESS = {"qk_scale", "patch_size", "img_range"}


@pytest.mark.parametrize("options", [v for v in VARIANTS if not TRACELESS & set(v) and v.get("img_size") != 4], ids=str)
def test_shapes_alone_rebuild_the_function(options: dict[str, Any]) -> None:
    model = fresh(**options)
    bare = {k: v for k, v in model.state_dict().items() if not k.endswith("relative_position_index")}
    x = picture(1, model.in_chans, 9, 14)
    with torch.no_grad():
        torch.testing.assert_close(load(bare)(x), model(x), atol=0, rtol=0)


def test_window_seven_without_upsampler_means_range_255() -> None:
    state = fresh(window_size=7, img_size=14, in_chans=1, upscale=1).state_dict()
    assert load(state).img_range == 255
    assert load(state, {"img_range": 1.0}).img_range == 1
    assert load(fresh(window_size=7, img_size=14, upsampler="pixelshuffle").state_dict()).img_range == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (4, 8), (17, 16), (33, 7)])
def test_any_size_equals_the_padded_picture(size: tuple[int, int]) -> None:
    """Padding inside is numpy's reflection, which also repeats where the picture is smaller than the padding."""
    model = fresh(upsampler="pixelshuffledirect", upscale=2)
    x = picture(1, 3, *size)
    steps = [range(-(-side // 4) * 4) for side in size]
    folded = [[min(i % max(2 * s - 2, 1), -i % max(2 * s - 2, 1)) for i in r] for r, s in zip(steps, size)]
    padded = x[:, :, folded[0]][:, :, :, folded[1]]
    torch.testing.assert_close(reflect_to_multiple(x, 4), padded)
    with torch.no_grad():
        y = model(padded)[:, :, : 2 * size[0], : 2 * size[1]]
        torch.testing.assert_close(model(x), y, atol=0, rtol=0)


def test_reflection_is_that_of_torch() -> None:
    x = picture(1, 1, 13, 19)
    torch.testing.assert_close(reflect_to_multiple(x, 8), torch.nn.functional.pad(x, (0, 5, 0, 3), mode="reflect"))


def test_fused_and_plain_attention_agree() -> None:
    model = fresh()
    x = picture(2, 3, 20, 12)
    plain = model(x).detach()
    with torch.no_grad():
        fused = model(x)
    assert (plain - fused).abs().max() / plain.abs().max() < 2e-6


def test_a_stored_mask_equals_a_computed_one() -> None:
    x = picture(1, 3, 16, 16)
    state = fresh(img_size=16).state_dict()
    other = SwinIR(**{**SMALL, "img_size": 32}).eval()
    other.load_state_dict({k: v for k, v in state.items() if not k.endswith("attn_mask")}, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(other(x), load(state)(x), atol=0, rtol=0)


def test_dropping_paths_scales_the_kept_ones() -> None:
    model = fresh(drop_path_rate=0.9, depths=[1, 1])
    x = picture(64, 3, 4, 4)
    with torch.no_grad():
        still = model(x)
        model.train()
        torch.manual_seed(0)
        noisy = model(x)
    changed = (noisy - still).flatten(1).abs().amax(1) > 1e-6
    assert changed.any()
    rates = [m.rate for m in SwinIR(**SMALL).modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.1 / 3, 0.2 / 3, 0.1])  # linear over all blocks, 0.1 by default


def test_half_precision_files_become_float32() -> None:
    model = load({f"module.{k}": v.half() if v.is_floating_point() else v for k, v in fresh().state_dict().items()})
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_loading_copies() -> None:
    source = fresh()
    load(source.state_dict()).conv_first.weight.data.zero_()
    assert source.conv_first.weight.abs().sum() > 0


def test_wrappers_prefer_the_average() -> None:
    one, two = fresh().state_dict(), {k: v + 1 for k, v in fresh().state_dict().items()}
    assert unwrap({"params": one, "params_ema": two})["norm.bias"] is two["norm.bias"]
    flat = {f"params.{k}": v for k, v in one.items()} | {f"params_ema.{k}": v for k, v in two.items()}
    assert unwrap(flat)["norm.bias"] is two["norm.bias"]
    assert detect(flat)


def test_cousins_are_not_taken_for_swinir() -> None:
    state = fresh().state_dict()
    hat = {**state, "layers.0.residual_group.blocks.0.conv_block.cab.0.weight": torch.zeros(1)}
    assert not detect(hat)
    assert not detect({"conv_first.weight": torch.zeros(8, 3, 3, 3)})
    with pytest.raises(BadWeights, match=r"unexpected key layers\.0\.residual_group\.blocks\.0\.conv_block"):
        load(hat)


@pytest.mark.parametrize(
    ("change", "config", "sentence"),
    [
        ({"conv_last.bias": None}, {}, "conv_last.bias is missing"),
        ({"layers.1.conv.weight": torch.zeros(8, 8, 1, 1)}, {}, r"layers.1.conv.weight is \(8, 8, 1, 1\)"),
        ({"upsample.0.weight": torch.zeros(8, 8, 3, 3), "conv_before_upsample.0.weight": torch.zeros(64, 8, 3, 3)},
         {}, "is missing"),
        ({}, {"embed_dim": 16}, "embed_dim 8, not 16"),
        ({}, {"colour": "red"}, "no option 'colour'"),
        ({}, {"img_size": 10**9}, "1 to 512"),
        ({}, {"window_size": 16}, "attn_mask is unexpected"),
        ({}, {"img_range": "wide"}, "do not fit together"),
    ],
)  # fmt: skip
def test_bad_weights_get_one_sentence(change: dict[str, Any], config: dict[str, Any], sentence: str) -> None:
    state = {k: v for k, v in {**fresh().state_dict(), **change}.items() if v is not None}
    with pytest.raises(BadWeights, match=sentence):
        load(state, config)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"upsampler": "bilinear"}, "no upsampler 'bilinear'"),
        ({"upsampler": "nearest+conv", "upscale": 3}, "2 or 4 times, not 3"),
        ({"upsampler": "pixelshuffle", "upscale": 6}, "power of 2, not 6"),
        ({"resi_connection": "2conv"}, "no resi_connection"),
        ({"num_heads": [2]}, "differ in length"),
        ({"num_heads": [3, 3]}, "split evenly into 3 heads"),
        ({"img_size": 18}, "multiple of the window of 4"),
        ({"img_range": 0}, "above 0"),
        ({"patch_size": 17}, "patch_size is 1 to img_size"),
    ],
)
def test_bad_options_get_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        SwinIR(**{**SMALL, **options})


def test_wrong_pictures_get_one_sentence() -> None:
    with pytest.raises(BadInput, match=r"\(B, 3, H, W\), not \(1, 1, 8, 8\)"):
        fresh()(picture(1, 1, 8, 8))
