"""`reproduce` says exact, close, or why not; and a recipe from a stranger does no harm."""

from __future__ import annotations

import json
import math
import os
import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny_models import tiny_clip

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.tasks.create import Create
from lienzo.tasks.create import run as run_create
from lienzo.tasks.reproduce import Reproduce, run
from lienzo.weights.models import Card, save_model

FAST: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "size": 48, "steps": 3}


def create(**options: Any) -> None:
    list(run_create(Create.make(**{**FAST, **options})))


def reproduce(name: str = "picture.png", **options: Any) -> tuple[str, float]:
    """The verdict and the PSNR."""
    events: list[Event] = list(run(Reproduce.make(picture=Path(name), **options)))
    note = events[-1]
    assert isinstance(note, Note)
    return note.text, next((e.value for e in events if isinstance(e, Metric)), math.nan)


def forged(recipe: object, name: str = "forged.png") -> str:
    """A picture whose Lienzo record is `recipe`."""
    info = PngInfo()
    info.add_itxt("lienzo", json.dumps(recipe))
    Image.new("RGB", (16, 16)).save(name, pnginfo=info)
    return name


@cache
def made_recipe() -> dict[str, Any]:
    create(out=Path("made.png"))
    recipe = read_recipe("made.png")
    assert recipe is not None
    Path("made.png").unlink()
    return recipe


def good_recipe() -> dict[str, Any]:
    """A recipe that works, to be bent."""
    return deepcopy(made_recipe())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 2, "candidates": 2},
        {"prompt": "una casa, acuarela | niebla:-0.3", "negative": "rojo/and more.blue", "style": None},
        {"model": "adm-64", "clip_guidance": 0.3, "cutn": 4, "clip": ("judge", "guide"), "sampler": "ddim", "eta": 0.5},
        {"refine": False, "upscaler": "none", "size": 16, "guidance": 1.0},
        {"seed": 2**63 - 1, "out": Path("fox.png")},
    ],
)
def test_its_own_pictures_are_exact(options: dict[str, Any]) -> None:
    create(**options)
    name = str(options.get("out", "picture-1.png" if options.get("n") else "picture.png"))
    text, psnr = reproduce(name)
    assert text == "Exact: every pixel is the same."
    assert psnr == math.inf


def test_a_jpeg_is_close() -> None:
    create(out=Path("fox.jpg"), size=96)
    text, psnr = reproduce("fox.jpg")
    assert text.startswith("Close: ")
    assert "compressed with loss" in text
    assert 35 < psnr < 70


def test_a_picture_of_a_batch_is_exact_or_close() -> None:
    create(n=3, batch=3)
    text, psnr = reproduce("picture-1.png")
    assert text.startswith(("Exact", "Close"))
    assert psnr > 45


def test_the_new_picture_can_be_kept() -> None:
    create()
    before = Path("picture.png").read_bytes()
    reproduce(out=Path("again.png"))
    assert np.array_equal(load_picture("again.png"), load_picture("picture.png"))
    assert read_recipe("again.png") == read_recipe("picture.png")
    assert Path("picture.png").read_bytes() == before
    assert set(os.listdir()) == {"picture.png", "again.png"}


def test_a_changed_model_is_the_reason(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(clip_guidance=0.5, cutn=4)
    home = tmp_path / "home"
    shutil.copytree(tiny_home / "models", home / "models")
    monkeypatch.setenv("LIENZO_HOME", str(home))
    assert reproduce()[0] == "Exact: every pixel is the same."
    torch.manual_seed(99)
    model = tiny_clip()
    save_model(home / "models" / "guide.safetensors", "compact-clip", model.config, model.state_dict(),
               Card(title="another", licence="CC0-1.0"))  # fmt: skip
    text, _ = reproduce()
    assert "The file of clip guide is not the one it was made with." in text
    assert "The file of model" not in text
    (home / "models" / "painter.safetensors").unlink()
    shutil.copy(tiny_home / "models" / "painter.safetensors", "elsewhere.safetensors")
    assert "clip guide" in reproduce(model="elsewhere.safetensors")[0]


def test_another_version_is_the_reason() -> None:
    recipe = good_recipe()
    recipe |= {"torch": "1.0", "behaviour": 0, "seed": 8}
    recipe["options"] |= {"seed": 8}
    text, _ = reproduce(forged(recipe))
    assert text.startswith("Not the same: another size.")
    assert "It was made with torch 1.0, this is" in text
    assert "behaviour version 0" in text


def test_inputs_are_asked_for_and_checked() -> None:
    rng = np.random.default_rng(0)
    for name in ("start.png", "other.png", "goal.png"):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(name)
    Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save("mask.png")
    given: dict[str, Any] = {"init": Path("start.png"), "mask": Path("mask.png"), "image_prompt": ("goal.png:0.5",)}
    create(**given, model="adm-64", clip_guidance=0.3, cutn=4)
    for name in given:
        flag = name.replace("_", "-")
        with pytest.raises(BadInput, match=f"made with --{flag}; give the same file"):
            reproduce(**{key: value for key, value in given.items() if key != name})
    assert reproduce(**given)[0].startswith("Exact")
    assert "The init picture is another one." in reproduce(**{**given, "init": Path("other.png")})[0]
    changed = reproduce(**{**given, "image_prompt": ("goal.png:0.7",)})[0]
    assert "The image prompt picture is another one." in changed


def test_pictures_of_others_have_nothing_to_follow() -> None:
    Image.new("RGB", (16, 16)).save("plain.png")
    info = PngInfo()
    info.add_text("parameters", "a fox\nSteps: 20, Sampler: Euler, Seed: 7, Size: 64x64")
    Image.new("RGB", (16, 16)).save("foreign.png", pnginfo=info)
    create(metadata="parameters", out=Path("short.png"))
    for name in ("plain.png", "foreign.png", "short.png"):
        with pytest.raises(BadInput, match="carries no recipe of Lienzo"):
            reproduce(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"options": None}, {"options": []}, {"options": "x"}, {"models": []}, {"models": None}, {"inputs": 5},
        {"inputs": ["init"]}, {"task": "upscale"}, {"task": None}, {"version": 2},
    ],
)  # fmt: skip
def test_broken_recipes_are_told(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"carries no recipe of Lienzo|no recipe"):
        reproduce(forged({**good_recipe(), **changes}))


@pytest.mark.parametrize(
    "options",
    [
        {"cls": 1}, {"self": 1}, {"preset": "best"}, {"no_such": 1}, {"size": "x"}, {"size": 10**9}, {"prompt": None},
        {"prompt": ["a"]}, {"steps": -1}, {"clip": []}, {"clip": 7}, {"clip": ["/etc/passwd"]}, {"model": {"a": 1}},
        {"model": "/etc/passwd"}, {"model": "../../etc/passwd"}, {"upscaler": "/dev/zero"}, {"seed": -1},
        {"mode": "secondary", "clip_guidance": 0.5}, {"sampler": "/etc/passwd"}, {"init_scale": "much"},
        {"style": "\x1b[31m"}, {"cut_overview": "__import__('os')"}, {"secondary": "/etc/passwd"},
    ],
)  # fmt: skip
def test_hostile_options_give_one_sentence(options: dict[str, Any]) -> None:
    recipe = good_recipe()
    name = forged({**recipe, "options": {**recipe["options"], **options}})
    with pytest.raises(BadInput) as caught:
        reproduce(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "root:" not in str(caught.value)
    assert "/etc" not in str(caught.value) or "sampler" in options
    assert os.listdir() == ["forged.png"]


def test_a_recipe_writes_no_files_and_reads_none() -> None:
    """What a picture says of files is not followed: neither where to write nor what to start from."""
    Image.new("RGB", (32, 32), "red").save("mine.png")
    mine = Path("mine.png").read_bytes()
    recipe = good_recipe()
    asked = {"out": str(Path("mine.png").absolute()), "n": 9, "previews": 1, "init": "mine.png", "mask": "mine.png",
             "image_prompt": ["mine.png"], "metadata": "none"}  # fmt: skip
    text, _ = reproduce(forged({**recipe, "options": {**recipe["options"], **asked}}))
    assert text.startswith("Not the same")
    assert Path("mine.png").read_bytes() == mine
    assert set(os.listdir()) == {"mine.png", "forged.png"}
