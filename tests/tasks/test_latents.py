"""`latents`: each view from a saved model, and one sentence for what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lienzo.autoencoders.vae import Vae
from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Note, Picture
from lienzo.imaging.reading import load_picture
from lienzo.tasks import latents
from lienzo.tasks.latents import Latents, run
from lienzo.weights.models import NETWORKS, save_model

SIDE, CELL = 8, 9


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS.rows, "vae", "lienzo.autoencoders.vae")


@pytest.fixture
def model(tmp_path: Path) -> str:
    torch.manual_seed(0)
    made = Vae(input_shape=(1, SIDE, SIDE), latent=3, hidden=(16,))
    path = tmp_path / "vae.safetensors"
    save_model(path, "vae", made.config, made.state_dict(), {"title": "t", "licence": "MIT"})
    return str(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("dark", "light"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            value = 30 * i + 130 * (name == "light")
            Image.new("RGB", (12, 9), (value, value, value)).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def drawn(model: str, out: Path, **view: Any) -> np.ndarray:
    """The sheet, with its squares turned back into pixels."""
    (event,) = run(Latents.make(model=model, out=out, **view))
    assert isinstance(event, Picture)
    assert np.array_equal(load_picture(out), event.image)
    assert max(event.image.shape) > 250
    columns = view.get("columns", 9)
    times = event.image.shape[1] // (min(columns, view.get("sample", columns)) * CELL + 1)
    return event.image[::times, ::times]


def test_sheets_have_the_cells_that_were_asked_for(model: str, pictures: Path, tmp_path: Path) -> None:
    out, some = tmp_path / "sheet.png", pictures / "dark" / "1.png"
    assert drawn(model, out, sample=10, columns=4).shape == (3 * CELL + 1, 4 * CELL + 1, 3)
    assert drawn(model, out, traverse=2, columns=5, start=some).shape == (2 * CELL + 1, 5 * CELL + 1, 3)
    files = tuple(pictures / "light" / f"{i}.png" for i in range(3))
    assert drawn(model, out, interpolate=files, columns=6).shape == (2 * CELL + 1, 6 * CELL + 1, 3)
    sheet = drawn(model, out, reconstruct=str(pictures), columns=5)
    assert sheet.shape == (4 * CELL + 1, 5 * CELL + 1, 3)  # five above theirs, three above theirs
    assert (sheet[1 : 1 + SIDE, 1 + CELL : 1 + CELL + SIDE] == 30).all()  # the second picture itself
    assert (sheet[2 * CELL + 1 :, 3 * CELL + 1 :] == 255).all()  # the last row is short


def test_the_same_seed_draws_the_same_picture(model: str, tmp_path: Path) -> None:
    ten = drawn(model, tmp_path / "a.png", sample=10, columns=10, seed=4)
    two = drawn(model, tmp_path / "b.png", sample=2, columns=10, seed=4)
    assert np.abs(ten[:, : 2 * CELL].astype(int) - two[:, : 2 * CELL]).max() <= 1


def test_codes_become_a_plot(model: str, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (event,) = run(Latents.make(model=model, out=tmp_path / "s.png", scatter=str(pictures)))
    assert isinstance(event, Note)
    image = load_picture(tmp_path / "s.png")
    assert image.shape[1] == 900
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("view", [{}, {"sample": 1, "traverse": 2}, {"interpolate": ("a.png",)}])
def test_one_view_is_needed(view: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"only one|at least two pictures"):
        Latents.make(model="x", **view)


def test_what_does_not_fit_is_one_sentence(
    model: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="--out"):
        list(run(Latents.make(model=model, sample=1, out=tmp_path / "a.txt")))
    with pytest.raises(BadPicture):
        list(run(Latents.make(model=model, interpolate=(tmp_path / "no.png",) * 2, out=tmp_path / "a.png")))
    monkeypatch.setattr("lienzo.tasks.latent_plot.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="matplotlib"):
        list(run(Latents.make(model=model, scatter=str(pictures), out=tmp_path / "a.png")))
    monkeypatch.setattr("lienzo.weights.models.load_model", lambda path, device: nn.Linear(1, 1))
    with pytest.raises(BadInput, match="no small autoencoder; lienzo train vae"):
        latents.opened(Latents.make(model=model, sample=1))
    assert not (tmp_path / "a.png").exists()
