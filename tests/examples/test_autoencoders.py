"""The examples about autoencoders run on digits as the npm package has them, here small drawn ones."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from lienzo.imaging.reading import load_picture

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def digits(tmp_path: Path) -> str:
    """Ten classes of bars of 28x28 pixels, at a height and width that vary."""
    folder = tmp_path / "package" / "src" / "digits"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for digit in range(10):
        pictures = np.zeros((24, 28, 28))
        for picture in pictures:
            picture[2 * digit + 2 : 2 * digit + 5, rng.integers(2, 8) : rng.integers(12, 26)] = rng.uniform(0.5, 1)
        (folder / f"{digit}.json").write_text(json.dumps({"data": pictures.round(3).flatten().tolist()}))
    return str(tmp_path / "package")


def test_ae_versus_vae(digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    runpy.run_path(str(EXAMPLES / "ae_versus_vae.py"))["main"](digits, tmp_path, images=512)
    assert "Variational autoencoder: the codes' standard deviations" in capsys.readouterr().out
    assert load_picture(tmp_path / "latent_scatter.png").shape == (990, 1800, 3)
    assert load_picture(tmp_path / "prior_samples.png").shape[1] > 2 * 2 * 10 * 29


def test_linear_autoencoder_is_pca(digits: str, tmp_path: Path) -> None:
    angle = runpy.run_path(str(EXAMPLES / "linear_autoencoder_is_pca.py"))["main"](digits, tmp_path, 100, 6)
    assert angle < 2
    assert load_picture(tmp_path / "linear_is_pca.png").shape == (4 * 59, 4 * 175, 3)
