"""Losses and gradients of the VAE family against pythae, with its reduction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.autoencoders.vae import Coded, Vae
from lienzo.autoencoders.vae_objectives import Moment, Objective, objective

RENAMED = {
    "encoder.l1.": "encoder.layers.0.0.",
    "encoder.mu.": "encoder.embedding.",
    "encoder.lv.": "encoder.log_var.",
    "decoder.l1.": "decoder.layers.0.0.",
    "decoder.l2.": "decoder.layers.1.0.",
}
KIND = {
    "AE": "ae", "VAE": "vae", "BetaVAE": "beta-vae", "DisentangledBetaVAE": "disentangled-beta-vae", "IWAE": "iwae",
    "CIWAE": "ciwae", "MIWAE": "miwae", "VAMP": "vamp", "WAE": "wae-mmd", "WAE_MMD": "wae-mmd", "InfoVAE": "info-vae",
    "InfoVAE_MMD": "info-vae", "BetaTCVAE": "beta-tc-vae", "RAE_L2": "rae-l2", "RAE_GP": "rae-gp", "VQVAE": "vq-vae",
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {  # of pythae, where ours differ
    "disentangled-beta-vae": {"capacity": 50.0},
    "beta-tc-vae": {"beta": 1.0},
    "vamp": {"warmup": 10},
    "info-vae": {"strength": 3e-2},
    "rae-l2": {"code_weight": 1e-4, "weight": 1e-4, "decay": False},
    "rae-gp": {"code_weight": 1e-4, "weight": 1e-4},
    "vq-vae": {"ema": False},
}
OPTIONS = {
    "reconstruction_loss": "loss", "C": "capacity", "warmup_epoch": "warmup", "number_samples": "samples",
    "number_gradient_estimates": "estimates", "number_components": "components", "linear_scheduling_steps": "warmup",
    "kernel_choice": "kernel", "kernel_bandwidth": "bandwidth", "reconstruction_loss_scale": "error_weight",
    "lbd": "strength", "use_mss": "stratified", "embedding_weight": "code_weight", "num_embeddings": "size",
    "commitment_loss_factor": "commitment", "quantization_loss_factor": "quantization", "use_ema": "ema",
    "reg_weight": "weight", "beta": "beta", "alpha": "alpha", "gamma": "gamma", "scales": "scales", "decay": "decay",
}  # fmt: skip
IGNORED = {"name", "input_dim", "latent_dim", "uses_default_encoder", "uses_default_decoder", "embedding_dim"}
TOLERANCE = 1e-5


def made(name: str, config: dict[str, Any]) -> tuple[str, Objective]:
    """The kind and objective of a pythae model, from the start of its name and its configuration."""
    kind = KIND[max((each for each in KIND if name == each or name.startswith(f"{each}_")), key=len)]
    options = dict(DEFAULTS.get(kind, {}))
    options |= {OPTIONS[key]: value for key, value in config.items() if key not in IGNORED and value is not None}
    return kind, objective(kind, reduction="pythae", **options)


def filled(state: dict[str, Tensor], shape: tuple[int, ...], made: Objective) -> Vae:
    """A dense network with pythae's weights."""
    layers = sum(key.startswith("encoder.layers.") and key.endswith("weight") for key in state)
    hidden = [len(state[f"encoder.layers.{i}.0.weight"]) for i in range(layers)]
    model = Vae(input_shape=shape, latent=len(state["encoder.embedding.weight"]), hidden=hidden, **made.network())
    model.load_state_dict(state)
    return model


def with_codebook(loss: Objective, state: dict[str, Tensor]) -> Objective:
    """pythae takes the length of the codes from the encoder's output."""
    codes = state.get("quantizer.embeddings.weight", state.get("quantizer.embeddings"))
    return loss if codes is None else replace(loss, size=len(codes), dim=codes.shape[1])  # type: ignore[call-arg]


def passed(model: Vae, made: Objective, x: Tensor, eps: list[Tensor], epoch: float, count: int) -> tuple[Coded, Moment]:
    """One pass with pythae's draws, in its order: the posterior's, then the prior's."""
    eps = list(eps)
    noise = eps.pop(0) if model.config["variational"] else None
    return model(x, noise), Moment(epoch, count, eps.pop(0) if made.compares else None)


def first_draw(value: Tensor, axes: int) -> Tensor:
    for _ in range(axes):
        value = value[:, 0]
    return value


def renamed(key: str) -> str:
    for theirs, ours in RENAMED.items():
        key = key.replace(theirs, ours)
    return key


@pytest.mark.golden("vae_losses*.safetensors")
def test_losses_gradients_and_codes(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x = golden.tensors["x"].requires_grad_()  # RAE_GP's penalty is on the gradient by the picture
    for name, told in golden.config["expected"].items():
        kind, loss = made(name, told["config"])
        state = {renamed(key): value for key, value in golden.part(f"{name}.param").items()}
        loss = with_codebook(loss, state)
        model = filled(state, tuple(x.shape[1:]), loss).train()
        eps = [golden.tensors[f"{name}.eps{i}"] for i in range(told["n_eps"])]
        out, moment = passed(model, loss, x, eps, golden.config["epoch_kwarg"], golden.config["dataset_size_kwarg"])
        losses = loss.losses(x, out, moment)
        total = torch.stack(list(losses.values())).sum()
        terms = {key: term.value for key, term in loss.terms(x, out, moment).items()}
        found = {
            "loss": total, "encoder_loss": total, "decoder_loss": total, "recon_loss": terms["reconstruction"],
            "reg_loss": total - losses["reconstruction"] if kind == "beta-tc-vae" else terms.get("kl"),
            "mmd_loss": terms.get("mmd"), "embedding_loss": terms.get("code"), "gen_reg_loss": terms.get("gradient"),
            "vq_loss": total - losses.get("reconstruction", total),
        }  # fmt: skip
        for key, value in told["scalars"].items():
            actual = found[key]
            assert actual is not None
            assert actual.item() == pytest.approx(value, rel=TOLERANCE), (name, key)
        assert_same(first_draw(out.reconstruction, len(loss.axes)), golden.tensors[f"{name}.recon_x"], TOLERANCE, name)
        assert_same(first_draw(out.z, len(loss.axes)), golden.tensors[f"{name}.z"], TOLERANCE, name)
        if out.quantized is not None:
            assert_same(out.quantized.indices[:, None], golden.tensors[f"{name}.quantized_indices"], what=name)
        total.backward()
        gradients = {key: p.grad for key, p in model.named_parameters()}
        for key, value in golden.part(f"{name}.grad").items():
            gradient = gradients[renamed(key)]
            assert_same(torch.zeros_like(value) if gradient is None else gradient, value, 2e-5, f"{name} {key}")
        after = model.state_dict()
        for key, value in golden.part(f"{name}.param_after").items():
            assert_same(after[renamed(key)], value, TOLERANCE, f"{name} {key} after the pass")
