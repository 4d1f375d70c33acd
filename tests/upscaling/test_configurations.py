"""The table of public SwinIR networks."""

from __future__ import annotations

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.upscaling.configurations import SIZES, TASKS, configuration, task_of
from lienzo.upscaling.swinir import SwinIR


@pytest.mark.parametrize("task", TASKS)
def test_every_task_builds_at_every_scale(task: str) -> None:
    for scale in TASKS[task].scales:
        with torch.device("meta"):
            model = SwinIR(**configuration(task, scale=scale, size="S"))
        assert model.scale == scale
        assert task_of(model.config) == task
    assert configuration(task)["upscale"] in (1, 4)


def test_every_size_builds() -> None:
    """12 and 28 million weights are what the paper says of M and L."""
    with torch.device("meta"):
        models = {size: SwinIR(**configuration("real_sr", size=size)) for size in SIZES}
    counts = {size: round(sum(p.numel() for p in m.parameters()) / 1e6) for size, m in models.items()}
    assert counts == {"S": 1, "M": 12, "L": 28}


def test_parameter_counts_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        models = [SwinIR(**configuration("lightweight_sr", scale=scale)) for scale in (2, 3, 4)]
    counts = [sum(p.numel() for k, p in m.named_parameters() if "position" not in k) for m in models]
    assert [round(count / 1e3) for count in counts] == [878, 886, 897]


def test_a_configuration_may_be_changed_freely() -> None:
    configuration("real_sr")["depths"].append(9)
    assert len(configuration("real_sr")["depths"]) == 6


@pytest.mark.parametrize(
    ("task", "options", "sentence"),
    [
        ("inpaint", {}, "no SwinIR task 'inpaint'"),
        ("real_sr", {"scale": 3}, "scales 2, 4, not 3"),
        ("real_sr", {"size": "XL"}, "no SwinIR size 'XL'"),
    ],
)
def test_bad_choices_get_one_sentence(task: str, options: dict, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        configuration(task, **options)
