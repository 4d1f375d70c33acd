from __future__ import annotations

from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest
from card_entries import entry, real

from lienzo.tasks import pareto_plot
from lienzo.tasks.card_file import Entry
from lienzo.tasks.pareto_plot import PANELS, draw, front, pareto, save_plot, why_no_plot

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs the extra `plot`")


def test_the_front_of_known_points():
    points = [(1, 5), (2, 4), (2, 3), (4, 4), (5, 1), (0, 0), (4, 4)]
    assert pareto(points) == [0, 3, 4, 6]
    assert pareto([]) == []


def test_fronts_know_which_end_is_the_good_one():
    fast, good, bad = (
        entry("fast", seconds_1=0.1, fid=50.0, coverage=0.2),
        entry("good", seconds_1=9.0, fid=5.0, coverage=0.9),
        entry("bad", seconds_1=9.0, fid=60.0, coverage=0.1),
    )
    by_title = {panel.title: front([bad, good, fast], panel) for panel in PANELS}
    assert by_title == {
        "Quality and speed": ["fast", "good"],
        "Coverage and speed": ["fast", "good"],
        "Quality and coverage": ["good"],
    }


def test_models_without_a_figure_are_left_out():
    assert front([entry("a", fid=1.0)], PANELS[0]) == []


def crowd() -> list[Entry]:
    """Eight models, of which half are nearly the same."""
    return [
        entry(f"model-{i}-with-a-name", seconds_1=0.1 + 0.01 * i if i < 4 else i, fid=100.0 + 9 * i, coverage=0.6)
        for i in range(8)
    ]


@pytest.fixture(scope="module")
def page():
    """The crowd drawn."""
    pytest.importorskip("matplotlib")
    return draw(crowd(), real(fid=30.0, coverage=0.9))


def test_labels_lie_inside_and_cover_no_other(page):
    renderer = page.canvas.get_renderer()
    for axes in page.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_gid() == "label"]
        assert len(boxes) == 8
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
        inside = axes.get_window_extent(renderer)
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)


def test_up_and_right_is_better_in_every_panel(page):
    for axes, panel in zip(page.axes, PANELS, strict=True):
        (left, right), (down, up) = axes.get_xlim(), axes.get_ylim()
        assert (left > right) == (panel.x == "seconds_1")
        assert (down > up) == (panel.y == "fid")


@needs_matplotlib
@pytest.mark.parametrize("entries", [[entry("alone", seconds_1=0.1, fid=3.0, coverage=0.5)], [entry("empty")]])
def test_one_model_or_none_with_figures_still_gives_a_picture(tmp_path: Path, entries: list[Entry]):
    save_plot(tmp_path / "plot.png", entries, real())
    from lienzo.imaging.reading import load_picture

    assert load_picture(tmp_path / "plot.png").shape == (780, 1800, 3)


def test_missing_matplotlib_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pareto_plot, "find_spec", lambda name: None)
    assert why_no_plot() == "No plot is drawn without matplotlib: pip install 'lienzo[plot]'."
