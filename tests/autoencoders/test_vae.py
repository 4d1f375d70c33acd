"""The network: any size and number of channels, saved and found again, and what pythae's weights tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lienzo.autoencoders.latent_samplers import fit_normal
from lienzo.autoencoders.vae import Vae, detect, load
from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights.models import NETWORKS, load_model, save_model

CASES: dict[str, dict[str, Any]] = {
    "mlp": {"input_shape": (1, 6, 5), "latent": 3, "hidden": (16, 8)},
    "linear": {"input_shape": (1, 6, 6), "latent": 2, "hidden": (), "variational": False, "linear_output": True},
    "conv": {"input_shape": (3, 13, 22), "latent": 5, "network": "conv", "width": 8},
    "deep": {"input_shape": (2, 9, 9), "latent": 5, "network": "conv", "width": 8, "levels": 4},
    "vamp": {"input_shape": (1, 8, 8), "latent": 2, "pseudo_inputs": 4, "hidden": (8,)},
    "vamp conv": {"input_shape": (1, 8, 8), "latent": 2, "pseudo_inputs": 4, "network": "conv", "width": 8},
    "spectral": {"input_shape": (1, 8, 8), "latent": 2, "network": "conv", "width": 8, "variational": False,
                 "spectral": True},
    "vq": {"input_shape": (3, 12, 10), "network": "conv", "width": 8, "levels": 2, "variational": False,
           "codes": {"size": 7, "dim": 4, "ema": True}},
    "vq mlp": {"input_shape": (1, 6, 6), "latent": 6, "variational": False,
               "codes": {"size": 7, "dim": 2, "ema": False}},
}  # fmt: skip


def made(case: str) -> Vae:
    torch.manual_seed(0)
    return Vae(**CASES[case])


@pytest.fixture
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS.rows, "vae", "lienzo.autoencoders.vae")


@pytest.mark.parametrize("case", CASES)
def test_shapes_and_gradients(case: str) -> None:
    model = made(case).train()
    x = torch.rand(3, *model.shape)
    noise = torch.randn(3, 2, model.latent) if model.config["variational"] else None
    out = model(x, noise)
    lead = (3, 2) if noise is not None else (3,)
    assert out.reconstruction.shape == (*lead, *model.shape)
    assert out.z.shape == (*lead, model.latent)
    out.reconstruction.square().sum().backward()
    assert model.encoder.embedding.weight.grad is not None
    assert model.encoder.embedding.weight.grad.abs().sum() > 0
    assert (out.log_var is not None) == model.config["variational"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("_row")
def test_saved_and_loaded_it_is_the_same(case: str, tmp_path: Path) -> None:
    model = made(case).eval()
    path = tmp_path / "model.safetensors"
    save_model(path, "vae", model.config, model.state_dict(), {"title": "t", "licence": "MIT"})
    again = load_model(path)
    assert isinstance(again, Vae)
    assert detect(model.state_dict()) or case == "linear"
    x = torch.rand(2, *model.shape)
    assert torch.allclose(again(x).reconstruction, model(x).reconstruction, atol=1e-6)
    assert torch.allclose(again.decode(again.encode(x)[0]), again(x).reconstruction, atol=1e-6)


@pytest.mark.usefixtures("_row")
def test_a_prior_is_saved_with_the_model(tmp_path: Path) -> None:
    model = made("mlp")
    model.prior = fit_normal(torch.randn(50, 3) * 2 + 1)
    model.config["prior"] = model.prior.config
    save_model(tmp_path / "m.safetensors", "vae", model.config, model.state_dict(), {"title": "t", "licence": "MIT"})
    again = load_model(tmp_path / "m.safetensors")
    noise = torch.randn(4, 4)
    assert isinstance(again, Vae)
    assert again.prior is not None
    assert torch.equal(again.prior(noise), model.prior(noise))


@pytest.mark.parametrize("case", ["vamp", "vq mlp"])
def test_dense_weights_tell_their_configuration(case: str) -> None:
    model = made(case).eval()
    again = load(model.state_dict())
    x = torch.rand(2, *model.shape)
    assert torch.equal(again(x).reconstruction, model(x).reconstruction)


def test_weights_that_tell_no_shape_are_refused() -> None:
    with pytest.raises(BadWeights, match="30 numbers are no squares"):
        load(made("mlp").state_dict())
    with pytest.raises(BadWeights, match=r"'encoder\.log_var\.bias' are unexpected"):
        load(made("mlp").state_dict(), {**CASES["mlp"], "variational": False})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": "rnn"}, "mlp or conv"),
        ({"network": "conv", "width": 12}, "multiple of 8; 12 is not"),
        ({"network": "conv", "levels": 9}, "cannot be halved 9 times"),
        ({"network": "conv", "input_shape": (1, 4, 4)}, "more than 4 pixels"),
        ({"codes": {"size": 4, "dim": 3}}, "has no variance"),
        ({"codes": {"size": 4, "dim": 2}, "variational": False}, "3 is none of 2"),
        ({"variational": False, "pseudo_inputs": 3}, "variational model"),
    ],
)
def test_arguments_that_do_not_fit_are_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Vae(**{**CASES["mlp"], **change})


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(BadInput, match=r"takes pictures of 1x6x5 .*, not 1x6x6"):
        made("mlp").encode(torch.rand(1, 1, 6, 6))


def test_spectral_layers_have_norm_one() -> None:
    model = made("spectral").train()
    for _ in range(30):
        model(torch.rand(2, 1, 8, 8))
    layer = model.eval().decoder.levels[0][0]
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
