"""The trilemma in three panels: each pair of quality, coverage and speed, with the models that no other beats.

Every panel is turned so that up and to the right is better. matplotlib is imported only when a plot is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING

from lienzo.core.files import replacing
from lienzo.tasks.card_file import COLUMN, Entry, Real

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure as Page
    from matplotlib.transforms import Bbox

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe & Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
GREY = "#6b6b6b"
Pixel = tuple[float, float]
# What is wrong with a place for a label, as so many points of distance from its marker.
OUTSIDE, WORDS, MARK, LINE, CROSSED = 9000, 4000, 500, 100, 60
_ALONG = tuple(i / 16 for i in range(1, 16))


@dataclass(frozen=True)
class Panel:
    """A pair of figures: what lies to the right and what lies up, by their names in `COLUMNS`."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Taken:
    """A part of a panel, in pixels, that a label should not cover, and what covering it costs."""

    box: Bbox
    cost: int


PANELS = (
    Panel("Quality and speed", "seconds_1", "fid"),
    Panel("Coverage and speed", "seconds_1", "coverage"),
    Panel("Quality and coverage", "coverage", "fid"),
)
AXES = {
    "seconds_1": "seconds a picture (log), faster to the right",
    "coverage": "coverage, higher is better",
    "fid": "FID, lower is better",
}


def why_no_plot() -> str | None:
    """What to install where matplotlib is missing, else None."""
    if find_spec("matplotlib") is not None:
        return None
    return "No plot is drawn without matplotlib: pip install 'lienzo[plot]'."


def front(entries: Sequence[Entry], panel: Panel) -> list[str]:
    """Labels of the models that none beats in a panel, the fastest or widest first."""
    points = {entry.label: point for entry in entries if (point := _point(entry, panel)) is not None}
    on = pareto(list(points.values()))
    return [label for label, _ in sorted(((list(points)[i], i) for i in on), key=lambda it: -points[it[0]][0])]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other dominates: at least as high in both, and higher in one."""

    def beaten(point: tuple[float, float]) -> bool:
        return any(o != point and o[0] >= point[0] and o[1] >= point[1] for o in points)

    return [index for index, point in enumerate(points) if not beaten(point)]


def _point(entry: Entry, panel: Panel) -> tuple[float, float] | None:
    """The model in a panel, turned so that higher is better in both."""
    values = []
    for name in (panel.x, panel.y):
        figure = entry.figure(name)
        if figure is None:
            return None
        values.append(figure.value if COLUMN[name].better == "high" else -figure.value)
    return values[0], values[1]


def save_plot(path: Path, entries: Sequence[Entry], real: Real) -> None:
    """Draw the panels and write them as PNG, 1800 pixels wide."""
    with replacing(path) as work:
        draw(entries, real).savefig(work, format="png", dpi=150)


def draw(entries: Sequence[Entry], real: Real) -> Page:
    """The page of three panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Page

    page = Page(figsize=(12, 5.2), dpi=150)
    FigureCanvasAgg(page)
    for place, panel in enumerate(PANELS):
        _panel(page.add_subplot(1, len(PANELS), place + 1), panel, entries, real)
    page.subplots_adjust(left=0.065, right=0.985, top=0.83, bottom=0.205, wspace=0.26)
    _words(page, entries, real)
    renderer = page.canvas.get_renderer()  # type: ignore[attr-defined]
    for axes, panel in zip(page.axes, PANELS, strict=True):
        _label(axes, panel, entries, renderer)
    return page


def _words(page: Page, entries: Sequence[Entry], real: Real) -> None:
    count = len(entries)
    title = "Quality, coverage and speed of " + ("one model" if count == 1 else f"{count} models")
    page.text(0.065, 0.945, title, fontsize=14, fontweight="bold")
    n = next((f.protocol for e in entries if (f := e.figure("fid"))), "")
    fields = dict(part.partition("=")[::2] for part in n[n.find("[") + 1 : -1].split(","))
    times = next((f.protocol for e in entries if (f := e.figure("seconds_1"))), "")
    place = dict(part.partition("=")[::2] for part in times[times.find("[") + 1 : -1].split(","))
    told = (
        "In every panel, up and to the right is better. Filled: on the Pareto front, no other model is better in both."
    )
    page.text(0.065, 0.905, told, fontsize=9.5, color=GREY)
    below = [
        f"{fields.get('n', '?')} pictures a model, {fields.get('ref', '?')} real, net {fields.get('net', '?')}; "
        f"timed one picture at a time on {place.get('machine', '?').replace('_', ' ')}, "
        f"{place.get('threads', '?')} thread{'' if place.get('threads') == '1' else 's'}.",
        "Bars: 95 % bootstrap intervals; of times, the lowest and the highest."
        + (" Dotted lines: as many other real pictures." if real.others else ""),
    ]
    page.text(0.065, 0.025, "\n".join(below), fontsize=8.5, color=GREY, linespacing=1.5)


def _panel(axes: Axes, panel: Panel, entries: Sequence[Entry], real: Real) -> None:
    """Axes, front and markers; labels come when the page's size is settled."""
    axes.set_title(panel.title, fontsize=11, fontweight="bold", loc="left")
    axes.set_xlabel(AXES[panel.x], fontsize=9.5)
    axes.set_ylabel(AXES[panel.y], fontsize=9.5)
    axes.tick_params(labelsize=9)
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    shown = [(i, e) for i, e in enumerate(entries) if _point(e, panel) is not None]
    if not shown:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=GREY)
        return
    _limits(axes, panel, [entry for _, entry in shown], real)
    _ideal(axes, panel, real)
    on = front(entries, panel)
    _stairs(axes, panel, {entry.label: entry for _, entry in shown}, on)
    for index, entry in shown:
        _marker(axes, panel, entry, index, entry.label in on)


def _marker(axes: Axes, panel: Panel, entry: Entry, index: int, filled: bool) -> None:
    colour = COLOURS[index % len(COLOURS)]
    (x, left, right), (y, down, up) = _ends(entry, panel.x), _ends(entry, panel.y)
    axes.errorbar(
        [x], [y], xerr=[[x - left], [right - x]], yerr=[[y - down], [up - y]], fmt=MARKERS[index % len(MARKERS)],
        color=colour, markerfacecolor=colour if filled else "white", markeredgecolor=colour, markeredgewidth=1.8,
        markersize=9, elinewidth=1.3, capsize=3, zorder=3,
    )  # fmt: skip


def _ends(entry: Entry, name: str) -> tuple[float, float, float]:
    """A figure with both ends of its interval, itself where there is none."""
    figure = entry.figure(name)
    assert figure is not None
    low, high = figure.interval or (figure.value, figure.value)
    return figure.value, min(low, figure.value), max(high, figure.value)


def _limits(axes: Axes, panel: Panel, entries: Sequence[Entry], real: Real) -> None:
    """Room around all points for their labels; logarithmic seconds; the better end to the right or up."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    for name, axis, is_x in ((panel.x, axes.xaxis, True), (panel.y, axes.yaxis, False)):
        ends = [_ends(entry, name) for entry in entries]
        values = [end for each in ends for end in each[1:]]
        if (ideal := real.figure(name)) is not None:
            values.append(ideal.value)
        low, high = min(values), max(values)
        if name == "seconds_1" and low > 0:
            (axes.set_xscale if is_x else axes.set_yscale)("log")
            factor = max((high / low) ** 0.22, 1.7)
            low, high = low / factor, high * factor
            axis.set_major_locator(LogLocator(subs=_ticks(high / low)))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            room = 0.22 * (high - low) or 0.1 * abs(high) or 0.1
            low, high = low - room, high + room
            low = max(low, -0.04 * (high - low))  # neither figure can be below 0
            high = min(high, 1.04) if name == "coverage" else high
        turned = COLUMN[name].better == "low"
        (axes.set_xlim if is_x else axes.set_ylim)(*((high, low) if turned else (low, high)))


def _ticks(ratio: float) -> tuple[float, ...]:
    """Multiples of powers of ten that mark a logarithmic axis from its low end to `ratio` times that."""
    return (1.0,) if ratio > 300 else (1.0, 3.0) if ratio > 10 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def _ideal(axes: Axes, panel: Panel, real: Real) -> None:
    """Lines at what other real pictures score."""
    for name, line in ((panel.x, axes.axvline), (panel.y, axes.axhline)):
        figure = real.figure(name)
        if figure is None:
            continue
        line(figure.value, color=GREY, linewidth=1.2, linestyle=":", zorder=1)
        if name == panel.y:
            where = (6, 3)
            axes.annotate(
                "other real pictures", (0, figure.value), xycoords=("axes fraction", "data"), xytext=where,
                textcoords="offset points", fontsize=8.5, color=GREY,
            )  # fmt: skip


def _stairs(axes: Axes, panel: Panel, entries: dict[str, Entry], on: Sequence[str]) -> None:
    """The edge of what the models reach: for each x, the best y of those at least as good in x."""
    corners = sorted((_plain(entries[label], panel) for label in on), key=lambda p: p[0], reverse=True)
    if COLUMN[panel.x].better == "low":
        corners.reverse()
    worst_x, worst_y = axes.get_xlim()[0], axes.get_ylim()[0]
    xs, ys = [corners[0][0]], [worst_y]
    for x, y in corners:  # from the best x on
        xs += [x, x]
        ys += [ys[-1], y]
    xs.append(worst_x)
    ys.append(ys[-1])
    axes.plot(xs, ys, color=GREY, linewidth=1.3, linestyle=(0, (4, 2.5)), zorder=2)
    axes.fill_between(xs, ys, worst_y, color="#f4f4f4", zorder=0)


def _plain(entry: Entry, panel: Panel) -> tuple[float, float]:
    return _ends(entry, panel.x)[0], _ends(entry, panel.y)[0]


def _label(axes: Axes, panel: Panel, entries: Sequence[Entry], renderer: RendererBase) -> None:
    """Each model's name where it covers nothing: near its marker if there is room, else further with a thin line."""
    from matplotlib.transforms import Bbox

    taken = [Taken(text.get_window_extent(renderer), WORDS) for text in axes.texts]
    shown = [(i, e) for i, e in enumerate(entries) if _point(e, panel) is not None]
    scale = axes.figure.dpi / 72  # pixels a point
    for _, entry in shown:
        (x, left, right), (y, down, up) = _ends(entry, panel.x), _ends(entry, panel.y)
        middle = axes.transData.transform((x, y))
        marker = Bbox.from_bounds(middle[0] - 6 * scale, middle[1] - 6 * scale, 12 * scale, 12 * scale)
        taken.append(Taken(marker, MARK))
        for ends in (((left, y), (right, y)), ((x, down), (x, up))):
            a, b = axes.transData.transform(ends)
            box = Bbox([[min(a[0], b[0]), min(a[1], b[1])], [max(a[0], b[0]), max(a[1], b[1])]])
            taken.append(Taken(box.padded(1.5 * scale), MARK))
    for index, entry in shown:
        colour = _darker(COLOURS[index % len(COLOURS)])
        taken += _place(axes, _plain(entry, panel), entry.label, colour, taken, renderer)


def _place(
    axes: Axes, point: tuple[float, float], label: str, colour: str, taken: Sequence[Taken], renderer: RendererBase
) -> list[Taken]:
    """Write one label at the nearest place that is free and inside the panel; returns what it covers."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    text = axes.annotate(
        label, point, xytext=(0, 0), textcoords="offset points", fontsize=9.5, color=colour, fontweight="bold",
        ha="center", va="center", zorder=4, gid="label",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )  # fmt: skip
    size, inside = text.get_window_extent(renderer), axes.get_window_extent(renderer)
    x0, y0 = axes.transData.transform(point)
    marker, scale = (float(x0), float(y0)), axes.figure.dpi / 72
    best: tuple[float, float, float, Bbox] | None = None
    for radius, x, y in _spots():
        # the text's own edge, not its middle, is `radius` away
        dx = radius * x + (size.width / 2 / scale) * max(-1.0, min(1.0, 2 * x))
        dy = radius * y + (size.height / 2 / scale) * y
        middle = marker[0] + dx * scale, marker[1] + dy * scale
        box = Bbox.from_bounds(
            middle[0] - size.width / 2 - 2, middle[1] - size.height / 2 - 2, size.width + 4, size.height + 4
        )
        out = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
        faults = (
            OUTSIDE * out
            + sum(each.cost for each in taken if box.overlaps(each.box))
            + CROSSED * _crossed(marker, box, taken)
        )
        if best is None or radius + faults < best[0]:
            best = radius + faults, dx, dy, box
        if not faults:
            break
    assert best is not None
    _, dx, dy, box = best
    text.set_position((dx, dy))
    end = _nearest(marker, box)
    if hypot(end[0] - marker[0], end[1] - marker[1]) < 14 * scale:
        return [Taken(box, WORDS)]
    _leader(axes, point, ((end[0] - marker[0]) / scale, (end[1] - marker[1]) / scale), colour)
    line = [Bbox.from_bounds(x - 2, y - 2, 4, 4) for x, y in _between(marker, end)]
    return [Taken(box, WORDS), *(Taken(each, LINE) for each in line)]


def _darker(colour: str) -> str:
    """A colour in which letters can be read on white."""
    return "#" + "".join(f"{int(colour[i : i + 2], 16) * 7 // 10:02x}" for i in (1, 3, 5))


def _between(start: Pixel, end: Pixel) -> list[Pixel]:
    """Points along a line, without its ends."""
    return [(start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])) for t in _ALONG]


def _nearest(marker: Pixel, box: Bbox) -> Pixel:
    """The point of a box that is nearest to a marker."""
    return min(max(marker[0], box.x0), box.x1), min(max(marker[1], box.y0), box.y1)


def _crossed(marker: Pixel, box: Bbox, taken: Sequence[Taken]) -> int:
    """How many other things lie between a marker and its label."""
    line = _between(marker, _nearest(marker, box))
    others = [each.box for each in taken if not each.box.contains(*marker)]
    return sum(any(each.contains(x, y) for x, y in line) for each in others)


def _leader(axes: Axes, point: tuple[float, float], spot: tuple[float, float], colour: str) -> None:
    """A thin line from a marker to its label, under the label's white rim."""
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 6}
    axes.annotate("", point, xytext=spot, textcoords="offset points", arrowprops=line, zorder=2)


def _spots() -> Iterator[tuple[float, float, float]]:
    """Distances in points from a marker with directions, nearest first."""
    for radius in (9, 13, 18, 24, 32, 42, 54, 68, 84, 102, 122, 144, 168):
        for step in range(16):
            yield radius, cos(step * pi / 8), sin(step * pi / 8)
