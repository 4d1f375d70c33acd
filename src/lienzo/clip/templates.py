"""Sentences around a label. Text towers were trained on captions, and a lone word is none (arXiv:2103.00020, 3.1.4)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

MAX_TEMPLATES = 1000
MAX_BYTES = 1 << 20

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
DRAWING_TEMPLATES = (
    "{}",
    "a {}",
    "a drawing of a {}",
    "a painting of a {}",
    "clip art of a {}",
    "an icon of a {}",
    "an emoji of a {}",
    "a cartoon {}",
)
# OpenAI's eighty for ImageNet (MIT licence, openai/CLIP): those with both articles, then those with one.
_BOTH = (
    "a bad photo of {} X", "a sculpture of {} X", "a low resolution photo of {} X", "a rendering of {} X",
    "graffiti of {} X", "a cropped photo of {} X", "a tattoo of {} X", "a bright photo of {} X",
    "a photo of {} clean X", "a photo of {} dirty X", "a dark photo of {} X", "a drawing of {} X",
    "a photo of {} cool X", "a close-up photo of {} X", "a black and white photo of {} X", "a painting of {} X",
    "a pixelated photo of {} X", "a jpeg corrupted photo of {} X", "a blurry photo of {} X", "a photo of {} X",
    "a good photo of {} X", "{} X in a video game", "a doodle of {} X", "{} origami X", "a sketch of {} X",
    "{} toy X", "a rendition of {} X", "a photo of {} large X", "a photo of {} nice X", "a photo of {} weird X",
    "{} cartoon X", "art of {} X", "{} embroidered X", "itap of {} X", "{} plushie X", "a photo of {} small X",
    "a photo of {} hard to see X", "{} plastic X",
)  # fmt: skip
_ONE = ("a photo of many X", "a photo of my X", "a photo of one X", "itap of my X")
IMAGENET_TEMPLATES = tuple(
    f"{sentence.replace('X', '{}')}."
    for sentence in (*(both.format(article) for both in _BOTH for article in ("a", "the")), *_ONE)
)
TEMPLATES: dict[str, tuple[str, ...]] = {
    "plain": ("{}",),
    "photo": PHOTO_TEMPLATE,
    "simple": SIMPLE_TEMPLATES,
    "drawing": DRAWING_TEMPLATES,
    "imagenet": IMAGENET_TEMPLATES,
    "all": (*PHOTO_TEMPLATE, *SIMPLE_TEMPLATES, *DRAWING_TEMPLATES),
}


def templates_of(name: str) -> tuple[str, ...]:
    """The templates of a name in `TEMPLATES`, or of a text file with one a line.

    Raises:
        BadInput: there is no such name or file, or the file is no list of sentences with `{}`.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    shown = printable(name, 100)
    if not os.path.isfile(name):
        raise BadInput(f"There are no templates '{shown}'; choose {', '.join(TEMPLATES)} or give a text file.")
    found = tuple(line.strip() for line in read_lines(name, "templates") if line.strip())
    if not 1 <= len(found) <= MAX_TEMPLATES:
        raise BadInput(f"The file '{shown}' has {len(found)} templates; it needs 1 to {MAX_TEMPLATES}.")
    check_templates(found)
    return found


def check_templates(templates: Sequence[str]) -> None:
    """Raises BadInput for a template without `{}`."""
    for template in templates:
        if "{}" not in template:
            raise BadInput(f"The template {template[:100]!r} has no {{}} where the label goes.")


def read_lines(path: str | os.PathLike[str], what: str) -> list[str]:
    """The lines of a small UTF-8 text file, with or without a byte-order mark.

    Raises:
        BadInput: it cannot be read, is longer than 1 MiB, or is no text.
    """
    shown = printable(os.fspath(path), 100)
    try:
        if not os.path.isfile(path):
            raise BadInput(f"There is no file '{shown}' with {what}.")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadInput(f"The file '{shown}' with {what} is longer than 1 MiB.")
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"The file '{shown}' with {what} is no text in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"The file '{shown}' with {what} cannot be read.") from error
