"""`train classifier`: options to recipe, and a file that knows its classes and its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_checkpoints import PUBLIC, diffusion_of
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.adm_flags import CLASSIFIER_DEFAULTS, from_flags
from lienzo.tasks.train.classifier import NETWORK, TrainClassifier, described, recipe
from lienzo.weights.models import Card, load_model, save_model


def options(preset: str | None = None, **given: Any) -> TrainClassifier:
    return TrainClassifier.make(preset, data="pictures", **given)


def pictures(size: int) -> DataSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, size, size, 3), np.uint8)
    return DataSet(images, ("a", "b", "c", "d"), labels=np.array([0, 1, 2, 0]), label_names=("cat", "dog", "owl"))


def test_options_are_the_flags_of_guided_diffusion() -> None:
    flags = {name for name in CLASSIFIER_DEFAULTS if name.startswith("classifier_")}
    assert flags - {"classifier_use_fp16"} == set(NETWORK) - {"image_size"}
    config, settings = described(options("adm-64"))
    row = from_flags(PUBLIC["64x64_classifier"])
    assert config == row.config
    assert settings.noise_schedule == "cosine"
    made = recipe(options(noised=False, seed=3, batch=2), *described(options()), pictures(32), pictures(32))
    assert (made.training.noised, made.training.seed, made.batch_size) == (False, 3, 2)
    for preset in TrainClassifier.presets:
        config, _ = described(options(preset))
        with torch.device("meta"):
            AdmClassifier(**config)


def test_the_file_knows_its_classes_and_noise_and_is_trained_on(tmp_path: Path) -> None:
    given = options(diffusion_steps=500, rescale_timesteps=True, classifier_channel_mult="1,1", image_size=16, batch=2)
    made = recipe(given, *described(given), pictures(16), pictures(16))
    model: Any = made.build().train()
    made.step(model, made.batch(0, torch.Generator().manual_seed(0)))["cross_entropy"].backward()
    path = tmp_path / "eyes.safetensors"
    save_model(path, made.network, model.config, model.state_dict(), Card(title="x", licence="CC0-1.0"), half=True)
    loaded = load_model(path)
    assert isinstance(loaded, AdmClassifier)
    assert loaded.config["classes"] == ["cat", "dog", "owl"]
    assert diffusion_of(loaded) == made.settings

    again = options(start_from=str(path))
    config, settings = described(again)
    assert settings == made.settings
    kept = recipe(again, config, settings, pictures(16), pictures(16)).config
    assert {name: kept[name] for name in made.config} == made.config
    with pytest.raises(BadInput, match="--classifier-width 64: its model_channels is 32"):
        described(options(start_from=str(path), classifier_width=64))
    with pytest.raises(BadInput, match="'adm-64' is a network Adm; this training starts from AdmClassifier"):
        described(options(start_from="adm-64"))
