"""`lienzo train upscaler`: which network and which damage the options mean, and a run from folder to model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Picture
from lienzo.tasks.train.upscaler import TrainUpscaler, degradation, described, run
from lienzo.upscaling.configurations import configuration
from lienzo.upscaling.recipe import LAPTOP, Degradation
from lienzo.upscaling.swinir import SwinIR
from lienzo.weights.models import Card, load_model, read_card, save_model


def options(**given: Any) -> TrainUpscaler:
    return TrainUpscaler.make(data="pictures", **given)


def test_by_default_it_is_the_bundled_upscaler() -> None:
    task, config = described(options())
    assert task == "sr"
    assert SwinIR(**config).config == SwinIR(**LAPTOP).config
    assert degradation(options(), task) == Degradation()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("lightweight", configuration("lightweight_sr", scale=4)),
        ("gpu", configuration("classical_sr", scale=4, size="M")),
        ("real", configuration("real_sr", scale=4, size="L")),
    ],
)
def test_presets_are_the_networks_of_the_paper(preset: str, expected: dict[str, Any]) -> None:
    given = options(preset=preset)
    task, config = described(given)
    assert config == expected
    assert given.size >= config["img_size"] * config["upscale"]
    assert degradation(given, task).kind == ("real" if preset == "real" else "bicubic")


@pytest.mark.parametrize(
    ("given", "config", "damage"),
    [
        ({"task": "color_dn", "noise": 15}, {"in_chans": 3, "upsampler": "", "upscale": 1, "img_size": 24},
         Degradation("noise", 15)),
        ({"task": "gray_dn", "network": "M"}, configuration("gray_dn"), Degradation("noise", 25)),
        ({"task": "jpeg_car", "quality": 10}, {"in_chans": 1, "window_size": 7, "img_range": 255.0, "img_size": 21},
         Degradation("jpeg", 10)),
        ({"task": "color_jpeg_car", "network": "L"}, configuration("color_jpeg_car", size="L"),
         Degradation("jpeg", 40)),
        ({"network": "M", "degradation": "light", "scale": 2}, configuration("real_sr", scale=2, size="M"),
         Degradation("light")),
        ({"network": "S", "scale": 3, "crop": 48}, configuration("lightweight_sr", scale=3, img_size=48),
         Degradation()),
    ],
)  # fmt: skip
def test_options_choose_network_and_damage(given: dict[str, Any], config: dict[str, Any], damage: Degradation) -> None:
    task, made = described(options(**given))
    assert made.items() >= config.items()
    assert degradation(options(**given), task) == damage


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"crop": 20}, "multiple of the window, 8"),
        ({"task": "jpeg_car", "crop": 24}, "multiple of the window, 7"),
        ({"scale": 8}, "scales 2, 3, 4, not 8"),
        ({"network": "L", "degradation": "real", "scale": 3}, "scales 2, 4, not 3"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        described(options(**given))


def saved(path: Path, **config: Any) -> str:
    """A tiny SwinIR in a file."""
    torch.manual_seed(0)
    tiny = {"img_size": 8, "window_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2], **config}
    model = SwinIR(**tiny)
    save_model(path, "swinir", model.config, model.state_dict(), Card(title="tiny", licence="CC0-1.0"))
    return str(path)


def test_from_a_model_the_network_is_that_of_the_model(tmp_path: Path) -> None:
    doubling = saved(tmp_path / "double.safetensors", upscale=2, upsampler="pixelshuffle")
    task, config = described(options(start_from=doubling, degradation="light"))
    assert task == "sr"
    assert (config["upscale"], config["upsampler"], config["window_size"]) == (2, "pixelshuffle", 4)
    with pytest.raises(BadInput, match="has the scale 2, not 4; leave --scale out"):
        described(options(start_from=doubling, scale=4))
    with pytest.raises(BadInput, match="window, 4"):
        described(options(start_from=doubling, crop=10))
    cleaning = saved(tmp_path / "clean.safetensors", upsampler="", in_chans=1)
    assert described(options(start_from=cleaning))[0] == "gray_dn"
    with pytest.raises(BadInput, match="has the task gray_dn, not sr"):
        described(options(start_from=cleaning, task="sr"))
    with pytest.raises(BadInput, match="is a CompactClip"):
        described(options(start_from="guide"))


def pictures(folder: Path, count: int = 12) -> Path:
    """Drawings of coloured discs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:72, :72]
    for i in range(count):
        picture = np.full((72, 72, 3), 255, np.uint8)
        for _ in range(4):
            inside = np.hypot(y - rng.uniform(0, 72), x - rng.uniform(0, 72)) < rng.uniform(5, 20)
            picture[inside] = rng.integers(0, 255, 3)
        Image.fromarray(picture).save(folder / f"disc-{i}.png")
    return folder


def test_from_a_folder_of_pictures_to_a_model(tmp_path: Path) -> None:
    model = saved(tmp_path / "tiny.safetensors", upscale=2, upsampler="pixelshuffledirect")
    given = options(
        start_from=model, size=64, crop=8, images=64, warmup=0, held=0.3, ema_half_lives=(16,), out=tmp_path / "run"
    ).model_copy(update={"data": str(pictures(tmp_path / "pictures"))})
    events = list(run(given))
    names = {event.name for event in events if isinstance(event, Metric)}
    assert any(name.startswith("psnr[rgb,x2,mean,n=") for name in names)
    assert any(isinstance(event, Picture) for event in events)
    trained = load_model(tmp_path / "run" / "model.safetensors")
    assert isinstance(trained, SwinIR)
    assert trained.scale == 2
    assert "enlarges x2" in read_card(tmp_path / "run" / "model.safetensors").title
