from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import torch

from lienzo.guidance import bezier
from lienzo.guidance.bezier import curve_distance, draw_strokes, nearest
from lienzo.guidance.canvas_strokes import SketchCanvas, StrokeCanvas
from lienzo.guidance.draws import picture_generators

LINE = torch.tensor([[2.0, 5.0], [4.0, 5.0], [6.0, 5.0], [8.0, 5.0]])
CURVES = torch.rand(6, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20


def test_distances_to_a_straight_line_are_known() -> None:
    points = torch.tensor([[5.0, 5.0], [5.0, 8.0], [0.0, 5.0], [11.0, 9.0]])
    torch.testing.assert_close(
        curve_distance(LINE.expand(4, 4, 2), points), torch.tensor([0.0, 3, 2, 5]), atol=2e-4, rtol=0
    )


def test_the_nearest_point_is_the_nearest_of_many() -> None:
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 20
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    many = torch.stack([torch.stack(bezier.at(CURVES, place), -1) for place in t], 1)  # (6, 4001, 2)
    best = torch.cdist(points.expand(6, -1, -1), many).amin(-1).flatten()
    found = curve_distance(CURVES.repeat_interleave(50, 0), points.repeat(6, 1))
    assert (found - best).max() < 0.05
    assert (found - best).median().abs() < 1e-3


def test_the_gradient_of_the_distance_is_that_of_finite_differences() -> None:
    points = torch.rand(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 20
    curves = CURVES.clone().requires_grad_()
    (grad,) = torch.autograd.grad(curve_distance(curves, points).sum(), curves)
    way = torch.randn(CURVES.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ahead, behind = (curve_distance(CURVES + sign * 1e-5 * way, points).sum() for sign in (1, -1))
    torch.testing.assert_close((grad * way).sum(), (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-3)


def test_later_strokes_lie_over_earlier_ones() -> None:
    paper = torch.ones(1, 3, 10, 10)
    inks = torch.tensor([[[1.0, 0, 0, 1], [0, 0, 1, 1]]])
    picture = draw_strokes(paper, LINE.expand(1, 2, 4, 2), torch.full((1, 2), 4.0), inks, soft=0.1)[0]
    torch.testing.assert_close(picture[:, 5, 5], torch.tensor([0.0, 0, 1]), atol=0.01, rtol=0)
    torch.testing.assert_close(picture[:, 0, 0], torch.ones(3), atol=0.01, rtol=0)
    inks = torch.tensor([[[1.0, 0, 0, 1], [0, 0, 1, 0.5]]])
    half = draw_strokes(paper, LINE.expand(1, 2, 4, 2), torch.full((1, 2), 4.0), inks, soft=0.1)[0]
    torch.testing.assert_close(half[:, 5, 5], torch.tensor([0.5, 0, 0.5]), atol=0.01, rtol=0)


def test_groups_of_strokes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little memory is allowed, picture and gradients are the same."""

    def drawn() -> list[torch.Tensor]:
        canvas = StrokeCanvas(2, 14, 18, strokes=7, generators=picture_generators([1, 2]))
        picture = canvas.render()
        return [picture, *torch.autograd.grad(picture.square().sum(), canvas.parameters())]

    together = drawn()
    monkeypatch.setattr(bezier, "VALUES", 3 * 14 * 18)
    for a, b in zip(drawn(), together):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_search_needs_no_graph() -> None:
    assert not nearest(CURVES.clone().requires_grad_(), torch.rand(6, 2, dtype=torch.float64)).requires_grad


@pytest.mark.parametrize("kind", [StrokeCanvas, SketchCanvas])
def test_svg_holds_every_stroke(kind: type[StrokeCanvas] | type[SketchCanvas]) -> None:
    canvas = kind(2, 30, 40, strokes=5, generators=picture_generators([1, 2]))
    root = ElementTree.fromstring(canvas.svg(1))
    assert root.attrib["viewBox"] == "0 0 40 30"
    paths = root.findall(".//{http://www.w3.org/2000/svg}path")
    assert len(paths) == 5
    numbers = [float(part) for part in paths[0].attrib["d"].replace("M", "").replace("C", "").split()]
    expected = (canvas.curves[1, 0] * 0.25 * 40).flatten().tolist()
    assert numbers == pytest.approx(expected, abs=0.006)
    assert canvas.svg(0) != canvas.svg(1)
    if kind is SketchCanvas:
        assert all(path.attrib["stroke"] == "#000000" for path in paths)


def test_lines_of_a_sketch_keep_their_measure() -> None:
    canvas = SketchCanvas(1, 20, 40, strokes=3, thick=0.03)
    assert [each.shape for each in canvas.parameters()] == [(1, 3, 4, 2), (1, 3), (1, 3)]
    for change, width, dark in ((100.0, 0.12, 1.0), (-200.0, 0.0075, 0.05)):
        with torch.no_grad():
            canvas.widths += change
            canvas.dark += change
        canvas.project()
        assert canvas.widths.detach().exp().max() == pytest.approx(width)
        assert canvas.dark.detach().max() == pytest.approx(dark)


def test_a_sketch_learns_how_wide_and_how_dark_its_lines_are() -> None:
    canvas = SketchCanvas(1, 24, 24, strokes=4, generators=picture_generators([1]))
    for grad in torch.autograd.grad(canvas.render().square().mean(), canvas.parameters()):
        assert grad.flatten(2).any(-1).all() if grad.ndim == 4 else grad.all()


def test_a_sketch_begins_about_the_middle() -> None:
    canvas = SketchCanvas(1, 30, 60, strokes=400, generators=picture_generators([0]))
    places = canvas.curves.detach()[0].mean(1) * 0.25  # shares of the longer side
    assert places.mean(0).tolist() == pytest.approx([0.5, 0.25], abs=0.03)
    assert places[:, 0].std() < 0.25


def test_a_sketch_begins_where_it_is_dark() -> None:
    start = torch.ones(1, 3, 40, 40)
    start[..., 25:35, 5:15] = 0
    canvas = SketchCanvas(1, 40, 40, strokes=30, start=start, generators=picture_generators([0]))
    dark = 1 - canvas.render().detach()[0, 0]
    assert dark[20:40, 0:20].sum() > 3 * (dark.sum() - dark[20:40, 0:20].sum())


def test_strokes_stay_near_the_picture() -> None:
    canvas = StrokeCanvas(1, 20, 40, strokes=3)
    with torch.no_grad():
        canvas.curves += 100
        canvas.inks -= 5
        canvas.widths += 100
    canvas.project()
    places = canvas.curves.detach() * 0.25
    assert places[..., 0].max() == pytest.approx(1.1)
    assert places[..., 1].max() == pytest.approx(0.6)
    assert canvas.inks[..., :3].min() == 0
    assert canvas.widths.detach().exp().max() == pytest.approx(0.5)


def test_paper_is_the_colour_that_most_of_a_picture_has() -> None:
    start = torch.tensor([1.0, 0.9, 0.8])[:, None, None].repeat(1, 1, 40, 40).view(1, 3, 40, 40)
    start[..., 10:25, 10:25] = 0
    canvas = StrokeCanvas(2, 40, 40, strokes=3, start=start)
    torch.testing.assert_close(canvas.paper[:, :, 0, 0], torch.tensor([[1.0, 0.9, 0.8]] * 2))


@pytest.mark.parametrize("turned", [False, True])
def test_lines_of_a_sketch_follow_edges(turned: bool) -> None:
    start = torch.ones(1, 3, 64, 96)
    if turned:
        start[..., 30:33, :] = 0
    else:
        start[..., 50:53] = 0
    curves = SketchCanvas(1, 64, 96, strokes=20, start=start, generators=picture_generators([0])).curves.detach()[0]
    ways = (curves[:, -1] - curves[:, 0]).abs()
    along, across = (ways[:, 0], ways[:, 1]) if turned else (ways[:, 1], ways[:, 0])
    assert (across < 0.05 * along).all()
