"""The compact CLIP: both towers, any picture size, one space with the sentence vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lienzo.clip.compact import CompactClip, detect, from_imagenet, load
from lienzo.clip.compact_recipe import augment, multi_positive, noised
from lienzo.core.errors import BadWeights
from lienzo.nn.efficientnet_lite0 import EfficientNetLite0
from lienzo.weights.models import Card, load_model, save_model

TOWERS = ["basic", "bottleneck", "lite0"]


def clip(tower: str, size: int = 16) -> CompactClip:
    """A CLIP with random weights whose batch norms have seen some pictures, so that nothing fades with depth."""
    torch.manual_seed(0)
    model = CompactClip(
        tower=tower, widths=(8, 16), depth=2, size=size, embed_dim=12, text_dim=10, styles=("flat", "blob", "retro")
    )
    with torch.no_grad():
        for _ in range(20):
            model.features(torch.rand(8, 3, size, size))
    return model.eval()


@pytest.mark.parametrize("tower", TOWERS)
def test_shapes_and_unit_vectors(tower: str) -> None:
    model = clip(tower)
    images, vectors = torch.rand(3, 3, 16, 16), torch.randn(3, 10)
    picture, text, style = model(images, vectors)
    assert (picture.shape, text.shape, style.shape) == ((3, 12), (3, 12), (3, 3))
    assert torch.allclose(picture.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(text.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(picture, model.encode_image(images))
    assert torch.equal(text, model.encode_text(vectors))


@pytest.mark.parametrize("tower", TOWERS)
def test_a_picture_is_the_same_alone_in_a_batch_and_at_another_size(tower: str) -> None:
    model = clip(tower, 64)
    coarse = torch.rand(4, 3, 2, 2)
    images, larger = (torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") for side in (64, 128))
    together = model.encode_image(images)
    assert torch.allclose(torch.cat([model.encode_image(i[None]) for i in images]), together, atol=1e-5)
    assert (model.encode_image(larger) @ together.T).argmax(1).tolist() == [0, 1, 2, 3]
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("size", [8, 32])
def test_sizes(tower: str, size: int) -> None:
    assert clip(tower, size).encode_image(torch.rand(2, 3, 20, 11)).shape == (2, 12)


@pytest.mark.parametrize("tower", TOWERS)
def test_pictures_have_a_gradient(tower: str) -> None:
    images = torch.rand(2, 3, 24, 24, requires_grad=True)
    clip(tower).encode_image(images)[:, 0].sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().flatten(1).sum(1).min() > 0


@pytest.mark.parametrize("tower", TOWERS)
def test_saved_and_loaded(tower: str, tmp_path: Path) -> None:
    model = clip(tower)
    path = tmp_path / "clip.safetensors"
    save_model(path, "compact-clip", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    loaded = load_model(path)
    images = torch.rand(2, 3, 16, 16)
    assert torch.allclose(loaded.encode_image(images), model.encode_image(images), atol=1e-6)  # type: ignore[operator]
    assert loaded.config == model.config
    assert detect(model.state_dict())
    with pytest.raises(BadWeights):
        load(model.state_dict(), {**model.config, "embed_dim": 13})


def test_lite0_begins_as_imagenets_network() -> None:
    torch.manual_seed(1)
    network = EfficientNetLite0(classes=3).eval()
    model = clip("lite0", 64)
    found = model.load_state_dict(from_imagenet(network.state_dict()), strict=False)
    assert not found.unexpected_keys
    assert not [key for key in found.missing_keys if key.startswith(("stem", "blocks", "pool"))]
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(model.features(images), network.features(images * 2 - 1))


@pytest.mark.parametrize("tower", TOWERS)
def test_stage_maps_halve(tower: str) -> None:
    model = clip(tower, 64)
    images = torch.rand(1, 3, 64, 64)
    maps = model.stage_maps(images)
    first = model.stage_maps(images, stages=2)
    assert len(first) == 2
    assert all(torch.equal(one, other) for one, other in zip(first, maps, strict=False))
    assert [m.shape[-1] for m in maps] == [64 // 2 ** (i + 1) for i in range(len(maps))]
    assert [m.shape[1] for m in maps] == list(model.ends.values())


@pytest.mark.parametrize("tower", TOWERS)
def test_a_noise_aware_tower_is_told_the_noise(tower: str) -> None:
    torch.manual_seed(0)
    model = CompactClip(tower=tower, widths=(8, 16), depth=1, size=16, embed_dim=12, text_dim=10, noise_aware=True)
    model.eval()
    images, sigma = torch.rand(3, 3, 16, 16), torch.tensor([0.0, 1.0, 50.0])
    assert torch.equal(model.encode_image(images, sigma), model.encode_image(images))  # before training
    for shift in model.noise.values():
        torch.nn.init.normal_(shift.linear.weight)  # type: ignore[union-attr, arg-type]
    told = model.encode_image(images, sigma)
    clean = model.encode_image(images)
    assert torch.allclose(told[0], clean[0], atol=1e-6)
    assert (told[1] - clean[1]).abs().max() > 1e-4
    assert (told[2] - clean[2]).abs().max() > 1e-4
    assert clip(tower).encode_image(images, sigma).shape == (3, 12)  # another passes it over


def test_noised_pictures_have_unit_variance_at_any_level() -> None:
    images = torch.rand(3, 3, 64, 64).round()  # over [-1, 1] of variance 1
    sigma = torch.tensor([0.0, 1.0, 100.0])
    made = noised(images, sigma, torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(made[0], images[0] * 2 - 1)
    assert torch.allclose(made.flatten(1).var(1), torch.ones(3), atol=0.05)
    signal = (made * (images * 2 - 1)).flatten(1).mean(1)
    assert torch.allclose(signal, 1 / (1 + sigma**2).sqrt(), atol=0.05)


def test_multi_positive_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    own = torch.eye(2).bool()
    expected = -torch.log_softmax(torch.tensor([2.0, 0.0]), 0)[0]
    assert torch.allclose(multi_positive(logits, own), expected)
    both = torch.ones(2, 2).bool()
    shared = -torch.log_softmax(torch.tensor([2.0, 0.0]), 0).mean()
    assert torch.allclose(multi_positive(logits, both), shared)
    assert multi_positive(10 * logits, own) < 1e-3


def test_augmenting_repeats_from_its_generator() -> None:
    images = torch.rand(6, 3, 32, 32)
    one, again = (augment(images, 16, torch.Generator().manual_seed(4)) for _ in range(2))
    other = augment(images, 16, torch.Generator().manual_seed(5))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (6, 3, 16, 16)
    assert 0 <= one.min() <= one.max() <= 1


def test_only_pictures_that_may_be_are_mirrored() -> None:
    half = torch.ones(64, 3, 32, 32)
    half[..., :16] = 0  # dark on the left
    for mirrored, least in ((torch.zeros(64).bool(), 0), (torch.ones(64).bool(), 10)):
        made = augment(half, 32, torch.Generator().manual_seed(0), mirrored)
        dark_right = made[..., 20:].mean((1, 2, 3)) < made[..., :12].mean((1, 2, 3))
        assert dark_right.sum() >= least
        assert least or not dark_right.any()
