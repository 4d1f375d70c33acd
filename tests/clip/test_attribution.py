"""Maps lie where the thing is, and follow their papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip.attribution import attention_maps, compact_layer, gradient_maps, hires_cam, occlusion
from lienzo.clip.compact import CompactClip
from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import CLIP_MEAN, CLIP_STD, normalise
from lienzo.core.errors import BadInput

VIT = {"vision_layers": 3, "vision_width": 64, "vision_patch_size": 8, "image_resolution": 32, "vision_heads": 4}
RESNET = {"vision_layers": (1, 1, 1, 1), "vision_width": 8, "vision_patch_size": None, "image_resolution": 64}
TEXT = {"embed_dim": 12, "context_length": 8, "vocab_size": 50, "transformer_width": 16, "transformer_layers": 1}


def fruit_and_car() -> Image.Image:
    """A red apple on the left, a blue car on the right."""
    image = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 90, 110, 180), fill=(210, 30, 35))
    pen.line((65, 92, 72, 70), fill=(90, 60, 30), width=6)
    pen.ellipse((74, 66, 100, 82), fill=(60, 150, 50))
    pen.rounded_rectangle((140, 130, 240, 170), 8, fill=(30, 70, 210))
    pen.polygon([(158, 132), (174, 104), (208, 104), (224, 132)], fill=(30, 70, 210))
    for x in (165, 215):
        pen.ellipse((x - 13, 156, x + 13, 182), fill=(20, 20, 20))
    return image


def left(heat: np.ndarray) -> float:
    """Share of a map's warmth in the left half."""
    warm = np.clip(heat, 0, None)
    return float(warm[:, : warm.shape[1] // 2].sum() / warm.sum())


def redness_and_blueness(pictures: np.ndarray) -> np.ndarray:
    rgb = pictures.astype(np.float32).mean(axis=(1, 2))
    return np.stack([rgb[:, 0] - rgb[:, 2], rgb[:, 2] - rgb[:, 0]], axis=1)


@pytest.mark.parametrize("side", [16, 32, 33])
def test_occlusion_finds_what_a_score_counts(side: int) -> None:
    maps = occlusion(redness_and_blueness, np.array(fruit_and_car().resize((side, side))))
    assert maps.shape == (2, side, side)
    assert maps.dtype == np.float32
    assert left(maps[0]) > 0.95
    assert left(maps[1]) < 0.05
    row, column = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert abs(row / side - 0.53) < 0.12
    assert abs(column / side - 0.25) < 0.12


def test_occlusion_of_an_even_picture_is_nothing() -> None:
    assert not occlusion(redness_and_blueness, np.full((16, 16, 3), 77, np.uint8)).any()


def test_the_judge_sees_the_apple_left_and_the_car_right() -> None:
    clip = open_embedder(DEFAULT_CLIP)
    words = clip.texts(["a red apple", "a blue car"])
    towards = words - words[::-1]
    maps = occlusion(lambda pictures: clip.pictures(pictures) @ towards.T, clip.prepare(fruit_and_car()))
    assert left(maps[0]) > 0.7
    assert left(maps[1]) < 0.3


def tiny(vision: dict) -> CLIP:
    torch.manual_seed(1)
    model = CLIP(**vision, **TEXT).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.requires_grad_(False)


def test_attention_relevance_by_the_paper() -> None:
    """Chefer et al. 2021, equations 5 and 6, with gradients by differences instead of autograd."""
    tower = tiny(VIT).visual
    image, direction = torch.randn(1, 3, 32, 32, dtype=torch.float64), torch.randn(1, 12, dtype=torch.float64)
    tower = tower.double()
    found = attention_maps(tower, image, direction)
    assert found.shape == (1, 4, 4)

    def run(offsets: dict[int, Tensor]) -> tuple[Tensor, list[Tensor]]:
        x = tower.conv1(image).flatten(2).transpose(1, 2)
        x = tower.ln_pre(torch.cat([tower.class_embedding.expand(1, 1, -1), x], 1) + tower.positional_embedding)
        weights = []
        for number, block in enumerate(tower.transformer.resblocks):
            q, k, v = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
            q, k, v = (part.view(1, 17, 4, 16).transpose(1, 2) for part in (q, k, v))
            weight = (q @ k.mT / 4).softmax(-1)
            weights.append(weight)
            weight = weight + offsets.get(number, torch.zeros(()))
            x = x + block.attn.out_proj((weight @ v).transpose(1, 2).reshape(1, 17, 64))
            x = x + block.mlp(block.ln_2(x))
        vector = F.normalize(tower.ln_post(x[:, 0]) @ tower.proj, dim=-1)
        return (vector @ direction.T)[0, 0], weights

    score, weights = run({})
    assert torch.allclose(score, F.normalize(tower(image), dim=-1) @ direction[0], atol=1e-10)
    relevance = torch.eye(17, dtype=torch.float64)
    for number, weight in enumerate(weights):
        offset = torch.zeros_like(weight, requires_grad=True)
        (gradient,) = torch.autograd.grad(run({number: offset})[0], offset)
        relevance = relevance + (weight * gradient).clamp(min=0).mean(1)[0] @ relevance
    assert torch.allclose(found[0], relevance[0, 1:].view(4, 4), atol=1e-10)


def test_hires_cam_of_a_linear_head_is_its_contribution() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, padding=1)
    image, directions = torch.rand(1, 3, 6, 6), torch.randn(2, 5)

    def encode(x: Tensor) -> Tensor:
        return layer(x).mean((2, 3))

    maps = hires_cam(encode, layer, image, directions)
    feature = layer(image)[0].detach().requires_grad_()
    score = F.normalize(feature.mean((1, 2)), dim=0) @ directions[1]
    (gradient,) = torch.autograd.grad(score, feature)
    assert torch.allclose(maps[1], (gradient * feature).sum(0).clamp(min=0).detach(), atol=1e-6)
    assert not layer._forward_hooks


@pytest.mark.parametrize(("vision", "method", "grid"), [(VIT, "attention", 4), (RESNET, "cam", 2)])
def test_every_tower_of_openai(vision: dict, method: str, grid: int) -> None:
    model = tiny(vision)
    side = vision["image_resolution"]
    maps, used = gradient_maps(model, torch.rand(1, 3, side, side), torch.randn(3, 12))
    assert used == method
    assert maps.shape == (3, grid, grid)
    assert torch.isfinite(maps).all()
    assert (maps >= 0).all()
    assert maps.any()


@pytest.mark.parametrize("tower", ["basic", "bottleneck"])
def test_compact_towers_use_a_fine_stage(tower: str) -> None:
    model = CompactClip(tower=tower, widths=(8, 16, 24), depth=2, size=32, embed_dim=12, text_dim=10).eval()
    assert compact_layer(model) is model.blocks[3]
    maps, used = gradient_maps(model.requires_grad_(False), torch.rand(1, 3, 32, 32), torch.randn(2, 12))
    assert (used, maps.shape) == ("cam", (2, 8, 8))


def test_an_unknown_tower_is_told() -> None:
    with pytest.raises(BadInput, match="--method occlusion"):
        gradient_maps(nn.Linear(2, 2), torch.rand(1, 3, 8, 8), torch.randn(1, 2))


@pytest.mark.parametrize("vision", [VIT, RESNET])
def test_another_normalisation_changes_the_map_as_it_changes_the_picture(vision: dict) -> None:
    torch.manual_seed(0)
    model, side = tiny(vision), vision["image_resolution"]
    picture, directions, half = torch.rand(1, 3, side, side), torch.randn(6, 12), (0.5, 0.5, 0.5)
    means, deviations = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    same = normalise(picture, half, half) * deviations + means
    wanted = gradient_maps(model, same, directions)[0]
    assert torch.allclose(gradient_maps(model, picture, directions, half, half)[0], wanted, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(gradient_maps(model, picture, directions)[0], wanted, rtol=1e-2)
