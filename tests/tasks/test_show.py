"""`show` tells what a picture carries, and nothing of it can move the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Table
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.imaging.writing import save_picture
from lienzo.tasks.show import Show, run

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def show(name: str) -> dict[str, str]:
    (event,) = run(Show.make(picture=Path(name)))
    assert isinstance(event, Table)
    return dict(event.rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_everything_is_shown(suffix: str) -> None:
    prompt = "a long story " * 100
    save_picture(IMAGE, f"a{suffix}", metadata={"prompt": prompt, "seed": 7, "options": {"size": 16, "style": None}})
    rows = show(f"a{suffix}")
    assert rows["prompt"] == prompt
    assert (rows["seed"], rows["options.size"]) == ("7", "16")
    assert "options.style" not in rows


def test_foreign_parameters_are_read() -> None:
    info = PngInfo()
    info.add_text("parameters", "a fox\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 64x64")
    Image.fromarray(IMAGE).save("a.png", pnginfo=info)
    rows = show("a.png")
    assert (rows["prompt"], rows["negative_prompt"], rows["sampler"]) == ("a fox", "fog", "Euler a")


def test_control_characters_are_gone() -> None:
    save_picture(IMAGE, "a.png", metadata={"prompt": "a\x1b[31m\x9b2J\u202efox\r\nend", "\x1b[2Jkey": "x"})
    rows = show("a.png")
    assert rows["prompt"] == "a[31m2Jfox  end"


def test_a_picture_without_a_recipe() -> None:
    save_picture(IMAGE, "a.png")
    (note,) = run(Show.make(picture=Path("a.png")))
    assert note == Note("a.png carries no recipe.", "warning")
    with pytest.raises(BadInput, match="does not exist"):
        list(run(Show.make(picture=Path("b.png"))))


def test_strip_writes_a_copy_without() -> None:
    save_picture(IMAGE, "a.png", metadata={"prompt": "secret"})
    list(run(Show.make(picture=Path("a.png"), strip=Path("b.png"))))
    assert read_recipe("b.png") is None
    assert b"secret" not in Path("b.png").read_bytes()
    assert np.array_equal(load_picture("b.png"), IMAGE)
    assert read_recipe("a.png") is not None
    with pytest.raises(BadInput, match="exists already"):
        list(run(Show.make(picture=Path("a.png"), strip=Path("b.png"))))
