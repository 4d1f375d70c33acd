"""Drawings are cut out of their paper; white inside them stays."""

from __future__ import annotations

import torch
from torch import Tensor

from lienzo.tasks.engines.cutouts import cut_out, outside

SIZE = 128


def disc(radius: float, x: float = 64.0, y: float = 64.0) -> Tensor:
    """Cover of a disc with a soft edge, (128, 128)."""
    rows, columns = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    return (radius + 0.5 - ((columns - x) ** 2 + (rows - y) ** 2).sqrt()).clamp(0, 1)


def on_paper(cover: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """A picture (3, 128, 128) in [-1, 1] of a colour on white."""
    return (1 - cover * (1 - torch.tensor(colour).view(3, 1, 1))) * 2 - 1


def test_paper_goes_and_the_white_of_an_eye_stays() -> None:
    face = disc(40)
    eye = disc(8)
    picture = torch.lerp(on_paper(face, (0.8, 0.4, 0.1)), torch.ones(3, SIZE, SIZE), eye)
    cut = cut_out(picture)
    whole = torch.zeros(SIZE, SIZE)
    left, top, width, height = (round(side * SIZE) for side in cut.box)
    whole[top : top + height, left : left + width] = cut.opacity
    assert whole[64, 64] == 1, "the eye"
    assert whole[:20].max() == 0
    assert abs(float(whole.sum() / face.sum()) - 1) < 0.03
    assert left in (23, 24)
    assert width in (80, 81, 82)


def test_no_white_rim_shows_on_black() -> None:
    cut = cut_out(on_paper(disc(40), (0.9, 0.1, 0.1)))
    on_black = cut.layer[:3]
    assert float(on_black[1].max()) < 0.2, "white in the rim would show as green and blue"
    assert 0.05 < float(((cut.opacity > 0.05) & (cut.opacity < 0.95)).float().sum() / 250) < 2, "the edge is soft"


def test_a_white_body_with_a_gap_in_its_outline_stays_and_a_gap_between_legs_goes() -> None:
    ring = disc(40) - disc(37)
    ring[62:65, 90:] = 0  # a gap of three pixels
    body = cut_out(on_paper(ring, (0.2, 0.2, 0.2)))
    assert body.opacity[40, 40] == 1
    legs = torch.zeros(SIZE, SIZE)
    legs[30:60, 30:100] = 1
    legs[60:100, 50:60] = legs[60:100, 66:76] = 1
    cut = cut_out(on_paper(legs, (0.2, 0.2, 0.2)))
    top, left = round(cut.box[1] * SIZE), round(cut.box[0] * SIZE)
    assert cut.opacity[80 - top, 63 - left] < 0.5


def seen(picture: Tensor, behind: float) -> Tensor:
    """A cut-out (3, 128, 128) where it was on its sheet, before a grey."""
    cut = cut_out(picture)
    left, top, width, height = (round(side * SIZE) for side in cut.box)
    whole = torch.full((3, SIZE, SIZE), behind)
    part = whole[:, top : top + height, left : left + width]
    part.copy_(cut.layer[:3] + part * (1 - cut.opacity))
    return whole


def test_grain_of_the_paper_keeps_no_paper_between_things() -> None:
    cover = torch.zeros(SIZE, SIZE)
    cover[20:40, 20:108] = cover[60:80, 20:100] = cover[20:110, 102:108] = 1
    grain = 0.06 * torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    picture = on_paper(cover, (0.2, 0.3, 0.8)) - 2 * 0.06 * (grain > 0.03) * (1 - cover)
    assert float(seen(picture, 0.0)[:, 44:56, 30:90].mean()) < 0.1


def test_a_smear_about_a_thing_is_seen_through_and_a_pale_thing_is_not() -> None:
    thing = disc(30)
    smeared = on_paper(thing, (0.1, 0.4, 0.1)) - 0.16 * (disc(36) - thing)
    assert float(seen(smeared, 0.0)[:, 64, 97:99].max()) < 0.55
    assert float(cut_out(on_paper(disc(40), (0.93, 0.93, 0.93))).opacity[40, 40]) == 1


def test_a_pale_edge_is_soft() -> None:
    scraps = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(1)) > 0.5
    ragged = torch.maximum(disc(38), disc(42) * scraps)
    opacity = cut_out(on_paper(ragged, (0.9, 0.9, 0.9))).opacity
    steps = torch.cat([opacity.diff(dim=0).abs().flatten(), opacity.diff(dim=1).abs().flatten()])
    assert float((steps > 0.7).float().sum()) < 20


def test_what_has_clear_ink_on_three_sides_is_no_smear() -> None:
    masts = torch.zeros(SIZE, SIZE)
    masts[20:100, 40:46] = masts[20:100, 60:66] = masts[94:112, 10:118] = 1
    picture = on_paper(masts, (0.1, 0.1, 0.3))
    picture[:, 30:94, 46:60] -= 2 * 0.08
    assert float(seen(picture, 0.0)[:, 40:90, 50:56].min()) > 0.85, "the sail"


def test_specks_are_left_behind() -> None:
    cover = disc(20)
    cover[5:7, 5:7] = 1
    assert cut_out(on_paper(cover, (0.2, 0.2, 0.9))).box[0] > 0.3


def test_an_empty_sheet_is_no_error() -> None:
    assert float(cut_out(torch.ones(3, SIZE, SIZE)).opacity.max()) == 0


def test_outside_does_not_slip_through_corners() -> None:
    ink = torch.zeros(9, 9, dtype=torch.bool)
    for i in range(5):
        for x, y in ((4 - i, i), (4 + i, i), (4 - i, 8 - i), (4 + i, 8 - i)):
            ink[y, x] = True
    found = outside(ink)
    assert found[0, 0]
    assert not found[4, 4]
