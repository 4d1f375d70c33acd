"""Values that change over a run, written as text and parsed, never evaluated.

Two notations of the field are read: per-step lists as in disco-diffusion, ``[12]*400+[4]*600``, and key frames
as in Deforum, ``0:(1.0), 10:(1.05)`` (linear between frames).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lienzo.core.errors import BadInput

# Each part is matched on its own and in one way only, so that no text takes longer than its length.
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_RUN = re.compile(rf"\[\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\](?:\s*\*\s*(\d{{1,9}}))?")
_FRAME = re.compile(rf"(\d{{1,9}})\s*:\s*(?:\(\s*({_NUMBER})\s*\)|({_NUMBER}))")
MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class Value:
    """A number as a function of progress. `points` are (position in [0, 1], value); `smooth` interpolates."""

    points: tuple[tuple[float, float], ...]
    smooth: bool = False

    def at(self, progress: float) -> float:
        """The value at `progress` in [0, 1], 0 at the first (noisiest) step and 1 at the last."""
        before = self.points[0]
        for point in self.points:
            if point[0] > progress:
                if not self.smooth:
                    return before[1]
                share = (progress - before[0]) / (point[0] - before[0]) if point[0] > before[0] else 0.0
                return before[1] + min(max(share, 0.0), 1.0) * (point[1] - before[1])
            before = point
        return before[1]


def parse_value(text: str | float | int) -> Value:
    """Parse a constant, a per-step list or key frames.

    Args:
        text: ``12``, ``"12"``, ``"[12]*400+[4]*600"`` or ``"0:(4), 500:(12), 1000:(12)"``. Lists are stretched
            over the run whatever its number of steps; the largest key frame is the end of the run.

    Raises:
        BadInput: the text is none of these.
    """
    text = str(text).strip()
    if re.fullmatch(_NUMBER, text):
        value = Value(((0.0, float(text)),))
    elif text.startswith("["):
        value = _parse_list(text)
    else:
        value = _parse_frames(text)
    if not all(math.isfinite(number) for _, number in value.points):
        raise BadInput(f"The schedule {text[:80]!r} has a number that is too large.")
    return value


def _parse_list(text: str) -> Value:
    parts = [part.strip() for part in text.split("+")]
    runs: list[tuple[float, int]] = []
    for part in parts:
        match = _RUN.fullmatch(part)
        if match is None:
            raise BadInput(f"The schedule part {part[:40]!r} cannot be read; write it as '[12]*400'.")
        numbers, times = [float(n) for n in match[1].split(",")], int(match[2] or 1)
        if len(numbers) > 1 and times > 1:
            raise BadInput(f"The schedule part {part[:40]!r} repeats several numbers; repeat one number a part.")
        runs += [(n, times) for n in numbers if times]
    total = sum(times for _, times in runs)
    if not 0 < total <= MAX_STEPS:
        raise BadInput(f"The schedule {text[:80]!r} has {total} steps; it needs 1 to {MAX_STEPS}.")
    points, start = [], 0
    for value, times in runs:
        points.append((start / total, value))
        start += times
    return Value(tuple(points))


def _parse_frames(text: str) -> Value:
    matches = [_FRAME.fullmatch(part.strip()) for part in text.removesuffix(",").split(",")]
    found = [match for match in matches if match is not None]
    if len(found) < len(matches):
        raise BadInput(
            f"The schedule {text[:80]!r} cannot be read; write a number, '[12]*400+[4]*600' or '0:(4), 500:(12)'."
        )
    frames = sorted((int(match[1]), float(match[2] or match[3])) for match in found)
    last = max(frames[-1][0], 1)
    return Value(tuple((frame / last, value) for frame, value in frames), smooth=True)
