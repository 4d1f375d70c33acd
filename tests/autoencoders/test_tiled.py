"""Tiles: equal to the whole, without seams, with memory bounded by the tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.autoencoders.dvae import DVae
from lienzo.autoencoders.first_stage import FirstStage
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.tiled import decode_tiled, encode_tiled
from lienzo.autoencoders.vqgan import VQModel
from lienzo.core.errors import BadInput

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [], "in_channels": 3, "resolution": 32,
    "z_channels": 4, "ch_mult": [1, 1, 2],
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {},
    {"attn_resolutions": [16]},
    {"attn_resolutions": [32]},
    {"resamp_with_conv": False},
    {"num_res_blocks": 2, "tanh_out": True},
    {"give_pre_end": True},
    {"ch_mult": [1, 2, 1, 1]},
    {"attn_type": "linear", "attn_resolutions": [8]},
]


def shaken(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def kl(**options: Any) -> AutoencoderKL:
    torch.manual_seed(0)
    return shaken(AutoencoderKL({**SMALL, **options}, 4))  # type: ignore[return-value]


def sloped(height: int, width: int, channels: int = 3) -> Tensor:
    """A picture whose left and right are unlike, so that the statistics of tiles differ."""
    torch.manual_seed(1)
    slope = torch.linspace(-1, 1, width).expand(1, channels, height, width)
    return slope + 0.1 * torch.randn(1, channels, height, width)


def error(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def largest_map(model: nn.Module, run: Callable[[], Tensor]) -> int:
    """Numbers in the largest feature map that goes into or comes out of a convolution, for one picture."""
    seen: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _, given, made: seen.extend([given[0].numel(), made.numel()]))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    run()
    for hook in hooks:
        hook.remove()
    return max(seen)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@torch.no_grad()
def test_tiles_equal_the_whole(options: dict[str, Any]) -> None:
    model = kl(**options)
    latents = torch.cat([sloped(9, 14, 4), sloped(9, 14, 4).flip(3)])
    assert error(decode_tiled(model, latents, tile=4), model.decode(latents)) < 1e-5
    images = sloped(9 * model.factor, 8 * model.factor)
    assert error(encode_tiled(model, images, tile=4), model.encode(images)) < 1e-5
    seeded = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert error(encode_tiled(model, images, 4, generator=seeded[0]), model.encode(images, seeded[1])) < 1e-5


@torch.no_grad()
def test_quantised_stages() -> None:
    model = shaken(VQModel({**SMALL, "double_z": False}, 40, 4))
    latents = sloped(9, 21, 4)
    assert error(decode_tiled(model, latents, 6), model.decode(latents)) < 1e-5  # type: ignore[operator]
    images = sloped(40, 64)
    assert error(encode_tiled(model, images, 6), model.encode(images)) < 1e-5  # type: ignore[operator]


@torch.no_grad()
def test_memory_is_bounded_by_the_tile() -> None:
    """With twice the sides the largest map grows fourfold at once; in tiles it is a tile's, or that of the latents."""
    model, of_latents = kl(ch_mult=[1, 1, 1]), 32 * 48 * 48
    latents = [sloped(24, 24, 4), sloped(48, 48, 4)]
    at_once = [largest_map(model, lambda z=z: model.decode(z)) for z in latents]
    in_tiles = [largest_map(model, lambda z=z: decode_tiled(model, z, tile=8)) for z in latents]
    assert at_once[1] == 4 * at_once[0]
    assert in_tiles[1] <= max(in_tiles[0], of_latents) < at_once[1] / 8
    images = [sloped(96, 96), sloped(192, 192)]
    encoding = [largest_map(model, lambda x=x: encode_tiled(model, x, tile=8)) for x in images]
    assert encoding[1] <= max(encoding[0], of_latents) < largest_map(model, lambda: model.encode(images[1])) / 8


class Shifting:
    """A first stage that judges brightness by all that it is given, so that each tile comes out shifted."""

    factor, channels = 4, 3

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return F.avg_pool2d(images, 4) - images.mean()

    def decode(self, latents: Tensor) -> Tensor:
        return F.interpolate(latents, scale_factor=4.0, mode="bilinear") - latents.mean()


def steps(image: Tensor) -> Tensor:
    """The largest step from each column of a picture to the next."""
    return (image[..., 1:] - image[..., :-1]).abs().amax(dim=(0, 1, 2))


def test_faded_tiles_show_no_seam() -> None:
    """At the borders of tiles the steps are hardly larger than those of the whole picture; of plain tiles they are."""
    stage = Shifting()
    assert isinstance(stage, FirstStage)
    latents = torch.linspace(-1, 1, 40).expand(1, 3, 16, 40)
    largest = steps(stage.decode(latents)).max()
    shift = 2 * 16 / 39  # between the means of neighbours
    plain = steps(decode_tiled(stage, latents, tile=16, overlap=0))
    assert plain[63] > 0.9 * shift > 30 * largest
    faded = steps(decode_tiled(stage, latents, tile=16, overlap=8))
    assert faded.max() < largest + 1.1 * shift / 2 / (8 * 4 / 2)  # half the shift over half the overlap
    images = F.interpolate(latents, scale_factor=4.0, mode="bilinear")
    encoded = [steps(encode_tiled(stage, images, tile=16, overlap=overlap)) for overlap in (0, 8)]
    assert encoded[0].max() > 3 * encoded[1].max()


@torch.no_grad()
def test_faded_tiles_of_a_network_without_the_exact_way() -> None:
    model, latents = kl(), sloped(16, 44, 4)
    whole = model.decode(latents)
    faded = decode_tiled(model, latents, tile=16, overlap=8, exact=False)
    assert faded.shape == whole.shape
    assert error(faded, whole) > 1e-3  # each tile has norms of its own
    images = sloped(64, 176)
    seeded = [torch.Generator().manual_seed(2) for _ in range(2)]
    samples = encode_tiled(model, images, tile=16, overlap=8, exact=False, generator=seeded[0])
    assert samples.shape == model.encode(images, seeded[1]).shape


@torch.no_grad()
def test_a_stage_without_norms_needs_only_margins() -> None:
    torch.manual_seed(0)
    model = shaken(
        DVae(
            encoder={"n_hid": 4, "n_blk_per_group": 1, "vocab_size": 16},
            decoder={"n_init": 4, "n_hid": 4, "n_blk_per_group": 1, "vocab_size": 16},
        )
    )
    images = sloped(40 * 8, 24 * 8)
    wanted = model.encode(images)  # type: ignore[operator]
    assert torch.equal(encode_tiled(model, images, tile=24, overlap=12), wanted)  # type: ignore[arg-type]
    decoded = decode_tiled(model, wanted, tile=24, overlap=12)  # type: ignore[arg-type]
    assert error(decoded, model.decode(wanted)) < 1e-5  # type: ignore[operator]


def test_a_picture_of_one_tile_is_not_cut_and_bad_tiles_are_refused() -> None:
    model, latents = kl(), sloped(6, 8, 4)
    with torch.no_grad():
        assert torch.equal(decode_tiled(model, latents, tile=8), model.decode(latents))
    with pytest.raises(BadInput, match="half their side"):
        decode_tiled(model, latents, tile=8, overlap=8)
    with pytest.raises(BadInput, match="multiples of 4"):
        encode_tiled(model, torch.zeros(1, 3, 42, 64))
