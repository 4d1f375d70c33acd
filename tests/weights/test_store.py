"""The store: a run's folder stands for the model that it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from lienzo.core.errors import BadInput
from lienzo.weights.store import RUN_MODEL, resolve


def test_a_run_folder_is_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs" / "paintings"
    run.mkdir(parents=True)
    (run / RUN_MODEL).write_bytes(b"x")
    assert resolve(run) == run / RUN_MODEL
    monkeypatch.chdir(tmp_path)
    assert resolve("runs/paintings").resolve() == run / RUN_MODEL
    assert resolve("runs/paintings/").resolve() == run / RUN_MODEL
    assert resolve(run / RUN_MODEL) == run / RUN_MODEL
    monkeypatch.chdir(run.parent)
    assert resolve("paintings").resolve() == run / RUN_MODEL


def test_a_folder_without_a_model_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a folder without model\.safetensors; give a file in it"):
        resolve(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        resolve(tmp_path / "nothing")
