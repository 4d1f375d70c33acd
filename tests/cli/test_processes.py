"""The program as a process: interrupted, cut off from its reader, and as a module."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lienzo import __version__
from lienzo.imaging.reading import load_picture

LIENZO = [sys.executable, "-m", "lienzo"]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(
        [*LIENZO, *arguments], env=environment, text=True, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore it
        **{"stdout": subprocess.PIPE, **options},
    )  # fmt: skip


def test_module() -> None:
    process = start("--version")
    assert process.communicate(timeout=60) == (f"{__version__}\n", "")
    assert process.returncode == 0


def test_ctrl_c_while_painting() -> None:
    """Interrupted in the middle: 130, one word, whole pictures only, the preview gone."""
    process = start("create", "a fox", "--n", "200", "--steps", "30", "--size", "64", "--seed", "1", "--previews", "1",
                    "--out", "fox.png", "--json")  # fmt: skip
    deadline = time.monotonic() + 120
    while not (Path("fox-0.png").exists() and Path("fox.preview.png").exists()) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Cancelled.\n")
    left = sorted(os.listdir())
    assert "fox-0.png" in left
    assert len(left) < 200
    assert all(name.startswith("fox-") and name.endswith(".png") for name in left), left
    assert all(load_picture(name).shape == (64, 64, 3) for name in left)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["create", "--help"], ["models", "list"], ["models", "list", "--json"]]
)
def test_a_reader_that_goes_away(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(*arguments, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1


def test_no_standard_streams_at_all() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&- 2>&-', "sh", *LIENZO, "models", "list", "--quiet"], env=os.environ, timeout=60
    )
    assert done.returncode == 0
