"""Prompt recall by cases that can be counted by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lienzo.metrics.judging import prompt_recall


def test_each_picture_finds_its_prompt() -> None:
    vectors = torch.eye(4)
    assert prompt_recall(vectors, vectors) == 1
    assert prompt_recall(vectors, vectors.roll(1, 0)) == 0
    swapped = vectors[[1, 0, 2, 3]]
    assert prompt_recall(vectors, swapped) == 0.5


def test_ties_count_half() -> None:
    same = F.normalize(torch.ones(3, 4), dim=-1)
    assert prompt_recall(same, same) == 0.5


def test_prompts_of_one_name_are_all_right() -> None:
    pictures = torch.eye(4)
    prompts = pictures[[1, 0, 2, 3]]  # the first two are each nearest to the other's prompt
    assert prompt_recall(pictures, prompts, ["fox", "fox", "cat", "dog"]) == 1
    assert prompt_recall(pictures, prompts, ["fox", "dog", "cat", "bee"]) == 0.5


def test_chance_is_one_over_n() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures, prompts = (F.normalize(torch.randn(400, 16, generator=generator), dim=-1) for _ in range(2))
    assert prompt_recall(pictures, prompts) < 0.02
