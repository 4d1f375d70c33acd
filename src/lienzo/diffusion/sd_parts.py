"""The parts of a checkpoint of Stable Diffusion, still as tensors, from one file in the names of CompVis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lienzo.autoencoders import kl
from lienzo.clip import model as clip
from lienzo.core.errors import BadWeights
from lienzo.core.text import printable
from lienzo.diffusion import ldm_unet
from lienzo.diffusion.ldm_shapes import PREFIX as UNET
from lienzo.diffusion.schedules import betas_from_alphas_cumprod

FIRST_STAGE = "first_stage_model."
TEXT = "cond_stage_model."
EMA = "model_ema."

OTHERS = {
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
    "double_blocks.": "Flux",
    "conditioner.embedders.": "Stable Diffusion XL",
    "control_model.": "ControlNet",
    "control_": "ControlNet",
    "lora_unet_": "LoRA, which changes a checkpoint and is none itself",
    "cond_stage_model.transformer.token_emb.": "latent diffusion with a BERT text encoder",
    "cond_stage_model.embedding.": "class-conditional latent diffusion",
    "model.diffusion_model.middle_block.1.qkv.": "latent diffusion without text",
    "embedder.model.visual.": "Stable unCLIP",
}
"""How keys of other families begin."""

Prediction = Literal["eps", "v"]


@dataclass
class Parts:
    """What a checkpoint holds, before the networks are built; the settings beside it win over shapes."""

    unet: Mapping[str, Tensor]
    first_stage: Mapping[str, Tensor]
    text: Mapping[str, Tensor]
    betas: Tensor | None = None
    prediction: Prediction | None = None
    scale_factor: float | None = None
    text_skip: int | None = None
    text_pad: int | None = None
    unet_config: Mapping[str, Any] | None = None
    text_config: Mapping[str, Any] | None = None
    latent_size: int | None = None
    settings: Path | None = None
    ignored: tuple[str, ...] = ()


def read_single(state: Mapping[str, Tensor], *, ema: bool = True) -> Parts:
    """The parts of one file in the names of CompVis.

    Raises:
        BadWeights: there is no U-Net, the averages are not whole, or the file is of another family.
    """
    unet = under(state, UNET)
    if not unet or any(other_family(key) for key in state):
        raise BadWeights(_refusal(state))
    averages = {key: value for key, value in state.items() if key.startswith(EMA)}
    if ema and len(averages) > 2:  # a counter and a decay alone are no averages
        unet = _averaged(unet, averages)
    scale = state.get("scale_factor")
    known = (UNET, FIRST_STAGE, TEXT, EMA)
    return Parts(
        unet=unet,
        first_stage=under(state, FIRST_STAGE),
        text=under(state, TEXT),
        betas=noise_schedule(state),
        prediction="v" if "v_pred" in state else None,
        scale_factor=float(scale) if scale is not None and scale.numel() == 1 else None,
        ignored=tuple(key for key in state if not key.startswith(known) and key not in BUFFERS),
    )


BUFFERS = frozenset(
    ("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
     "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
     "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar",
     "scale_factor", "v_pred")
)  # fmt: skip
"""Names of no network in the files of CompVis."""


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _averaged(unet: Mapping[str, Tensor], averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The U-Net with its averaged weights, whose names have lost their dots."""
    names = {key: EMA + ("diffusion_model." + key).replace(".", "") for key in unet}
    missing = [name for name in names.values() if name not in averages]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing[:3])
        raise BadWeights(
            f"The checkpoint has averaged weights, but lacks {len(missing)} of them ({named}); leave them aside."
        )
    return {key: averages[name] for key, name in names.items()}


def noise_schedule(state: Mapping[str, Tensor]) -> Tensor | None:
    """The noise schedule of the file; None where it has none."""
    for key, convert in (("betas", None), ("alphas_cumprod", betas_from_alphas_cumprod)):
        table = state.get(key)
        if table is None:
            continue
        betas = table.double() if convert is None else convert(table)
        if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
            raise BadWeights(f"The noise schedule '{key}' of the checkpoint has numbers that no schedule has.")
        return betas
    return None


def other_family(key: str) -> str | None:
    """The family that a key belongs to, if it is not Stable Diffusion 1 or 2."""
    return next((family for start, family in OTHERS.items() if key.startswith(start)), None)


def _refusal(state: Mapping[str, Tensor]) -> str:
    """Why a file is no whole checkpoint of Stable Diffusion."""
    family = next((found for key in state if (found := other_family(key))), None)
    if family is not None:
        return f"The weights are those of {family}, not a checkpoint of Stable Diffusion 1 or 2."
    if ldm_unet.detect(state):
        return "The weights are a U-Net alone; a whole checkpoint of Stable Diffusion also has the other parts."
    if kl.detect(state):
        return "The weights are an autoencoder alone; a whole checkpoint of Stable Diffusion also has the other parts."
    if clip.detect_text(state):
        return "The weights are a CLIP; a whole checkpoint of Stable Diffusion also has the other parts."
    shown = ", ".join(printable(key, 60) for key in list(state)[:3])
    return f"The weights are no checkpoint of Stable Diffusion 1 or 2 (their tensors are {shown}, ...)."
