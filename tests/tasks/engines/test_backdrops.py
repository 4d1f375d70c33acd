"""Backdrops: every ground and sky that can be told can be painted."""

from __future__ import annotations

import itertools

import pytest

from lienzo.data.told_settings import Setting
from lienzo.tasks.engines.backdrops import GROUNDS, SKIES, backdrop


@pytest.mark.parametrize(
    ("ground", "sky"), list(itertools.product((None, "grass", "snow", "beach", "desert", "sea"), (None, *SKIES)))
)
def test_every_setting_is_painted(ground: str | None, sky: str | None) -> None:
    picture = backdrop(Setting(ground, sky), 64)
    assert picture.shape == (3, 64, 64)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_sky_is_above_and_ground_below() -> None:
    picture = backdrop(Setting("grass"), 64)
    red, green, blue = picture[:, 60, 32].tolist()
    assert green > max(red, blue)
    red, green, blue = picture[:, 3, 32].tolist()
    assert blue > max(red, green)
    dark = backdrop(Setting("grass", "night"), 64)
    assert float(dark[:, 60, 32].mean()) < 0.8 * float(picture[:, 60, 32].mean())
    assert set(GROUNDS) >= {"grass", "snow", "beach", "desert", "sea"}


def test_a_size_is_only_a_size() -> None:
    small, large = (backdrop(Setting("beach", "sunset"), size) for size in (64, 128))
    pooled = large.unflatten(1, (64, 2)).unflatten(3, (64, 2)).mean((2, 4))
    assert float((pooled - small).abs().mean()) < 0.01
