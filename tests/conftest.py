"""Shared test tools: the golden-file folder and one thread a test process, so that timings and sums repeat."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; processes that a test starts inherit it
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent / "training"))
HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        default=str(HERE / "golden"),
        help="folder whose golden files tests/golden checks (default: its own)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(*patterns): run once for each golden file that matches")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test marked `golden("guided_unet_*")` one run for every such file; skip it where there is none."""
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is None:
        return
    folder = Path(metafunc.config.getoption("--golden-dir"))
    files = sorted({path for pattern in marker.args for path in folder.glob(pattern)})
    metafunc.parametrize("golden_path", files, ids=[path.stem for path in files])
