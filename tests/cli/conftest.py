"""Every command runs with tiny models of random weights in a home of its own, whatever is bundled."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_tiny_models


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LIENZO_HOME that holds the tiny set."""
    return save_tiny_models(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with the tiny set at hand; returns the home."""
    monkeypatch.setenv("LIENZO_HOME", str(tiny_home))
    monkeypatch.chdir(tmp_path)
    return tiny_home
