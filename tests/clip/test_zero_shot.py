"""Zero-shot classification; open_clip's numbers are in tests/golden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lienzo.clip.model import CLIP
from lienzo.clip.zero_shot import (
    SIMPLE_TEMPLATES,
    class_weights,
    classifier,
    ensemble_probabilities,
    fill_templates,
    probabilities,
    zero_shot_weights,
)
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


class Words:
    """A text's vector: how often it has each letter."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = np.array([[text.count(letter) + 0.1 for letter in "abcdefgh"] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_weights_for_any_embedder_are_those_of_class_weights() -> None:
    words, templates = Words(), ("a {}", "bad {}", "{} edge")
    found = zero_shot_weights(words, [("cab",), ("head",)], templates)
    prompts = fill_templates(["cab", "head"], templates)
    assert words.asked == prompts
    assert torch.allclose(found, class_weights(torch.from_numpy(Words().texts(prompts)), 2)[None], atol=1e-6)


def test_a_class_of_descriptions_is_their_mean() -> None:
    words, templates = Words(), ("a {}", "bad {}")
    found = zero_shot_weights(words, [("cab",), ("head", "face", "hag")], templates)
    own = Words().texts(fill_templates(["head", "face", "hag"], templates))
    assert found.shape == (1, 8, 2)
    assert torch.allclose(found[0, :, 1:], class_weights(torch.from_numpy(own), 1), atol=1e-6)


def test_probabilities_are_averaged_over_templates() -> None:
    words, templates = Words(), ("a {}", "bad {}")
    found = zero_shot_weights(words, [("cab",), ("head", "face")], templates, average="probabilities")
    assert found.shape == (2, 8, 2)
    for place, template in enumerate(templates):
        alone = zero_shot_weights(words, [("cab",), ("head", "face")], [template])
        assert torch.allclose(found[place], alone[0], atol=1e-6)
    images = torch.nn.functional.normalize(torch.rand(3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    shares = ensemble_probabilities(images @ found, 0.1)
    assert torch.allclose(shares, (probabilities(images, found[0], 0.1) + probabilities(images, found[1], 0.1)) / 2)
    tilted = ensemble_probabilities(images @ found, 0.1, torch.tensor([9.0, 0.0]))
    assert (tilted[:, 0] > shares[:, 0]).all()


@pytest.mark.parametrize("classes", [[], [("a",), ()]])
def test_a_class_needs_words(classes: list[tuple[str, ...]]) -> None:
    with pytest.raises(BadInput, match="each needs words"):
        zero_shot_weights(Words(), classes)
