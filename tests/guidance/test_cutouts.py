from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.guidance.cutouts import CUTOUTS, DiscoCutouts, PaperCutouts, inner_boxes, overviews, random_boxes
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.options import GuidanceOptions

PICTURES = torch.rand(3, 3, 20, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list(CUTOUTS))
@pytest.mark.parametrize("skip_augs", [False, True])
def test_every_cutter_conforms(name: str, skip_augs: bool) -> None:
    """All cutouts of all pictures in one tensor, a picture's own alone or in a batch, with a gradient to each."""
    options = GuidanceOptions.make(cutn=6, cut_overview="5", cut_innercut="3", skip_augs=skip_augs)
    cutter = CUTOUTS.load(name)(10, options)
    x = PICTURES.clone().requires_grad_()
    cuts = cutter(x, 0.0, picture_generators([1, 2, 3]))
    assert cuts.shape[1:] == (3, 10, 10)
    assert len(cuts) % 3 == 0
    for i in range(3):
        alone = cutter(PICTURES[i : i + 1], 0.0, picture_generators([i + 1]))
        torch.testing.assert_close(cuts.view(3, -1, *cuts.shape[1:])[i], alone)
    (grad,) = torch.autograd.grad(cuts.sum(), x)
    assert (grad.flatten(1).abs().sum(1) > 0).all()
    with pytest.raises(ValueError, match="2 generators for a batch of 3"):
        CUTOUTS.load("random")(10, options)(x, 0.0, picture_generators([1, 2]))


@pytest.mark.parametrize("shape", [(30, 50, 24), (50, 30, 24), (10, 14, 24)])
def test_boxes_lie_in_the_picture(shape: tuple[int, int, int]) -> None:
    height, width, size = shape
    generator = torch.Generator().manual_seed(0)
    few = min(height, width, size)
    for boxes in (
        random_boxes(40, height, width, size, generator)[:-9],
        inner_boxes(40, height, width, size, 1.0, generator),
    ):
        x, y, w, h = boxes.unbind(1)
        assert (w == h).all()
        assert (w >= few).all()
        assert (x >= 0).all()
        assert (y >= 0).all()
        assert (x + w <= width).all()
        assert (y + h <= height).all()
    whole = random_boxes(40, height, width, size, generator)[-9:]
    assert whole.tolist() == [[0, 0, width, height]] * 9


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_the_grey_share_is_exact(p: float) -> None:
    """Inner crops of a coloured picture: exactly round(p * n) are grey, with the random changes too."""
    coloured = (
        torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        * torch.tensor([1, 0.2, 0.2])[:, None, None]
    )
    for skip_augs in (True, False):
        options = GuidanceOptions.make(cut_overview="0", cut_innercut="10", cut_icgray_p=str(p), skip_augs=skip_augs)
        cuts = DiscoCutouts(8, options)(coloured, 0.0, torch.Generator().manual_seed(0))
        gray = (cuts[:, 0].mean((1, 2)) - cuts[:, 1].mean((1, 2))).abs() < 0.05
        assert gray.sum() == round(p * 10)


def test_overviews_do_not_repeat() -> None:
    views = overviews(PICTURES, 12, 16)[0]
    assert views.shape == (12, 3, 16, 16)
    for i in range(12):
        for j in range(i):
            assert (views[i] - views[j]).abs().max() > 1e-2, (i, j)
    # A wide picture is whole, between bars of black.
    assert views[0, :, :1].abs().max() < 0.05
    assert views[0, :, 8].abs().min() > 0.01
    torch.testing.assert_close(views[2], views[0].flip(-1))
    torch.testing.assert_close(views[1, 0], views[1, 1])


def test_schedules_follow_progress() -> None:
    options = GuidanceOptions.make(cut_overview="[4]*400+[1]*600", cut_innercut="0:(0), 100:(8)", skip_augs=True)
    cutter = DiscoCutouts(8, options)
    counts = [len(cutter(PICTURES[:1], at)) for at in (0.0, 0.399, 0.4, 1.0)]
    assert counts == [4, 4 + 3, 1 + 3, 1 + 8]


def test_power_makes_crops_smaller() -> None:
    sides = [
        inner_boxes(200, 64, 64, 8, power, torch.Generator().manual_seed(0))[:, 2].float().mean()
        for power in (0.2, 1.0, 5.0)
    ]
    assert sides[0] > sides[1] > sides[2]


def test_no_cutouts_is_an_error() -> None:
    cutter = DiscoCutouts(8, GuidanceOptions.make(cut_overview="0", cut_innercut="0"))
    with pytest.raises(BadInput, match="at least one cutout"):
        cutter(PICTURES)


def test_paper_goes_on_beyond_the_picture() -> None:
    """However a picture on white is turned, shifted and tilted, no black comes in, and colours stay."""
    picture = torch.ones(1, 3, 24, 40)
    picture[..., 8:16, 12:28] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    cuts = PaperCutouts(16, GuidanceOptions.make(cutn=32))(picture, 0.0, picture_generators([0]))
    assert cuts[:, 0].min() > 0.85
    assert (cuts[:, 1].amin((1, 2)) < 0.6).all()


def test_paper_squeezes_nothing() -> None:
    wide = torch.ones(1, 3, 16, 64)
    wide[..., 4:12, 28:36] = 0
    (cut,) = PaperCutouts(64, GuidanceOptions.make(cutn=9, skip_augs=True))(wide)
    dark = (cut[0] < 0.5).nonzero()
    assert (dark.amax(0) - dark.amin(0)).tolist() == [7, 7]


def test_pixels_are_averaged_in_more_than_one_way() -> None:
    """Neighbours that one look always sees together would get the same gradient, and show as blocks."""
    picture = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    cuts = PaperCutouts(8, GuidanceOptions.make(cutn=64))(picture, 0.0, picture_generators([0]))
    (grad,) = torch.autograd.grad((cuts * torch.linspace(0, 1, 8)).sum(), picture)
    steps = grad[0, 0, 12:20].diff(dim=-1)[:, 10:22].abs().mean(0)
    assert steps.min() > 0.1 * steps.max()
