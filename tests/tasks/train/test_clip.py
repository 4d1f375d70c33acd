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
        ({"chunk": 48}, "--chunk 48 does not divide --batch 128"),
        ({"chunk": 256}, "--chunk 256 does not divide"),
        ({"chunk": 64, "compile": True}, "which --compile cannot do"),
        ({"lock_image": True}, "name that with --from"),
        ({"start_from": "x", "lock_image": True, "lock_text": True}, "leave nothing to learn"),
        ({"start_from": "x", "lock_text": True, "lora": 4}, "--lora keeps the weights"),
        ({"start_from": "x", "lock_text": True, "teacher": "sentence"}, "cannot imitate a --teacher"),
        ({"teacher_weight": 0.5}, "--teacher-weight needs a --teacher"),
        ({"cyclip_in_modal": -0.1}, "cyclip"),
        ({"loss": "triplet"}, "loss"),
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


def begun(folder: Path, **given: Any) -> list[Any]:
    """The events of a short run in `folder`/run on the squares."""
    if not (folder / "pictures").is_dir():
        pictures(folder / "pictures")
    plan = {"batch": 8, "images": 64, "warmup": 0, "held": 0.3, "ema_half_lives": (16,), "out": folder / "run"}
    made = options(**plan, **given).model_copy(update={"data": str(folder / "pictures")})
    return list(run(made))


ALL_TOGETHER: dict[str, Any] = {
    "loss": "siglip", "cyclip_in_modal": 0.25, "cyclip_cross_modal": 0.25, "chunk": 4, "teacher": "sentence",
}  # fmt: skip


def test_siglip_with_cycles_chunks_and_a_teacher_becomes_a_plain_clip(tmp_path: Path) -> None:
    events = begun(tmp_path, **TINY, **ALL_TOGETHER)
    names = {event.name for event in events if isinstance(event, Metric)}
    assert {"sigmoid", "in-modal", "cross-modal", "teacher", "teacher's relations"} <= names
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert type(model) is CLIP
    assert model.logit_scale.item() == pytest.approx(np.log(10), abs=0.3)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"cyclip_in_modal": 0.5}, "cyclip_in_modal=0.25, not 0.5"),
        ({"chunk": 2}, "chunk=4, not 2"),
        ({"teacher": None}, "teacher="),
        ({"local_loss": False}, "local_loss=True, not False"),
    ],
)
def test_another_objective_does_not_resume_the_run(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    begun(tmp_path, **TINY, **ALL_TOGETHER)
    with pytest.raises(BadInput, match=sentence):
        begun(tmp_path, **{**TINY, **ALL_TOGETHER, **changed})


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_locked_tower_leaves_the_run_as_it_came(tmp_path: Path, started: str, tower: str) -> None:
    begun(tmp_path, start_from=started, **{f"lock_{tower}": True})
    before, after = (load_model(path).state_dict() for path in (started, tmp_path / "run" / "model.safetensors"))
    image = {name for name in before if name.startswith("visual.")}
    locked = image if tower == "image" else before.keys() - image - {"logit_scale"}
    moved = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-3)}
    assert moved
    assert not moved & locked


def test_siglip_from_a_clip_begins_with_its_own_temperature(tmp_path: Path, started: str) -> None:
    begun(tmp_path, start_from=started, loss="siglip")
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert isinstance(model, CLIP)
    assert model.logit_scale.item() == pytest.approx(np.log(10), abs=0.3)


def test_contradictions_are_told_before_the_pictures_are_read(started: str) -> None:
    for given, sentence in (
        ({"loss": "siglip", "gather_with_grad": False}, "SigLIP needs gradients"),
        ({"loss": "siglip", "i2t_weight": 0.3}, "no directions"),
        ({"all_negatives": False, "local_loss": False}, "nothing is gathered"),
        ({"teacher": "upscaler"}, "is a SwinIR; a --teacher is a sentence encoder"),
        ({"lora": 2}, "name it with --from"),
    ):
        with pytest.raises(BadInput, match=sentence):
            next(run(options(**TINY, **given)))
