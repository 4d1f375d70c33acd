"""Losses that read files: which they are, and the same losses without their names, as a recipe may tell them."""

from __future__ import annotations

from typing import Any

from lienzo.guidance.settings import parse_choice

FILES = ("picture", "model")  # settings of losses that name files


def loss_files(text: str) -> list[str]:
    """The files that a loss is to read."""
    return [value for name, value in parse_choice(text).settings.items() if name in FILES and value]


def without_loss_files(options: dict[str, Any]) -> dict[str, Any]:
    """A recipe's options whose losses name no files: what a stranger's picture says is not opened."""
    losses = options.get("loss")
    if not isinstance(losses, list):
        return options
    return {**options, "loss": [without_files(str(text)) for text in losses]}


def without_files(text: str) -> str:
    """A loss as a recipe tells it: without the names of files."""
    choice = parse_choice(text)
    kept = [f"{name}={value}" for name, value in choice.settings.items() if name not in FILES]
    return "; ".join([f"{choice.name}:{choice.weight:g}", *kept])
