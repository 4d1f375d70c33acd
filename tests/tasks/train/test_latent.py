"""`lienzo train latent`: from pictures and an autoencoder to a file that `lienzo create` paints with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.stage_recipe import stage_config
from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Table
from lienzo.diffusion.latent_painter import LatentPainter
from lienzo.tasks.create import Create
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.train.latent import TrainLatent, run
from lienzo.weights.models import Card, load_model, save_model

SMALL = {"image_size": 16, "width": 32, "multiples": (1,), "heads": 2, "images": 8, "batch": 4, "held": 0.3}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("disc", "square"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = AutoencoderKL(**stage_config("kl", 4, 3, resolution=16))
    path = tmp_path / "stage.safetensors"
    save_model(path, "kl-autoencoder", network.config, network.state_dict(), Card(title="x", licence="CC0-1.0"))
    return path


@pytest.mark.parametrize("condition", ["text", "class", "picture", "none"])
def test_the_run_paints(
    condition: str, data: Path, stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path / "home"))
    out = tmp_path / "run"
    options = TrainLatent(data=str(data), out=out, autoencoder=str(stage), condition=condition, **SMALL)  # type: ignore[arg-type]
    events = list(run(options))
    assert any("scaled by" in event.text for event in events if isinstance(event, Note))
    assert len(list(out.glob("latents-*.npy"))) == 2
    model = load_model(out / "model.safetensors")
    assert isinstance(model, LatentPainter)
    assert model.stage.scale_factor != 1
    engine = engine_for(model, Create(prompt="disc", model=str(out)), torch.device("cpu"))
    assert engine.conditional == (condition in ("text", "class"))
    if condition == "picture":
        before = engine.picture.clone()  # type: ignore[attr-defined]
        engine.show(torch.ones(1, 3, 16, 16), torch.ones(1, 1, 16, 16))  # type: ignore[attr-defined]
        assert not torch.equal(before, engine.picture)  # type: ignore[attr-defined]
    denoise = engine.denoiser(Wish((("disc", 1.0),)), 2, 3.0)
    sigma = engine.sigmas(3)[0]
    x = sigma * torch.randn(2, *engine.latents.shape)
    with torch.no_grad():
        drawn = engine.latents.finish(denoise(x, sigma.expand(2)), Wish((("disc", 1.0),)))
    assert drawn.shape == (2, 3, 16, 16)
    if condition == "class":
        with pytest.raises(BadInput, match="disc, square"):
            engine.denoiser(Wish((("whale", 1.0),)), 1, 3.0)


def test_a_dry_run_writes_nothing(data: Path, stage: Path, tmp_path: Path) -> None:
    options = TrainLatent(data=str(data), out=tmp_path / "run", autoencoder=str(stage), dry_run=True, **SMALL)  # type: ignore[arg-type]
    assert any(isinstance(event, Table) for event in run(options))
    assert not (tmp_path / "run").exists()


def test_wrong_autoencoders_and_sizes_are_named(data: Path, stage: Path, tmp_path: Path) -> None:
    given = {**SMALL, "data": str(data), "out": tmp_path / "run"}
    with pytest.raises(BadInput, match="no autoencoder of latents"):
        list(run(TrainLatent(autoencoder="painter", **given)))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="multiple of 8"):
        list(run(TrainLatent(autoencoder=str(stage), **{**given, "image_size": 20, "multiples": (1, 2)})))  # type: ignore[arg-type]
