"""The loop learns, and a run killed at any moment ends with the weights of an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from lienzo.core.events import Checkpoint, Metric, Progress
from lienzo.training.checkpoints import load_checkpoint
from lienzo.training.loop import fit, rate_at
from lienzo.training.recipe import Training

PLAN = Training(images=4000, warmup=200, learning_rate=5e-2, save_seconds=1e-3, ema_half_life=500, seed=3)


class Line:
    """Fits y = 2 x + 1 by a linear layer: the smallest recipe."""

    name = "line"
    batch_size = 20

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batch(self, images_seen: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        x = torch.randn(self.batch_size, 1, generator=generator)
        return {"x": x, "y": 2 * x + 1}

    def step(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        noise = 0.01 * torch.randn_like(batch["x"])
        return {"mse": ((model(batch["x"] + noise) - batch["y"]) ** 2).mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"slope": model.weight.item()}

    def samples(self, model: nn.Module) -> None:
        return None


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_checkpoint(folder / "checkpoints")
    assert found is not None
    return found[0]


def newest(folder: Path) -> int:
    """Images seen by the newest checkpoint, 0 before the first."""
    names = sorted(path.stem for path in (folder / "checkpoints").glob("state_*"))
    return int(names[-1].removeprefix("state_")) if names else 0


def test_learns_and_reports(tmp_path: Path) -> None:
    events = list(fit(Line(), PLAN, tmp_path))
    assert isinstance(events[0], Progress)
    slope = [e.value for e in events if isinstance(e, Metric) and e.name == "slope"]
    assert abs(slope[-1] - 2) < 0.05
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") >= 1
    assert len(list((tmp_path / "checkpoints").glob("state_*"))) <= 2


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    list(fit(Line(), PLAN, tmp_path / "whole"))
    run = fit(Line(), PLAN, tmp_path / "cut")
    seen = 0
    for event in run:
        seen += isinstance(event, Checkpoint)
        if seen == 37:
            run.close()
            break
    list(fit(Line(), PLAN, tmp_path / "cut"))
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_killed_run_resumes_equal(tmp_path: Path) -> None:
    """SIGKILL at arbitrary moments, also while a checkpoint is being written, then the same command again."""
    list(fit(Line(), PLAN, tmp_path / "whole"))
    command = [sys.executable, __file__, str(tmp_path / "killed")]
    for target in (400, 1200):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while newest(tmp_path / "killed") < target and process.poll() is None:
            time.sleep(random.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert target <= newest(tmp_path / "killed") < PLAN.images
    subprocess.run([*command, "finish"], check=True)
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


def test_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    list(fit(Line(), PLAN, tmp_path))
    newest = sorted((tmp_path / "checkpoints").glob("state_*"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert load_checkpoint(tmp_path / "checkpoints") is not None


def test_rate_rises_and_falls() -> None:
    plan = Training(images=1000, warmup=100, fall=0.5, learning_rate=1.0)
    assert rate_at(0, plan) < 0.02
    assert rate_at(300, plan) == 1.0
    assert abs(rate_at(750, plan) - 0.5) < 1e-9


if __name__ == "__main__":
    for _ in fit(Line(), PLAN, Path(sys.argv[1])):
        if len(sys.argv) < 3:
            time.sleep(0.005)  # long enough that the kill lands inside the run
