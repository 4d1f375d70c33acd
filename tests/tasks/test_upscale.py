"""`upscale`: sizes, names, any SwinIR, and nothing written where something does not fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import SWINIR

from lienzo.core.errors import BadInput
from lienzo.core.events import Picture, Progress
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.tasks.upscale import Upscale, run
from lienzo.upscaling.swinir import SwinIR
from lienzo.weights.models import Card, load_model, save_model
from lienzo.weights.store import resolve


def a_picture(name: str, height: int = 9, width: int = 12) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return path


def upscale(*pictures: Path, **options: Any) -> list[Picture]:
    return [e for e in run(Upscale.make(pictures=pictures, **options)) if isinstance(e, Picture)]


def network(name: str, **changes: Any) -> str:
    torch.manual_seed(1)
    model = SwinIR(**{**SWINIR, **changes})
    save_model(name, "swinir", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    return name


@pytest.mark.parametrize("size", [(1, 1), (9, 12), (33, 70)])
def test_four_times_as_large_and_what_the_network_says(size: tuple[int, int]) -> None:
    path = a_picture("fox.png", *size)
    (made,) = upscale(path, tile=16)
    assert made.path == "fox-x4.png"
    found = load_picture("fox-x4.png")
    assert found.shape == (4 * size[0], 4 * size[1], 3)
    assert np.array_equal(found, made.image)
    if max(size) <= 16:
        x = load_model(resolve("upscaler"))(to_tensor(load_picture(path)))
        direct = (x[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.abs(found.astype(int) - direct).max() <= 1


def test_names_and_folders() -> None:
    one, two = a_picture("one.jpg"), a_picture("in/two.png")
    assert [p.path for p in upscale(one, two)] == ["one-x4.png", "in/two-x4.png"]
    Path("out").mkdir()
    assert [p.path for p in upscale(one, two, out=Path("out"))] == ["out/one-x4.png", "out/two-x4.png"]
    assert [p.path for p in upscale(one, out=Path("large.webp"))] == ["large.webp"]
    Path("more").mkdir()
    assert [p.index for p in upscale(one, two, out=Path("more"))] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "factor"),
    [({"upscale": 2}, 2), ({"upsampler": "", "upscale": 1}, 1), ({"upsampler": "", "upscale": 4}, 1),
     ({"upsampler": "", "upscale": 1, "in_chans": 1}, 1)],
)  # fmt: skip
def test_any_swinir(changes: dict[str, Any], factor: int) -> None:
    """The factor in the name is the true one: a cleaner keeps the size whatever its file says."""
    (made,) = upscale(a_picture("fox.png"), model=network("net.safetensors", **changes))
    assert made.path == f"fox-x{factor}.png"
    assert made.image.shape == (9 * factor, 12 * factor, 3)


def test_progress_counts_tiles() -> None:
    events = list(run(Upscale.make(pictures=(a_picture("fox.png", 40, 20),), tile=16)))
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress[-1].done == progress[-1].total > 1


def test_cancelling_leaves_finished_pictures_only() -> None:
    events = run(Upscale.make(pictures=(a_picture("a.png"), a_picture("b.png"))))
    for event in events:
        if isinstance(event, Picture):
            break
    events.close()  # type: ignore[attr-defined]
    assert set(os.listdir()) == {"a.png", "b.png", "a-x4.png"}


@pytest.mark.parametrize(
    ("pictures", "options", "sentence"),
    [
        (("absent.png",), {}, "The picture 'absent.png' does not exist."),
        (("a.png", "text.png"), {}, "is not a picture that Lienzo knows"),
        (("a.png",), {"model": "none"}, "Name a SwinIR with --model."),
        (("a.png",), {"model": "guide"}, "'guide' is no SwinIR"),
        (("a.png",), {"model": "upscalr"}, "did you mean 'upscaler'"),
        (("a.png",), {"tile": 15}, "Option 'tile' was 15"),
        (("a.png", "in/b.png"), {"out": Path("one.png")}, "several pictures need one"),
        (("a.png", "in/a.png"), {"out": Path("out")}, "'a-x4.png' would be written twice"),
        (("in/b.png", "taken.png"), {}, "'taken-x4.png' exists already"),
        (("a.png",), {"out": Path("a.png")}, "'a.png' exists already"),
        (("a.png",), {"out": Path("a.gif")}, "A picture's name ends in"),
        (("a.png",), {"out": Path("absent/a.png")}, "folder does not exist"),
        ((), {}, "pictures"),
    ],
)
def test_one_sentence_and_nothing_written(pictures: tuple[str, ...], options: dict[str, Any], sentence: str) -> None:
    for name in ("a.png", "in/a.png", "in/b.png", "taken.png", "taken-x4.png"):
        a_picture(name)
    Path("text.png").write_text("not a picture")
    Path("out").mkdir()
    before = sorted(str(p) for p in Path().rglob("*"))
    with pytest.raises(BadInput) as caught:
        upscale(*map(Path, pictures), **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(str(p) for p in Path().rglob("*")) == before
