"""A canvas that is painted small first: what goes where is settled while a step costs a fraction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lienzo.guidance.canvas import Canvas, learning_rate, project
from lienzo.guidance.ops import resample

SMALLEST = 64  # pixels of the shorter side from which a picture shows what it should become


class GrowingCanvas:
    """Another canvas, begun in the first of some sizes and begun again from its own picture in each next one.

    Args:
        make: a canvas of (height, width, start), where start is (B, 3, height, width) in [0, 1] or None.
        sizes: (height, width) one after the other; the last is that of the finished picture.
        share: of a run, in [0, 1], in which all sizes but the last are painted, for equal parts of it.
        start: (1 or B, 3, H, W) in [0, 1] of any size, what the first canvas starts from.
    """

    def __init__(
        self,
        make: Callable[[int, int, Tensor | None], Canvas],
        sizes: Sequence[tuple[int, int]],
        share: float,
        start: Tensor | None = None,
    ):
        self.make, self.sizes, self.share = make, list(sizes), share
        self.begin(start)
        self.lr = learning_rate(self.canvas)

    def begin(self, start: Tensor | None) -> None:
        """Begin a run, in the first size."""
        self.level, first = 0, self.sizes[0]
        self.canvas = self.make(*first, None if start is None else _resized(start, first))

    @property
    def growing(self) -> bool:
        """Whether a larger size is still to come."""
        return self.level < len(self.sizes) - 1

    @property
    def grown(self) -> float | None:
        """Share of a run after which the first size was over; None while it is not."""
        return self._due(1) if self.level else None

    def grow(self, progress: float) -> bool:
        """Go on to the size that is due, or back to the first when a run begins anew.

        Args:
            progress: share of the run that is over, in [0, 1].

        Returns:
            Whether the canvas has new parameters.
        """
        level = sum(progress >= self._due(level) for level in range(1, len(self.sizes)))
        if level == self.level:
            return False
        self.level, size = level, self.sizes[level]
        self.canvas = self.make(*size, _resized(self.render().detach(), size))
        return True

    def render(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], of the size that is painted now."""
        return self.canvas.render()

    def parameters(self) -> list[Tensor]:
        return self.canvas.parameters()

    def project(self) -> None:
        """The canvas's own projection, where it has one."""
        project(self.canvas)

    def _due(self, level: int) -> float:
        """Share of a run after which a size that is not the first begins."""
        return self.share * level / (len(self.sizes) - 1)


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return resample(picture, size, align_corners=False).clamp(0, 1)


def halvings(height: int, width: int, multiple: int = 1) -> list[tuple[int, int]]:
    """The sizes (height, width) of a growing canvas: halves of halves down to `SMALLEST`, the full size last.

    Sides are whole multiples of `multiple`.
    """
    sizes = [(height, width)]
    while min(sizes[0]) >= 2 * SMALLEST:
        sizes.insert(0, tuple(max(round(side / 2 / multiple), 1) * multiple for side in sizes[0]))  # type: ignore[arg-type]
    return sizes
