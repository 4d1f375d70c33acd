"""`lienzo train clip`: which network the options mean, and a run from captioned pictures to a model that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.clip.model import CLIP
from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Picture
from lienzo.tasks.train.clip import TrainClip, described, run
from lienzo.weights.models import Card, load_model, save_model

TINY: dict[str, Any] = {
    "size": 16, "tower": "vit", "layers": (1,), "width": 16, "patch": 8, "embed_dim": 8, "text_width": 8,
    "text_layers": 1, "context_length": 12,
}  # fmt: skip


def options(**given: Any) -> TrainClip:
    return TrainClip.make(data="pictures", **given)


def test_the_laptop_trains_a_small_resnet() -> None:
    config = described(options())
    with torch.device("meta"):
        model = CLIP(**config)
    assert model.config["vision_layers"] == [1, 1, 1, 1]
    assert model.config["vision_patch_size"] is None
    assert sum(p.numel() for p in model.parameters()) < 12e6


def test_the_gpu_trains_vit_b_32() -> None:
    with torch.device("meta"):
        model = CLIP(**described(options(preset="gpu")))
    assert sum(p.numel() for p in model.parameters()) == 151_277_313


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tower": "vit"}, "one positive number for a vit"),
        ({"layers": (2, 2)}, "four positive numbers for a resnet"),
        ({"batch": 1}, "'batch' was 1"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        options(**given)


@pytest.fixture
def started(tmp_path: Path) -> str:
    torch.manual_seed(0)
    model = CLIP(**described(options(**TINY)))
    save_model(tmp_path / "clip.safetensors", "clip", model.config, model.state_dict(), Card(title="t", licence="MIT"))
    return str(tmp_path / "clip.safetensors")


def test_from_a_model_the_network_is_that_of_the_model(started: str) -> None:
    assert described(options(start_from=started))["vision_width"] == 16
    assert described(options(start_from=started, **TINY)) == described(options(start_from=started))
    assert described(options(start_from=started, tower="vit", layers=(1,)))["vision_patch_size"] == 8
    for given, sentence in (
        ({"size": 32}, "does not fit --size: its image_resolution is 16"),
        ({"tower": "resnet"}, "--tower: its vision_patch_size is 8"),
        ({"context_length": 77}, "--context-length: its context_length is 12"),
    ):
        with pytest.raises(BadInput, match=sentence):
            described(options(start_from=started, **given))
    with pytest.raises(BadInput, match="is a SwinIR"):
        described(options(start_from="upscaler"))


def pictures(folder: Path) -> Path:
    """Squares of four colours, each with its caption beside it."""
    folder.mkdir()
    colours = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220), "black": (20, 20, 20)}
    for i in range(16):
        name = list(colours)[i % 4]
        picture = np.full((20, 20, 3), 255, np.uint8)
        picture[2 + i // 4 : 14, 3:17] = colours[name]
        Image.fromarray(picture).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a {name} square of height {12 - i // 4}\n")
    return folder


@pytest.mark.parametrize("fine", [False, True], ids=["from nothing", "from a model"])
def test_from_captioned_pictures_to_a_model(tmp_path: Path, started: str, fine: bool) -> None:
    network = {"start_from": started} if fine else TINY
    given = options(
        **network, batch=8, images=64, warmup=0, held=0.3, ema_half_lives=(16,), out=tmp_path / "run", i2t_weight=0.4
    ).model_copy(update={"data": str(pictures(tmp_path / "pictures"))})
    events = list(run(given))
    names = {event.name for event in events if isinstance(event, Metric)}
    assert any(name.startswith("R@1[text-to-image,n=") for name in names)
    assert any(isinstance(event, Picture) for event in events)
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert type(model) is CLIP
    assert model.config["image_resolution"] == 16
