"""`train vae`: from options to a recipe, and from a folder of pictures to a model that `latents` draws from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from lienzo.autoencoders.vae import Vae
from lienzo.autoencoders.vae_objectives import KINDS, VQVAE
from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Picture
from lienzo.data.sets import DataSet
from lienzo.tasks.train.vae import Kind, TrainVae, recipe, run
from lienzo.weights.models import NETWORKS, load_model, read_record

FAST: dict[str, Any] = {"image_size": 8, "hidden": (16,), "latent": 3, "batch": 4, "images": 16, "save_seconds": 1e-9}


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS.rows, "vae", "lienzo.autoencoders.vae")


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    for number in range(12):
        colour = tuple(np.random.default_rng(number).integers(0, 255, 3).tolist())
        (tmp_path / "squares").mkdir(exist_ok=True)
        Image.new("RGB", (10, 8), colour).save(tmp_path / "squares" / f"{number}.png")
    return tmp_path / "squares"


def blank() -> DataSet:
    return DataSet(np.zeros((4, 28, 28, 3), np.uint8), ("a", "b", "c", "d"))


def test_the_flag_names_every_kind() -> None:
    assert get_args(Kind) == tuple(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_from_the_defaults_and_the_presets(kind: str) -> None:
    for preset in TrainVae.presets:
        made = recipe(TrainVae.make(preset, data="x", kind=kind), blank(), blank())
        assert made.training.kind == kind
        assert made.objective.loss == "bce"


def test_flags_reach_the_objective_and_the_network() -> None:
    given = TrainVae.make(data="x", kind="vq-vae", network="conv", codes=9, code_length=3, loss="mse", sigma=0.5)
    made = recipe(given, blank(), blank())
    assert isinstance(made.objective, VQVAE)
    assert (made.objective.size, made.objective.dim, made.objective.sigma) == (9, 3, 0.5)
    assert made.latent == 3 * 7 * 7  # halved twice
    beta = recipe(TrainVae.make(data="x", kind="beta-vae", beta=7.0, latent=5), blank(), blank())
    assert beta.objective.beta == 7.0  # type: ignore[attr-defined]
    assert beta.latent == 5


def test_a_flag_of_another_kind_is_refused() -> None:
    with pytest.raises(BadInput, match="kind 'ae' has no option 'beta'"):
        recipe(TrainVae.make(data="x", kind="ae", beta=2.0), blank(), blank())
    with pytest.raises(BadInput, match="'kind' was 'vea'"):
        TrainVae.make(data="x", kind="vea")


@pytest.mark.parametrize(
    "given", [{}, {"kind": "ae", "sampler": "normal"}, {"kind": "vq-vae", "network": "conv", "width": 8}]
)
def test_a_folder_becomes_a_model(given: dict[str, Any], squares: Path, tmp_path: Path) -> None:
    events = list(run(TrainVae.make(data=str(squares), out=tmp_path / "run", held=0.3, **FAST, **given)))
    assert any(isinstance(event, Picture) for event in events)
    assert any(isinstance(event, Metric) and event.name.startswith("psnr[withheld") for event in events)
    assert any(isinstance(event, Note) and "model.safetensors" in event.text for event in events)
    path = tmp_path / "run" / "model.safetensors"
    model = load_model(path)
    assert isinstance(model, Vae)
    assert model.shape == (3, 8, 8)
    assert (model.prior is not None) == ("sampler" in given)
    assert read_record(path)["card"]["title"].startswith(f"Autoencoder ({given.get('kind', 'vae')})")
