"""Events become JSON, and sub-generators pass theirs on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lienzo.core.events import (
    Checkpoint,
    Event,
    Metric,
    Note,
    Picture,
    Preview,
    Progress,
    Table,
    to_json,
)

IMAGE = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Progress("paint", 1, 4, 2.0),
            {"event": "progress", "stage": "paint", "done": 1, "total": 4, "seconds": 2.0, "unit": "step"},
        ),
        (Preview(0, 3, IMAGE), {"event": "preview", "index": 0, "step": 3}),
        (
            Picture(0, 7, IMAGE, "a.png", {"clip": 0.5}, {"options": {"size": 16, "clip": ["guide"]}}),
            {
                "event": "picture", "index": 0, "seed": 7, "path": "a.png", "scores": {"clip": 0.5},
                "recipe": {"options": {"size": 16, "clip": ["guide"]}},
            },
        ),
        (Metric("psnr", 30.0, "rgb"), {"event": "metric", "name": "psnr", "value": 30.0, "protocol": "rgb",
                                       "images_seen": None, "interval": None}),
        (Checkpoint("x", 9), {"event": "checkpoint", "path": "x", "images_seen": 9}),
        (Note("hi"), {"event": "note", "text": "hi", "level": "info"}),
        (Table("t", ("a",), (("1",),)), {"event": "table", "title": "t", "columns": ["a"], "rows": [["1"]]}),
    ],
)  # fmt: skip
def test_every_event_as_json(event: Event, expected: dict[str, object]) -> None:
    assert json.loads(json.dumps(to_json(event), allow_nan=False)) == expected


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_json_cannot_say_is_null(number: float) -> None:
    events = [Metric("psnr", number), Picture(0, 0, IMAGE, scores={"clip": number}, recipe={"a": [number]})]
    said = [json.loads(json.dumps(to_json(event), allow_nan=False)) for event in events]
    assert said[0]["value"] is None
    assert said[1]["scores"] == {"clip": None}
    assert said[1]["recipe"] == {"a": [None]}


def test_time_left() -> None:
    assert Progress("x", 0, 4).eta == 0
    half = Progress("x", 2, 4, 10.0)
    assert (half.seconds_per_unit, half.eta) == (5.0, 10.0)


def test_events_do_not_print_their_pixels() -> None:
    assert "array" not in repr(Picture(0, 0, IMAGE)) + repr(Preview(0, 0, IMAGE))
