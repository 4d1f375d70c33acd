"""space_timesteps equals guided-diffusion's, for the respacings that it allows and those that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lienzo.core.errors import BadInput
from lienzo.diffusion.respacing import space_timesteps


@pytest.mark.golden("guided_respacing*.json")
def test_timesteps(golden_path: Path) -> None:
    for case in json.loads(golden_path.read_text())["cases"]:
        n, spec = case["num_timesteps"], case["section_counts"]
        assert space_timesteps(n, spec) == case["steps"], f"{n} by {spec}"


@pytest.mark.golden("guided_respacing*.json")
def test_impossible_respacings(golden_path: Path) -> None:
    for case in json.loads(golden_path.read_text())["edge"]:
        if "error" not in case:
            assert space_timesteps(case["num_timesteps"], case["section_counts"]) == case["steps"]
            continue
        with pytest.raises(BadInput):
            space_timesteps(case["num_timesteps"], case["section_counts"])
