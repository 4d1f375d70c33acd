"""Retrieval, accuracy and average precision of CLIP_benchmark, and the CLIP scores."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from goldens import Golden
from torch import Tensor

from lienzo.metrics.clip_score import clip_score, clip_score_100, reference_clip_score
from lienzo.metrics.retrieval import (
    average_precision,
    mean_reciprocal_rank,
    median_rank,
    pairs_matrix,
    recall_at_k,
    top_k_accuracy,
)


def first_texts(golden: Golden, count: int) -> Tensor:
    """The first text of each of the first pictures."""
    index = golden.tensors["text_image_index"]
    return torch.stack([golden.tensors["text"][(index == i).nonzero()[0, 0]] for i in range(count)])


def measured(key: str, golden: Golden) -> Tensor | None:
    x = golden.tensors
    index, scores = x["text_image_index"], x["text"] @ x["image"].T
    right = pairs_matrix(index, len(x["image"]))
    if match := re.fullmatch(r"(image|text)_retrieval_recall@(\d+)", key):
        by_text = match[1] == "image"
        return recall_at_k(scores if by_text else scores.T, right if by_text else right.T, int(match[2]))
    if match := re.fullmatch(r"accuracy((?:_top\d+)+)", key):
        return torch.stack([top_k_accuracy(x["logits"], x["target"], int(k)) for k in match[1].split("_top")[1:]])
    if match := re.fullmatch(r"clipscore_hessel_([\d.]+)max\(cos,0\)", key):
        count = len(golden.config["expected"][key])
        return clip_score(x["image"][:count], first_texts(golden, count), weight=float(match[1]))
    count = len(x["refs"])
    pictures, texts = x["image"][:count], first_texts(golden, count)
    table = {
        "own.mrr_text_to_image": lambda: mean_reciprocal_rank(scores, index),
        "own.median_rank": lambda: median_rank(scores, index),
        "average_precision_per_class": lambda: average_precision(x["ap_scores"], x["ap_targets"]),
        "clipscore_torchmetrics_100max(cos,0)_mean": lambda: clip_score_100(pictures, texts),
        "refclipscore_harmonic": lambda: reference_clip_score(pictures, texts, x["refs"]),
    }
    return table[key]() if key in table else None


@pytest.mark.golden("retrieval_clipscore*.safetensors")
def test_figures(golden_path: Path) -> None:
    golden = Golden(golden_path)
    expected = {key: value for key, value in golden.config["expected"].items() if not key.endswith("_note")}
    assert expected
    for key, wanted in expected.items():
        found = measured(key, golden)
        assert found is not None, key
        wanted = wanted if isinstance(wanted, list) else [wanted]
        assert found.flatten().tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-7), key
