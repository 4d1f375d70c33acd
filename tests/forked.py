"""Processes of their own that begin with torch imported: forked from a server that has done so once.

Each is as new as one started from the command line (nothing that a test or an earlier process left is in it) and can be
killed like one, but saves the five seconds of importing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

IMPORTED = [
    "lienzo.cli.main", "lienzo.tasks.train.outcome", "lienzo.training.loop",
    "torch._dynamo",  # by the first optimiser
    "pytest",  # by every child whose parent began as bin/pytest
]  # fmt: skip


def start(call: Callable[..., object], *given: Any, **environment: str) -> BaseProcess:
    """Call a function that can be imported, in a new process in this folder, with more environment variables."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(IMPORTED)
    process = server.Process(target=_work, args=(call, given, os.getcwd(), dict(os.environ) | environment), daemon=True)
    process.start()
    return process


def _work(call: Callable[..., object], given: tuple[Any, ...], folder: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    call(*given)


def kill_once_there(process: BaseProcess, path: Path, seconds: float = 120) -> None:
    """SIGKILL as soon as a file is there, while the process still works."""
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        assert process.is_alive()
        time.sleep(0.002)
    process.kill()
    assert status(process) == -signal.SIGKILL


def status(process: BaseProcess, seconds: float = 240) -> int | None:
    """Wait for the end; the exit status, or minus the signal that ended it."""
    process.join(seconds)
    return process.exitcode
