"""The compact CLIP: both towers, any picture size, one space with the sentence vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lienzo.clip.compact import CompactClip, detect, load
from lienzo.clip.compact_recipe import augment, multi_positive
from lienzo.core.errors import BadWeights
from lienzo.weights.models import Card, load_model, save_model

TOWERS = ["basic", "bottleneck"]


def clip(tower: str, size: int = 16) -> CompactClip:
    torch.manual_seed(0)
    return CompactClip(
        tower=tower, widths=(8, 16), depth=2, size=size, embed_dim=12, text_dim=10, styles=("flat", "blob", "retro")
    ).eval()


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
    model = clip(tower)
    images = torch.rand(4, 3, 16, 16)
    together = model.encode_image(images)
    assert torch.allclose(torch.cat([model.encode_image(i[None]) for i in images]), together, atol=1e-5)
    larger = torch.nn.functional.interpolate(images, scale_factor=4, mode="nearest")
    assert (model.encode_image(larger) * together).sum(1).min() > 0.99
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
