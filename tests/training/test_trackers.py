"""Figures and samples reach TensorBoard and Weights & Biases, offline; a tracker that is missing is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lines import BASE, Line
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.training import trackers
from lienzo.training.loop import fit
from lienzo.training.plan import Training


class Drawing(Line):
    """A line with a sample picture."""

    def samples(self, model: nn.Module) -> np.ndarray:
        return np.full((8, 12, 3), 200, np.uint8)


def train(folder: Path, tracker: str) -> None:
    list(fit(Drawing(), Training(**BASE | {"images": 400, "trackers": (tracker,)}), folder))


def test_tensorboard_gets_figures_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed (extra track)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, "tensorboard")
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert {"mse", "learning_rate", "images_per_second", "slope"} <= set(read.Tags()["scalars"])
    assert read.Scalars("slope")[-1].step == 400
    assert (read.Images("samples")[0].width, read.Images("samples")[0].height) == (12, 8)


def test_weights_and_biases_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is not installed (extra track)")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train(tmp_path, "wandb")
    runs = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 1
    assert runs[0].stat().st_size > 1000  # a binary log whose strings may be cut by its blocks
    assert len(list(runs[0].parent.glob("files/media/images/samples_*.png"))) == 1


def test_a_missing_tracker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(
        BadInput, match=r"'tensorboard' is not installed; install it with: pip install 'lienzo\[track\]'"
    ):
        train(tmp_path / "run", "tensorboard")
    assert not (tmp_path / "run").exists()
