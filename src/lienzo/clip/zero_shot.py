"""Zero-shot classification: a classifier made of words (Radford et al., arXiv:2103.00020, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lienzo.clip.model import CLIP
from lienzo.clip.templates import PHOTO_TEMPLATE, check_templates
from lienzo.clip.templates import SIMPLE_TEMPLATES as SIMPLE_TEMPLATES
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput

Average = Literal["embeddings", "probabilities"]
PROMPTS_AT_ONCE = 512


class ReadsTexts(Protocol):
    """What gives sentences their vectors."""

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences to float32 unit vectors (N, D)."""
        ...


def fill_templates(labels: Sequence[str], templates: Sequence[str] = PHOTO_TEMPLATE) -> list[str]:
    """Every label in every template, class-major: all templates of the first label come first.

    Raises:
        BadInput: no label, no template, or a template without `{}`.
    """
    if not labels or not templates:
        raise BadInput("Zero-shot classification needs at least one label and one template.")
    check_templates(templates)
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


def zero_shot_weights(
    embedder: ReadsTexts,
    classes: Sequence[Sequence[str]],
    templates: Sequence[str] = PHOTO_TEMPLATE,
    *,
    average: Average = "embeddings",
) -> Tensor:
    """The classifiers of classes that may each be said in several ways, for anything that reads texts.

    Args:
        embedder: gives texts their vectors.
        classes: for each class the texts that stand for it: its label, or descriptions of it.
        templates: sentences with `{}` where a text goes.
        average: ``embeddings`` makes one classifier of the mean over templates; ``probabilities`` makes one a
            template, whose probabilities are to be averaged.

    Returns:
        (M, D, classes) with M = 1 or the number of templates; see `ensemble_probabilities`.

    Raises:
        BadInput: no class, a class without texts, or a template without `{}`.
    """
    if not classes or not all(classes):
        raise BadInput("Zero-shot classification needs at least one label, and each needs words.")
    prompts = [prompt for texts in classes for prompt in fill_templates(texts, templates)]
    parts = [embedder.texts(prompts[i : i + PROMPTS_AT_ONCE]) for i in range(0, len(prompts), PROMPTS_AT_ONCE)]
    embeds = torch.from_numpy(np.concatenate(parts)).float()  # (prompts, D)
    columns = []
    for own in embeds.split([len(texts) * len(templates) for texts in classes]):
        groups = own.view(-1, len(templates), own.shape[-1])  # (texts, templates, D)
        if average == "embeddings":
            columns.append(class_weights(groups.flatten(0, 1), 1)[None])  # (1, D, 1)
        else:
            columns.append(class_weights(groups.transpose(0, 1).flatten(0, 1), len(templates)).T[..., None])
    return torch.cat(columns, dim=2)


def ensemble_probabilities(scores: Tensor, temperature: float | Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean over classifiers of the softmax of scores over temperature.

    Args:
        scores: (M, B, classes), cosines of B pictures by each of M classifiers.
        temperature: above 0; CLIP's own is one over its logit scale.
        bias: (classes,), added to the logits.

    Returns:
        (B, classes); rows sum to 1.
    """
    logits = scores / temperature
    return (logits if bias is None else logits + bias).softmax(dim=-1).mean(dim=0)


def zero_shot_logits(image_embeds: Tensor, weights: Tensor, temperature: float = 0.01) -> Tensor:
    """Cosines over the temperature, (B, classes). 0.01 is where OpenAI's training ended; larger is less sure."""
    if temperature <= 0:
        raise BadInput(f"The temperature was {temperature}; it should be above 0.")
    return F.normalize(image_embeds, dim=-1) @ weights / temperature


def probabilities(image_embeds: Tensor, weights: Tensor, temperature: float = 0.01) -> Tensor:
    """Softmax of the zero-shot logits: images (B, D) and weights (D, classes) to (B, classes), rows sum to 1."""
    return zero_shot_logits(image_embeds, weights, temperature).softmax(dim=-1)
