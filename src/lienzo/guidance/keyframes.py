"""Key frames of a video: ``0:(1), 30:(1.05)`` or ``0:(1 + 0.02*sin(2*pi*t/24))``, parsed and never evaluated as code.

The notation is that of disco-diffusion and Deforum: the number before a colon is a frame, what follows is the value
there. Values run linearly from one key frame to the next and stay as they are before the first and after the last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

MAX_LENGTH = 2000
MAX_DEPTH = 30
_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|([A-Za-z]+)|(\*\*|[-+*/%(),]))", re.ASCII
)
_FRAME = re.compile(r"\s*(\d{1,9})\s*:", re.ASCII)

Formula = Callable[[float], float]
"""A number as a function of the frame t."""

NAMES = {"pi": math.pi, "e": math.e}
ONE: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "sqrt": math.sqrt, "exp": math.exp, "log": math.log,
    "abs": abs, "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip
TWO: dict[str, Callable[[float, float], float]] = {"min": min, "max": max}
OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "%": lambda a, b: a % b, "**": lambda a, b: math.pow(a, b),
}  # fmt: skip


@dataclass(frozen=True)
class Keyframes:
    """A number for every frame. `frames` are (frame, value there), in order of frames."""

    text: str
    frames: tuple[tuple[int, Formula], ...]

    def at(self, frame: int) -> float:
        """The value at a frame, from 0.

        Raises:
            BadInput: the formula has no finite value there.
        """
        before = self.frames[0]
        for after in self.frames:
            if after[0] > frame:
                break
            before = after
        else:
            return self._value(before[1], frame)
        if after[0] <= before[0]:
            return self._value(before[1], frame)
        share = (frame - before[0]) / (after[0] - before[0])
        if share <= 0:  # ahead of the first key frame
            return self._value(before[1], frame)
        return (1 - share) * self._value(before[1], frame) + share * self._value(after[1], frame)

    def _value(self, formula: Formula, frame: int) -> float:
        try:
            value = formula(float(frame))
        except (ArithmeticError, ValueError):
            value = math.nan
        if not isinstance(value, float | int) or not math.isfinite(value):
            raise BadInput(f"The key frames '{printable(self.text, 80)}' have no finite value at frame {frame}.")
        return float(value)


def parse_keyframes(text: str | float) -> Keyframes:
    """Read key frames, or one number or formula for all frames.

    Args:
        text: ``1.02``, ``0:(1), 30:(1.05)``, ``0: 1, 30: 1.05`` or formulas of the frame t with ``+ - * / % **``,
            brackets, pi, e and sin, cos, tan, sqrt, exp, log, abs, floor, ceil, min and max.

    Raises:
        BadInput: one sentence that names the part which cannot be read.
    """
    text = str(text).strip()
    if not text:
        raise BadInput("The key frames are empty; write a number, or '0:(1), 30:(1.05)'.")
    if len(text) > MAX_LENGTH:
        raise BadInput(f"The key frames have {len(text)} characters; there may be {MAX_LENGTH}.")
    if ":" not in text:
        return Keyframes(text, ((0, _formula(text)),))
    frames: dict[int, Formula] = {}
    for part in _parts(text):
        match = _FRAME.match(part)
        if match is None:
            raise BadInput(
                f"The key frame '{printable(part.strip(), 60)}' cannot be read; write frame:(value), "
                "as in '0:(1), 30:(1.05)'."
            )
        frame = int(match[1])
        if frame in frames:
            raise BadInput(f"The key frame {frame} is given twice; give each frame one value.")
        frames[frame] = _formula(part[match.end() :])
    return Keyframes(text, tuple(sorted(frames.items(), key=lambda pair: pair[0])))


def _parts(text: str) -> list[str]:
    """The text split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def _formula(text: str) -> Formula:
    parser = _Parser(text)
    formula = parser.sum()
    if parser.token is not None:
        raise parser.wrong()
    return formula


class _Parser:
    """Recursive descent over sums, products, signs, powers and brackets; power binds tightest and to the right."""

    def __init__(self, text: str):
        self.text, self.place, self.depth = text, 0, 0
        self.token: str | None = None
        self.advance()

    def advance(self) -> None:
        if not self.text[self.place :].strip():
            self.token = None
            return
        match = _TOKEN.match(self.text, self.place)
        if match is None:
            self.token = self.text[self.place :].strip()[0]
            raise self.wrong()
        self.token, self.place = match[0].strip(), match.end()

    def wrong(self) -> BadInput:
        shown = printable(self.text.strip(), 60)
        at = "it ends too early" if self.token is None else f"'{printable(self.token, 20)}' has no place there"
        return BadInput(f"The key-frame value '{shown}' cannot be read: {at}; write a number or e.g. 1+0.1*sin(t/10).")

    def take(self, token: str) -> None:
        if self.token != token:
            raise self.wrong()
        self.advance()

    def binary(self, operators: str, operand: Callable[[], Formula]) -> Formula:
        left = operand()
        while self.token is not None and self.token in operators.split():
            operation = OPERATIONS[self.token]
            self.advance()
            left = _joined(operation, left, operand())
        return left

    def sum(self) -> Formula:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BadInput(f"The key-frame value has more than {MAX_DEPTH} brackets within brackets; simplify it.")
        formula = self.binary("+ -", lambda: self.binary("* / %", self.sign))
        self.depth -= 1
        return formula

    def sign(self) -> Formula:
        negative = False
        while self.token is not None and self.token in "+-":
            negative ^= self.token == "-"
            self.advance()
        formula = self.power()
        return (lambda t: -formula(t)) if negative else formula

    def power(self) -> Formula:
        base = self.atom()
        if self.token != "**":
            return base
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.wrong()
        self.advance()
        formula = _joined(OPERATIONS["**"], base, self.sign())
        self.depth -= 1
        return formula

    def atom(self) -> Formula:
        token = self.token
        if token is None:
            raise self.wrong()
        if token == "(":
            self.advance()
            inner = self.sum()
            self.take(")")
            return inner
        if token[0].isdigit() or token[0] == ".":
            self.advance()
            number = float(token)
            return lambda t: number
        if token == "t":
            self.advance()
            return lambda t: t
        if token in NAMES:
            self.advance()
            constant = NAMES[token]
            return lambda t: constant
        if token in ONE or token in TWO:
            return self.call(token)
        raise self.wrong()

    def call(self, name: str) -> Formula:
        self.advance()
        self.take("(")
        first = self.sum()
        if name in TWO:
            self.take(",")
            both = _joined(TWO[name], first, self.sum())
            self.take(")")
            return both
        self.take(")")
        function = ONE[name]
        return lambda t: function(first(t))


def _joined(operation: Callable[[float, float], float], a: Formula, b: Formula) -> Formula:
    return lambda t: operation(a(t), b(t))
