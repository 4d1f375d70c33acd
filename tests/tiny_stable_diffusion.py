"""A Stable Diffusion of a few thousand numbers, in the layouts of the public files."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.clip.layouts import to_huggingface
from lienzo.clip.transformer import TextTower
from lienzo.diffusion.diffusers_keys import UnetNames
from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.diffusion.schedules import alphas_cumprod, stable_diffusion

UNET: dict[str, Any] = {
    "image_size": 32, "in_channels": 4, "model_channels": 32, "out_channels": 4, "num_res_blocks": 1,
    "attention_resolutions": [2, 1], "channel_mult": [1, 2], "num_heads": 8, "use_spatial_transformer": True,
    "context_dim": 16, "legacy": False,
}  # fmt: skip
DDCONFIG: dict[str, Any] = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2],
    "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


def randomised(network: torch.nn.Module) -> Any:
    """The network with its zeros filled, so that everything matters."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        if not parameter.any():
            parameter.normal_(std=0.1)
    return network.eval()


def networks() -> tuple[LdmUnet, AutoencoderKL, TextTower]:
    """The same three networks at each call, in copies of their own."""
    return deepcopy(_networks())


@cache
def _networks() -> tuple[LdmUnet, AutoencoderKL, TextTower]:
    torch.manual_seed(0)
    unet = randomised(LdmUnet(**UNET))
    vae = randomised(AutoencoderKL(DDCONFIG, 4, scale_factor=0.18215))
    text = randomised(TextTower(width=16, layers=2, quick_gelu=True))
    return unet, vae, text


def compvis(prefix: str = "text_model.") -> dict[str, Tensor]:
    """A whole checkpoint in the names of CompVis; `prefix` is '' as transformers 5 writes it."""
    unet, vae, text = networks()
    state = {f"model.diffusion_model.{key}": value for key, value in unet.state_dict().items()}
    state |= {f"first_stage_model.{key}": value for key, value in vae.state_dict().items()}
    state["first_stage_model.loss.logvar"] = torch.zeros(())
    for key, value in to_huggingface(text.state_dict()).items():
        state[f"cond_stage_model.transformer.{prefix}{key.removeprefix('text_model.')}"] = value
    state[f"cond_stage_model.transformer.{prefix}embeddings.position_ids"] = torch.arange(77)[None]
    betas = stable_diffusion()
    return state | {"betas": betas.float(), "alphas_cumprod": alphas_cumprod(betas).float()}


def with_averages(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With averaged weights of the U-Net, each half of the plain one."""
    averages = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): value / 2
        for key, value in state.items()
        if key.startswith("model.diffusion_model.")
    }
    return state | averages | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}


def lightning(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state, "global_step": 470000, "optimizer_states": [{"state": {}}], "epoch": 3}, path)
    return path


VAE_NAMES = (
    ("mid.block_1.", "mid_block.resnets.0."), ("mid.block_2.", "mid_block.resnets.1."),
    ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."), ("mid.attn_1.q.", "mid_block.attentions.0.to_q."),
    ("mid.attn_1.k.", "mid_block.attentions.0.to_k."), ("mid.attn_1.v.", "mid_block.attentions.0.to_v."),
    ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."), (".norm_out.", ".conv_norm_out."),
    ("nin_shortcut", "conv_shortcut"),
    ("encoder.down.0.block.0.", "encoder.down_blocks.0.resnets.0."),
    ("encoder.down.1.block.0.", "encoder.down_blocks.1.resnets.0."),
    ("encoder.down.0.downsample.conv.", "encoder.down_blocks.0.downsamplers.0.conv."),
    ("decoder.up.1.block.0.", "decoder.up_blocks.0.resnets.0."),
    ("decoder.up.1.block.1.", "decoder.up_blocks.0.resnets.1."),
    ("decoder.up.1.upsample.conv.", "decoder.up_blocks.0.upsamplers.0.conv."),
    ("decoder.up.0.block.0.", "decoder.up_blocks.1.resnets.0."),
    ("decoder.up.0.block.1.", "decoder.up_blocks.1.resnets.1."),
)  # fmt: skip


def diffusers_folder(folder: Path, prediction_type: str = "epsilon") -> Path:
    """A folder as diffusers saves it."""
    unet, vae, text = networks()
    names = UnetNames([1, 1], [True, True])
    parts: dict[str, dict[str, Tensor]] = {"unet": {}, "vae": {}}
    for key, value in unet.state_dict().items():
        module, _, kind = key.rpartition(".")
        parts["unet"][f"{names.to_diffusers(module)}.{kind}"] = value
    for key, value in vae.state_dict().items():
        for ours, theirs in VAE_NAMES:
            key = key.replace(ours, theirs)
        parts["vae"][key] = value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
    parts["text_encoder"] = to_huggingface(text.state_dict(), bare_text=True)
    configs = {
        "unet": {"attention_head_dim": 8, "block_out_channels": [32, 64]},
        "vae": {"scaling_factor": 0.5},
        "text_encoder": {"num_attention_heads": 1, "hidden_act": "quick_gelu"},
        "scheduler": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                      "num_train_timesteps": 1000, "prediction_type": prediction_type},
    }  # fmt: skip
    for part, config in configs.items():
        (folder / part).mkdir(parents=True)
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config))
        if part in parts:
            file = "model" if part == "text_encoder" else "diffusion_pytorch_model"
            kept = {key: value.contiguous() for key, value in parts[part].items()}
            save_file(kept, folder / part / f"{file}.safetensors")
    return folder
