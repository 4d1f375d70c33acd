"""Warm places are bright, cold ones dark, and the scale has the numbers."""

from __future__ import annotations

import numpy as np

from lienzo.imaging.heat import STRIP, heat_colours, heat_overlay

WHITE = np.full((20, 40, 3), 255, np.uint8)


def test_colours_grow_brighter() -> None:
    colours = heat_colours(np.linspace(0, 1, 101)).astype(float) @ (0.3, 0.59, 0.11)
    assert (np.diff(colours) > 0).all()
    assert np.array_equal(heat_colours(np.array([-1.0, np.nan, 2.0])), heat_colours(np.array([0.0, 0.0, 1.0])))


def test_the_warm_half_is_brighter() -> None:
    heat = np.zeros((4, 8))
    heat[:, :4], heat[:, 4:] = 2, -5
    found = heat_overlay(WHITE, heat, side=80)
    assert found.shape == (40 + STRIP, 80, 3)
    assert found[:40, :30].mean() > found[:40, 50:].mean() + 60
    half = heat_overlay(WHITE, heat, largest=4, side=80)
    assert found[:40, 50:].mean() < half[:40, :30].mean() < found[:40, :30].mean()
    assert not np.array_equal(half[40:], found[40:])


def test_a_map_of_nothing() -> None:
    cold = heat_overlay(WHITE, np.zeros((2, 2)), side=40)
    assert cold[:20].std() == 0 or cold[:20].std(axis=(0, 1)).max() == 0
    assert np.array_equal(cold, heat_overlay(WHITE, np.full((2, 2), -1.0), side=40))
