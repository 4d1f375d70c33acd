"""Zero-shot classification: a classifier made of words (Radford et al., arXiv:2103.00020, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.clip.model import CLIP
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput

PHOTO_TEMPLATE = ("a photo of a {}.",)
# The seven prompts that OpenAI found to do nearly as well as its eighty (MIT licence, openai/CLIP).
SIMPLE_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def fill_templates(labels: Sequence[str], templates: Sequence[str] = PHOTO_TEMPLATE) -> list[str]:
    """Every label in every template, class-major: all templates of the first label come first.

    Raises:
        BadInput: no label, no template, or a template without `{}`.
    """
    if not labels or not templates:
        raise BadInput("Zero-shot classification needs at least one label and one template.")
    for template in templates:
        if "{}" not in template:
            raise BadInput(f"The template {template!r} has no {{}} where the label goes.")
    return [template.replace("{}", label) for label in labels for template in templates]


def class_weights(text_embeds: Tensor, classes: int) -> Tensor:
    """One unit vector a class: the normalised mean of its normalised prompt embeddings.

    Args:
        text_embeds: (classes * templates, D), class-major.
        classes: the number of classes.

    Returns:
        (D, classes).
    """
    if classes < 1 or len(text_embeds) % classes:
        raise BadInput(f"{len(text_embeds)} prompts cannot be divided among {classes} classes.")
    units = F.normalize(text_embeds, dim=-1).view(classes, -1, text_embeds.shape[-1])  # (C, T, D)
    return F.normalize(units.mean(dim=1), dim=-1).T


@torch.no_grad()
def classifier(
    model: CLIP,
    labels: Sequence[str],
    templates: Sequence[str] = PHOTO_TEMPLATE,
    *,
    to_tokens: Callable[[Sequence[str], int], Tensor] = tokenize,
    classes_per_batch: int = 10,
) -> Tensor:
    """The class weights (D, number of labels) of labels under templates, without gradients.

    Args:
        model: the CLIP whose text tower reads the prompts.
        labels: the classes, in words.
        templates: sentences with `{}` where the label goes.
        to_tokens: (texts, context length) -> int64 tokens; OpenAI's tokenizer by default.
        classes_per_batch: classes whose prompts go through the tower at once.
    """
    device = model.logit_scale.device
    weights = []
    for i in range(0, max(len(labels), 1), classes_per_batch):
        some = labels[i : i + classes_per_batch]
        tokens = to_tokens(fill_templates(some, templates), model.context_length).to(device)
        weights.append(class_weights(model.encode_text(tokens), len(some)))
    return torch.cat(weights, dim=1)


def zero_shot_logits(image_embeds: Tensor, weights: Tensor, temperature: float = 0.01) -> Tensor:
    """Cosines over the temperature, (B, classes). 0.01 is where OpenAI's training ended; larger is less sure."""
    if temperature <= 0:
        raise BadInput(f"The temperature was {temperature}; it should be above 0.")
    return F.normalize(image_embeds, dim=-1) @ weights / temperature


def probabilities(image_embeds: Tensor, weights: Tensor, temperature: float = 0.01) -> Tensor:
    """Softmax of the zero-shot logits: images (B, D) and weights (D, classes) to (B, classes), rows sum to 1."""
    return zero_shot_logits(image_embeds, weights, temperature).softmax(dim=-1)
