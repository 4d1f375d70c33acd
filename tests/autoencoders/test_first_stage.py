"""Models of the autoencoders are recognised, converted and read back from files of all public kinds."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lienzo.autoencoders.dvae import DVae
from lienzo.autoencoders.gumbel import GumbelVQ
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.vqgan import VQModel
from lienzo.tasks.models import ConvertModel, ShowModel, run
from lienzo.weights.models import load_model, read_record

SMALL: dict[str, Any] = {
    "ch": 32, "out_ch": 3, "num_res_blocks": 1, "attn_resolutions": [], "in_channels": 3, "resolution": 16,
    "z_channels": 4, "ch_mult": [1, 1], "double_z": False,
}  # fmt: skip


def files() -> dict[str, tuple[str, nn.Module, Any]]:
    """Name of the case to its network, the model, and what its file holds."""
    torch.manual_seed(0)
    vq, gumbel = VQModel(SMALL, 12, 5), GumbelVQ(SMALL, 12, 4)
    kl = AutoencoderKL({**SMALL, "double_z": True}, 4)
    small = {"n_hid": 4, "n_blk_per_group": 1, "vocab_size": 9}
    dvae = DVae(encoder=small, decoder={**small, "n_init": 6})
    losses = {
        "loss.perceptual_loss.net.slice1.0.weight": torch.randn(64, 3, 3, 3),
        "loss.perceptual_loss.lin0.model.1.weight": torch.randn(1, 64, 1, 1),
        "loss.discriminator.main.0.weight": torch.randn(64, 3, 4, 4),
    }
    lightning = {"epoch": 3, "global_step": 7, "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(900_000)}}}]}
    inside = {f"first_stage_model.{key}": value for key, value in kl.state_dict().items()}
    return {
        "taming": ("vqgan", vq, {**lightning, "state_dict": {**vq.state_dict(), **losses}}),
        "gumbel": ("gumbel-vqgan", gumbel, {**lightning, "state_dict": gumbel.state_dict()}),
        "sd-vae": ("kl-autoencoder", kl, {**lightning, "state_dict": inside}),
        "plain-vae": ("kl-autoencoder", kl, kl.state_dict()),
        "dvae": ("dvae", dvae, dvae.state_dict()),
        "dvae-encoder": ("dvae", dvae.encoder, dvae.encoder.state_dict()),
    }


@pytest.mark.parametrize("case", ["taming", "gumbel", "sd-vae", "plain-vae", "dvae", "dvae-encoder"])
def test_show_and_convert(case: str, tmp_path: Path) -> None:
    network, model, content = files()[case]
    torch.save(content, tmp_path / f"{case}.ckpt")
    (table,) = run(ShowModel(model=str(tmp_path / f"{case}.ckpt")))
    assert ("network", network) in table.rows  # type: ignore[union-attr]
    out = tmp_path / "model.safetensors"
    assert list(run(ConvertModel(source=tmp_path / f"{case}.ckpt", out=out, half=False)))
    again = load_model(out)
    assert type(again) is type(model)
    assert read_record(out)["config"] == again.config
    state = model.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


def test_a_pickled_module_of_openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public dVAE files are whole modules of a package that is not there when they are read."""
    monkeypatch.setitem(sys.modules, "dall_e", types.ModuleType("dall_e"))
    monkeypatch.setitem(sys.modules, "dall_e.encoder", types.ModuleType("dall_e.encoder"))

    class Encoder(nn.Module):
        pass

    Encoder.__module__, Encoder.__qualname__ = "dall_e.encoder", "Encoder"
    sys.modules["dall_e.encoder"].Encoder = Encoder  # type: ignore[attr-defined]
    own = files()["dvae-encoder"][1]
    pickled = Encoder()
    pickled.blocks = own.blocks
    torch.save(pickled, tmp_path / "encoder.pkl")
    monkeypatch.undo()
    assert list(run(ConvertModel(source=tmp_path / "encoder.pkl", out=tmp_path / "e.safetensors", half=False)))
    again = load_model(tmp_path / "e.safetensors")
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(x), own(x))
