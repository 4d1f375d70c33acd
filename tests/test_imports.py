"""`import lienzo` and the command line's help are light: no torch, no socket."""

from __future__ import annotations

import subprocess
import sys

import pytest

GUARD = """
import socket, sys
def refuse(*a, **k):
    raise SystemExit("opened a socket")
socket.socket = refuse
socket.create_connection = refuse
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", GUARD + code], capture_output=True, text=True, timeout=60)


def test_import_is_light() -> None:
    done = run("import lienzo\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["create", "--help"], ["models"], ["train", "bundled", "--help"]])
def test_help_needs_no_torch_and_no_socket(arguments: list[str]) -> None:
    code = f"""
from lienzo.cli.main import main
try:
    main({arguments!r})
except SystemExit as leaving:
    assert leaving.code in (0, None), leaving.code
assert "torch" not in sys.modules
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert "lienzo" in done.stdout.lower()
