"""Things that touch do so where their outlines say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.data.told_scenes import Apart, Part, Thing, Touching
from lienzo.tasks.engines.arranging import Frame, arranged
from lienzo.tasks.engines.cutouts import Cutout
from lienzo.tasks.engines.outlines import head_of, rim_of, roomy_below, top_of

SIZE = 100


def shape(*blocks: tuple[int, int, int, int]) -> Tensor:
    """A mask (100, 100) of blocks (left, top, right, bottom)."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for left, top, right, bottom in blocks:
        mask[top:bottom, left:right] = True
    return mask


FACE = shape((0, 20, 100, 100), (0, 0, 20, 20), (80, 0, 100, 20))  # two ears above
CAT = shape(
    (20, 40, 95, 70), (0, 15, 35, 45), (22, 70, 32, 100), (80, 70, 90, 100), (92, 0, 97, 60)
)  # its tail is highest
TABLE = shape((0, 30, 100, 40), (0, 40, 10, 100), (90, 40, 100, 100))
BASKET = shape((0, 50, 100, 100), (10, 0, 14, 50), (86, 0, 90, 50), (10, 0, 90, 4))


def cutout(mask: Tensor) -> Cutout:
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    layer = mask[top:bottom, left:right].float().expand(4, -1, -1)
    return Cutout(layer, (left / SIZE, top / SIZE, (right - left) / SIZE, (bottom - top) / SIZE))


def frames(layout: Part, *masks: Tensor) -> tuple[list[Frame], list[int]]:
    """Where each thing is, and the order from back to front."""
    sprites = arranged(layout, [cutout(mask) for mask in masks]).sprites
    return [sprite.frame for sprite in sorted(sprites, key=lambda own: own.thing)], [own.thing for own in sprites]


def worn(what: str, wearer: Tensor, mask: Tensor) -> tuple[list[Frame], list[int]]:
    return frames(Touching("wearing", Thing("a cat"), Thing(what)), wearer, mask)


def test_heads() -> None:
    left, top, width, _ = head_of(FACE)
    assert (left, width) == (0, 1)
    assert top == pytest.approx(0.2, abs=0.02), "between the ears"
    left, top, width, _ = head_of(CAT)
    assert left + width / 2 == pytest.approx(0.18, abs=0.05), "not at the tail"
    assert top == pytest.approx(0.15, abs=0.04)


def test_tops_rims_and_rooms() -> None:
    assert top_of(TABLE) == pytest.approx(0.3, abs=0.02)
    assert rim_of(BASKET) == pytest.approx(0.5, abs=0.02), "below the handle"
    assert roomy_below(TABLE)
    assert not roomy_below(FACE)


def test_a_hat_sits_between_the_ears_and_before_the_head() -> None:
    hat = shape((0, 30, 100, 90))
    ((fx, fy, fw, fh), (hx, hy, hw, hh)), order = worn("a hat", FACE, hat)
    assert order == [0, 1]
    assert hx + hw / 2 == pytest.approx(fx + fw / 2, abs=0.01)
    brim = (hy + hh - fy) / fh
    assert 0.2 < brim < 0.45, "on the brow: neither in the air nor over the eyes"
    assert hy < fy


def test_a_figure_wears_a_hat_on_its_head() -> None:
    ((cx, cy, cw, ch), (hx, hy, hw, hh)), _ = worn("a hat", CAT, shape((0, 30, 100, 90)))
    assert hx + hw / 2 < cx + 0.35 * cw
    assert cy < hy + hh < cy + 0.4 * ch
    assert hw < 0.4 * cw


def test_glasses_scarf_and_dress_have_their_places() -> None:
    flat, long = shape((0, 40, 100, 70)), shape((20, 0, 80, 100))
    (face, glasses), _ = worn("glasses", FACE, flat)
    middle = (glasses[1] + glasses[3] / 2 - face[1]) / face[3]
    assert 0.45 < middle < 0.7
    (face, scarf), _ = worn("a scarf", FACE, long)
    assert face[1] + 0.7 * face[3] < scarf[1] < face[1] + face[3] < scarf[1] + scarf[3]
    (face, dress), order = worn("a dress", FACE, long)
    assert order == [1, 0], "the head stands before the dress"
    assert face[1] + 0.8 * face[3] < dress[1] < face[1] + face[3]


def test_on_a_table_is_on_its_top_and_under_it_between_its_legs() -> None:
    layout = Touching("on", Thing("a cat"), Thing("a table"))
    (cat, table), order = frames(layout, CAT, TABLE)
    assert order == [1, 0]
    assert cat[1] + cat[3] == pytest.approx(table[1] + 0.07 * table[3], abs=0.04)
    (cat, table), _ = frames(Touching("under", Thing("a cat"), Thing("a table")), CAT, TABLE)
    assert cat[1] + cat[3] == pytest.approx(table[1] + table[3], abs=0.02)
    assert cat[2] < 0.8 * table[2]


def test_in_a_basket_it_looks_out_and_in_a_cage_it_is_all_in_sight() -> None:
    (cat, basket), order = frames(Touching("into", Thing("a cat"), Thing("a basket")), FACE, BASKET)
    assert order == [0, 1], "the basket hides its lower part"
    rim = basket[1] + basket[3] / 2
    assert cat[1] < rim < cat[1] + cat[3]
    (bird, cage), order = frames(Touching("in", Thing("a bird"), Thing("a cage")), FACE, BASKET)
    assert order == [1, 0]
    assert cage[0] < bird[0] and bird[0] + bird[2] < cage[0] + cage[2]  # noqa: PT018


def test_before_behind_and_holding() -> None:
    (cat, house), order = frames(Touching("before", Thing("a cat"), Thing("a house")), CAT, FACE)
    assert order == [1, 0]
    assert cat[2] < house[2]
    assert cat[1] + cat[3] > house[1] + house[3], "nearer is lower"
    (cat, house), order = frames(Touching("behind", Thing("a cat"), Thing("a house")), CAT, FACE)
    assert order == [0, 1]
    assert house[0] < cat[0] < house[0] + house[2] < cat[0] + cat[2], "half of it is seen"
    (bear, ball), order = frames(Touching("holding", Thing("a bear"), Thing("a ball")), FACE, FACE)
    assert order == [0, 1]
    assert bear[0] + bear[2] / 2 < ball[0] < bear[0] + bear[2], "it touches"


def test_whatever_is_told_stays_on_the_sheet() -> None:
    dressed = Touching("wearing", Thing("a cat"), Thing("hat"))
    layout = Apart((dressed, Touching("on", Thing("a cat"), Thing("a table"))), ((0.0, 0.24, 0.52), (0.48, 0.24, 0.52)))
    (cat, hat, other, table), order = frames(layout, FACE, FACE, CAT, TABLE)
    assert sorted(order) == [0, 1, 2, 3]
    for left, top, width, height in (cat, hat, other, table):
        assert left >= -1e-6 and left + width <= 1 + 1e-6  # noqa: PT018
        assert top >= -1e-6 and top + height <= 1 + 1e-6  # noqa: PT018
    assert cat[0] + cat[2] < table[0]
