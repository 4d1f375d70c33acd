"""The arithmetic of the benchmark of class diffusion: marks, clocks, and seconds to an equal FID."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor


def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "class_diffusion.py"
    spec = importlib.util.spec_from_file_location("class_diffusion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BENCH = benchmark()


class Fake(BENCH.Side):  # type: ignore[misc, name-defined]
    """A side whose every step takes one second and lowers its FID."""

    def __init__(self, speed: float, end: int = 10**9):
        super().__init__()
        self.steps, self.speed, self.end, self.saved = 0, speed, end, 0

    @property
    def seen(self) -> int:
        return self.steps

    def train(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds)):
            if self.steps < self.end:
                self.steps += 1
                self.wall += 1
                self.processor += 2
        self.done = self.steps >= self.end

    def draw(self, y: Tensor, steps: int) -> Tensor:
        return torch.zeros(len(y), 1, 28, 28)

    def save(self) -> None:
        self.saved += 1


class FakeLook:
    def fid_of(self, side: Any) -> float:
        return 1000 / (side.speed * side.steps)

    def sheet(self, sides: list[Any]) -> Any:
        return torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()


def test_marks_double_to_the_end() -> None:
    assert BENCH.marks(10, 45) == [10, 20, 40, 45]
    assert BENCH.marks(10, 10) == [10]
    assert BENCH.marks(10, 5) == [5]


def test_seconds_to_an_equal_fid() -> None:
    readings = [(10.0, 20.0, 0, 100.0), (40.0, 80.0, 0, 50.0), (160.0, 320.0, 0, 60.0)]
    assert BENCH.seconds_to(readings, 120, 0) == (10, False)
    assert BENCH.seconds_to(readings, 75, 0) == (pytest.approx(20), True)
    assert BENCH.seconds_to(readings, 75, 1) == (pytest.approx(40), True)
    assert BENCH.seconds_to(readings, 50, 0) == (pytest.approx(40), True)
    assert BENCH.seconds_to(readings, 49, 0) == (math.inf, True)


def test_both_train_to_their_marks_and_the_ratio_is_that_of_seconds(tmp_path: Path, capsys: Any) -> None:
    sides = {"lienzo": Fake(8, end=64), "notebook": Fake(1)}
    BENCH.compare(sides, {"lienzo": BENCH.marks(20, 160), "notebook": BENCH.marks(20, 320)}, FakeLook(), tmp_path)
    assert [reading[0] for reading in sides["notebook"].readings] == [20, 40, 80, 160, 320]
    assert [reading[0] for reading in sides["lienzo"].readings] == [20, 40, 64]
    assert (sides["lienzo"].saved, sides["notebook"].saved) == (3, 5)
    assert json.loads((tmp_path / "readings.json").read_text())["notebook"][0] == 320
    assert len(list(tmp_path.glob("sheet_*.png"))) == 5
    assert BENCH.report(sides) == pytest.approx(8, rel=0.2)
    assert "FID" in capsys.readouterr().out


def test_the_sheet_has_a_row_a_class() -> None:
    look = BENCH.Look(None, None, 3, 10, 1)
    sheet = look.sheet([Fake(1), Fake(1)])
    assert sheet.shape == (3 * 28 * 3, (8 + 1 + 8) * 28 * 3, 3)
    assert (look.labels(7) == torch.tensor([0, 1, 2, 0, 1, 2, 0])).all()
