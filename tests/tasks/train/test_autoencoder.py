"""`lienzo train autoencoder`: what its options make, and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.autoencoders.perceptual import map_distance
from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.metrics.lpips import LPIPS
from lienzo.tasks.perceptual import open_perceptual, perceptual_of
from lienzo.tasks.train.autoencoder import TrainAutoencoder, recipe, run


def pictures(count: int) -> DataSet:
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return DataSet(images, tuple(map(str, range(count))), fingerprint="noise")


def test_features_of_the_guide_move_the_picture() -> None:
    options = TrainAutoencoder(data="x", image_size=32, batch=2, kind="kl", factor=4, adversary_start=0)
    made = recipe(options, pictures(4), pictures(2))
    model = made.build()
    losses = made.step(model, made.batch(0, torch.Generator().manual_seed(0)))
    assert {"l1", "perceptual", "kl", "adversary", "discriminator"} == losses.keys()
    losses["perceptual"].backward()
    assert model.stage.encoder.conv_in.weight.grad.abs().sum() > 0
    assert made.facts()["features"].startswith("guide-")


def test_maps_of_a_whole_lpips_give_lpips() -> None:
    torch.manual_seed(0)
    model = LPIPS(net="squeeze").eval()
    for name, value in model.named_parameters():
        if name.startswith("lin"):
            value.data.abs_()
    x, y = (torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
    looks = perceptual_of(model, "lpips")
    assert map_distance(looks.features(x), looks.features(y)).item() == pytest.approx(
        model(x, y).mean().item(), rel=1e-4
    )


def test_other_networks_compare_no_pictures() -> None:
    with pytest.raises(BadInput, match="compares no pictures"):
        open_perceptual("sentence")
    assert open_perceptual("none") is None


def test_adapters_and_nothing_to_learn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="leave --lora out"):
        list(run(TrainAutoencoder(data=str(tmp_path), start_from="x", lora=4)))
    options = TrainAutoencoder(data="x", l1=0, perceptual="none")
    with pytest.raises(BadInput, match="what to keep"):
        recipe(options, pictures(2), pictures(1))
