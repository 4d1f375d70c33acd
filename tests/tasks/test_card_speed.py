from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.events import Progress
from lienzo.tasks.card_speed import Job, Timing, measure, place_of, scores_of, time_model

ADM = Job("adm-64", "cpu", 1, "", 0, 2, steps=3, batches=(1, 4))


def finished(generator):
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as stop:
            return events, stop.value


def test_a_fresh_process_tells_times_memory_and_evaluations():
    ballast = np.ones(75_000_000)  # 600 MB of this process, which are none of the child's
    events, timing = finished(time_model(ADM, "adm"))
    assert sorted(timing.seconds) == [1, 4]
    assert all(len(times) == 2 and min(times) > 0 for times in timing.seconds.values())
    assert timing.evaluations == 3
    assert [event.done for event in events if isinstance(event, Progress)][-1] == 6
    if sys.platform.startswith("linux"):
        assert 50e6 < timing.peak[1] <= timing.peak[4] < 500e6 + 0 * ballast[0]


def test_what_does_not_draw_is_told_in_its_own_sentence():
    with pytest.raises(BadInput, match="does not paint"):
        finished(time_model(replace(ADM, model="guide"), "guide"))


def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(LienzoError, match="timed 'adm' failed"):
        finished(time_model(ADM, "adm"))


def test_closing_ends_the_process(monkeypatch: pytest.MonkeyPatch):
    import subprocess

    started = []
    real = subprocess.Popen

    def remember(*args, **kwargs):
        started.append(real(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    events = time_model(replace(ADM, repeats=100_000), "adm")
    next(events)
    assert started[0].poll() is None
    events.close()
    assert started[0].poll() is not None


def test_the_measurement_itself_warms_up_and_counts():
    told = []
    measure(replace(ADM, batches=(2,), repeats=3, threads=torch.get_num_threads()), told.append)
    assert [message["kind"] for message in told if message["kind"] in ("warm", "timed")] == ["warm"] + ["timed"] * 3
    assert told[-1]["evaluations"] == 3
    assert told[-1]["parameters"] > 1000


def test_times_are_medians_with_their_range_under_the_machine_and_threads():
    timing = Timing({1: [0.3, 0.1, 0.2]}, {1: 5_000_000}, 12.0, 77)
    place = place_of(torch.device("cpu"))
    scores = {score.name: score for score in scores_of(timing, ADM, place, 2_500_000)}
    assert scores["seconds_1"].value == 0.2
    assert scores["seconds_1"].interval == (0.1, 0.3)
    assert scores["seconds_1"].protocol["threads"] == str(torch.get_num_threads())
    assert scores["seconds_1"].protocol["machine"]
    assert scores["peak_mb_1"].value == 5
    assert scores["file_mb"].value == 2.5
    assert (scores["evaluations"].value, scores["parameters"].value) == (12, 77)
