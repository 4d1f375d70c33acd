"""The example runs with the models that come with Lienzo and finds what it drew."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from lienzo.imaging.reading import load_picture

EXAMPLE = Path(__file__).parents[2] / "examples" / "clip_in_ten_lines.py"


def test_captions_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE))["main"](tmp_path, count=40)  # apples, cars, cats and fish
    lines = capsys.readouterr().out.splitlines()
    shares = {line.split(":")[0]: float(line.split(": ")[1].rstrip("%")) for line in lines[:3]}
    assert max(shares, key=lambda caption: shares[caption]) == "a red apple"
    assert sum(shares.values()) == pytest.approx(100, abs=0.2)
    best = lines[3].removeprefix("'a blue fish' fits best the picture that was drawn for ")
    assert best in [f"'a blue {thing}'." for thing in ("apple", "car", "cat", "fish")]
    assert load_picture(tmp_path / "answer.png").shape[1] > 5 * 64
