"""Zero-shot classification; open_clip's numbers are in tests/golden."""

from __future__ import annotations

import pytest
import torch

from lienzo.clip.model import CLIP
from lienzo.clip.zero_shot import SIMPLE_TEMPLATES, class_weights, classifier, fill_templates, probabilities
from lienzo.core.errors import BadInput


def test_templates_are_class_major() -> None:
    found = fill_templates(["cat", "{0}"], ["a {}", "{} and {}"])
    assert found == ["a cat", "cat and cat", "a {0}", "{0} and {0}"]
    assert len(fill_templates(["cat"], SIMPLE_TEMPLATES)) == 7


@pytest.mark.parametrize(("labels", "templates"), [([], ["{}"]), (["a"], []), (["a"], ["no place"])])
def test_bad_templates(labels: list[str], templates: list[str]) -> None:
    with pytest.raises(BadInput):
        fill_templates(labels, templates)


def test_class_weights_are_means_of_directions() -> None:
    embeds = torch.tensor([[3.0, 0.0], [0.0, 9.0], [-2.0, 0.0], [-4.0, 0.0]])
    expected = torch.tensor([[0.5**0.5, -1.0], [0.5**0.5, 0.0]])
    assert torch.allclose(class_weights(embeds, 2), expected)
    with pytest.raises(BadInput, match="divided"):
        class_weights(embeds, 3)


def test_probabilities_and_temperature() -> None:
    weights = torch.eye(3)
    images = torch.tensor([[5.0, 1.0, 0.0]])
    sharp, soft = probabilities(images, weights), probabilities(images, weights, temperature=1.0)
    assert torch.allclose(sharp.sum(dim=-1), torch.ones(1))
    assert sharp[0, 0] > 0.999
    assert 0.4 < soft[0, 0] < 0.7
    assert torch.allclose(soft, torch.softmax(images / 26**0.5, dim=-1))
    with pytest.raises(BadInput, match="temperature"):
        probabilities(images, weights, 0)


def test_classifier_does_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = CLIP(
        embed_dim=8, image_resolution=16, vision_layers=1, vision_width=64, vision_patch_size=8,
        context_length=16, transformer_width=64, transformer_layers=1,
    ).eval()  # fmt: skip
    labels = ["fox", "owl", "red heart"]
    one = classifier(model, labels, SIMPLE_TEMPLATES, classes_per_batch=1)
    assert one.shape == (8, 3)
    assert not one.requires_grad
    assert torch.allclose(one, classifier(model, labels, SIMPLE_TEMPLATES), atol=1e-6)
    assert torch.allclose(one.norm(dim=0), torch.ones(3))
    with pytest.raises(BadInput, match="at least one label"):
        classifier(model, [])
