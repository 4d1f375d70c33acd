"""Codes of pictures as points, coloured by class. matplotlib is imported only when a plot is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Ten colours that stay apart on white, for most eyes and in grey.
COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#5f5f5f", "#bcbd22", "#17becf",
)  # fmt: skip
GREY, LIGHT = "#6b6b6b", "#e6e6e6"
NAMED = 12  # most classes that are named
APART = 0.06  # least distance of two names in a panel, as a share of its side; the legend has the others


@dataclass(frozen=True)
class Cloud:
    """One panel.

    Attributes:
        title: above it.
        points: (N, 2).
        labels: (N,) class of each, or None.
        names: of the classes.
        axes: what lies to the right and up.
        circle: draw where N(0, I) has 95 % of its draws.
    """

    title: str
    points: np.ndarray
    labels: np.ndarray | None = None
    names: Sequence[str] = ()
    axes: tuple[str, str] = ("first number of the code", "second number of the code")
    circle: bool = False


def need_matplotlib() -> None:
    """Raises BadInput where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise BadInput("This plot needs matplotlib: pip install 'lienzo[plot]'.")


def save_clouds(path: Path, clouds: Sequence[Cloud], title: str, told: str = "") -> None:
    """Panels side by side as PNG, 150 dots an inch.

    Args:
        path: the file.
        clouds: the panels.
        title: of the page.
        told: a line below the title.

    Raises:
        BadInput: matplotlib is not installed, or the file cannot be written.
    """
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = 6.0 * len(clouds)
    page = Figure(figsize=(width, 6.6), dpi=150)
    FigureCanvasAgg(page)
    for place, cloud in enumerate(clouds):
        panel(page.add_subplot(1, len(clouds), place + 1), cloud)
    left = 0.75 / width
    page.subplots_adjust(left=left, right=1 - 0.2 / width, top=0.8, bottom=0.1, wspace=0.2)
    legend(page, clouds[0])
    page.text(left, 0.95, printable(title, 200), fontsize=14, fontweight="bold")
    page.text(left, 0.912, printable(told, 300), fontsize=9.5, color=GREY)
    with replacing(path) as work:
        page.savefig(work, format="png")


def panel(axes: Axes, cloud: Cloud) -> None:
    """The points of one cloud, each class with its name in its middle."""
    from matplotlib.patches import Circle

    axes.set_title(printable(cloud.title, 100), fontsize=11, fontweight="bold", loc="left")
    axes.set_xlabel(cloud.axes[0], fontsize=9.5)
    axes.set_ylabel(cloud.axes[1], fontsize=9.5)
    axes.tick_params(labelsize=9)
    axes.grid(True, color=LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    labels = np.zeros(len(cloud.points), int) if cloud.labels is None else cloud.labels
    colours = np.array([COLOURS[label % len(COLOURS)] for label in labels])
    axes.scatter(cloud.points[:, 0], cloud.points[:, 1], s=7, c=colours, alpha=0.55, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    if cloud.circle:  # the radius that 95 % of draws of a Gaussian in the plane do not exceed
        axes.add_patch(Circle((0, 0), 2.448, fill=False, color=GREY, linewidth=1.3, linestyle=(0, (4, 3))))
    if named(cloud):
        names(axes, cloud)


def named(cloud: Cloud) -> bool:
    """Whether the classes are few enough to be named."""
    return cloud.labels is not None and 1 < len(cloud.names) <= NAMED


def names(axes: Axes, cloud: Cloud) -> None:
    """Each class's name where its points are, unless another name is there."""
    from matplotlib.patheffects import withStroke

    taken: list[np.ndarray] = []
    rim = [withStroke(linewidth=3, foreground="white")]
    side = max(np.ptp(cloud.points, axis=0).max(), 1e-9)
    for label, name in enumerate(cloud.names):
        own = cloud.points[cloud.labels == label]
        place = np.median(own, axis=0) if len(own) else None
        if place is None or any(np.abs(place - other).max() < APART * side for other in taken):
            continue
        taken.append(place)
        axes.text(
            place[0], place[1], printable(name, 30), fontsize=13, fontweight="bold", ha="center", va="center",
            color=COLOURS[label % len(COLOURS)], path_effects=rim,
        )  # fmt: skip


def legend(page: Figure, cloud: Cloud) -> None:
    """The colours of the classes in the upper right corner."""
    from matplotlib.lines import Line2D

    if not named(cloud):
        return
    dots = [
        Line2D([], [], marker="o", linestyle="", markersize=7, color=colour, label=printable(name, 30))
        for name, colour in zip(cloud.names, 2 * COLOURS)
    ]
    long = sum(map(len, cloud.names)) > 4 * page.get_figwidth()
    page.legend(
        handles=dots, loc="upper right", bbox_to_anchor=(1, 0.905), ncols=-(-len(dots) // 2) if long else len(dots),
        frameon=False, fontsize=10, handletextpad=0.1, columnspacing=0.8,
    )  # fmt: skip
