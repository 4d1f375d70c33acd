from __future__ import annotations

import pytest

from lienzo.core.errors import BadInput
from lienzo.guidance.cutouts import CUTOUTS
from lienzo.guidance.distances import DISTANCES
from lienzo.guidance.options import GuidanceOptions


def test_every_field_is_explained() -> None:
    for name, field in GuidanceOptions.model_fields.items():
        assert field.description, name


def test_names_of_options_are_names_of_tables() -> None:
    for name in ("random", "disco", "whole", "paper"):
        assert GuidanceOptions.make(cutouts=name).cutouts in CUTOUTS
    for name in DISTANCES:
        assert GuidanceOptions.make(distance=name).distance == name


@pytest.mark.parametrize(
    "given", [{"cutn": 0}, {"clamp_max": 0}, {"tv_scale": -1}, {"cut_overview": "__import__('os')"}, {"mode": "x"}]
)
def test_bad_values_are_refused(given: dict) -> None:
    with pytest.raises(BadInput):
        GuidanceOptions.make(**given)
