"""Colours and palettes written as text."""

from __future__ import annotations

import re

import torch
from PIL import ImageColor
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

STEPS = 8  # colours of a range whose number is not given
MOST = 256
_COUNT = re.compile(r"(.*?)\s*\*\s*(\d{1,4})")


def parse_colour(text: str) -> Tensor:
    """A colour as (3,) in [0, 1].

    Args:
        text: a name of CSS such as ``navy``, or ``#f80``, ``#ff8800``, ``ff8800``.

    Raises:
        BadInput: it is none of these.
    """
    plain = text.strip().lower()
    code = f"#{plain}" if re.fullmatch(r"[0-9a-f]{6}", plain) else plain.replace(" ", "")
    try:
        rgb = ImageColor.getrgb(code) if re.fullmatch(r"#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]+", code) else None
    except ValueError:
        rgb = None
    if rgb is None:
        raise BadInput(f"There is no colour '{printable(plain, 40)}'; write a name such as navy, or #ff8800.")
    return torch.tensor(rgb[:3]) / 255


def parse_palette(text: str) -> Tensor:
    """The colours of a palette, (N, 3) in [0, 1].

    Args:
        text: colours and ranges joined by commas: ``red, #ff8800, navy->white``. A range runs evenly through all its
            colours, in 8 steps unless it ends in a number of them: ``black->red->yellow*12``.

    Raises:
        BadInput: a colour cannot be read, or there are none or more than 256.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise BadInput("The palette is empty; write colours such as 'red, #ff8800, navy->white'.")
    colours = torch.cat([_range(part) for part in parts])
    if len(colours) > MOST:
        raise BadInput(f"The palette has {len(colours)} colours; there may be {MOST}.")
    return colours


def _range(text: str) -> Tensor:
    counted = _COUNT.fullmatch(text)
    ends = torch.stack([parse_colour(part) for part in (counted[1] if counted else text).split("->")])
    if len(ends) == 1 and not counted:
        return ends
    count = int(counted[2]) if counted else max(STEPS, len(ends))
    if len(ends) == 1 or not len(ends) <= count <= MOST:
        raise BadInput(
            f"The range '{printable(text, 60)}' cannot be read; write colours and, at the end, at least as many steps, "
            "as in 'red->blue*5'."
        )
    at = torch.linspace(0, len(ends) - 1, count)
    before = at.long().clamp(max=len(ends) - 2)
    return torch.lerp(ends[before], ends[before + 1], (at - before)[:, None])
