"""Opening whole checkpoints of Stable Diffusion 1 and 2: U-Net, autoencoder, text encoder and noise schedule.

Two layouts are read: one file in the names of CompVis (`model.diffusion_model.`, `first_stage_model.`,
`cond_stage_model.`), as a Lightning `.ckpt` or as safetensors, with the `.yaml` of its name that lies beside it, if
any; and the folder of diffusers (`unet/`, `vae/`, `text_encoder/`, `scheduler/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lienzo.autoencoders import kl
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.clip import model as clip
from lienzo.clip.long_prompts import encode_prompts
from lienzo.clip.textual_inversion import Words
from lienzo.clip.tokenizer import END
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.diffusion import ldm_unet
from lienzo.diffusion.denoiser import DiscreteDenoiser
from lienzo.diffusion.diffusers_keys import is_diffusers_vae, vae_to_ldm
from lienzo.diffusion.ldm_shapes import PREFIX as UNET
from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.diffusion.schedules import stable_diffusion
from lienzo.diffusion.sd_folders import read_folder
from lienzo.diffusion.sd_parts import TEXT, Parts, Prediction, other_family, read_single, under
from lienzo.diffusion.sd_settings import with_settings
from lienzo.weights.reading import read_weights

SCALE = 0.18215


@dataclass(frozen=True)
class StableDiffusion:
    """The parts of a text-to-picture latent diffusion, in evaluation mode.

    Attributes:
        unet: its `in_channels` are those of the latents, or 9 for inpainting.
        first_stage: latents of about unit variance to pictures and back.
        text_encoder: CLIP's text tower.
        betas: the noise schedule (T,), float64.
        prediction: what the U-Net predicts. Files of CompVis do not tell it.
        text_skip: blocks of the text encoder that are left out at its end.
        text_pad: the token that prompts are filled up with.
        ignored: names in the file that are of no part.
        latent_size: positions a side of the latents that it was trained on, where the file's settings tell.
        settings: the file of settings that was followed.
        words: learned words; see `clip.textual_inversion`.
    """

    unet: LdmUnet
    first_stage: AutoencoderKL
    text_encoder: TextTower
    betas: Tensor
    prediction: Prediction = "eps"
    text_skip: int = 0
    text_pad: int = END
    ignored: tuple[str, ...] = ()
    latent_size: int | None = None
    settings: Path | None = None
    words: Words = field(default_factory=dict)

    def model(self) -> DiscreteDenoiser:
        """`denoised = model(x, sigma, context=..., concat=...)` over latents x (B, C, h, w)."""
        return DiscreteDenoiser(self.unet, self.betas, prediction=self.prediction)

    def context(
        self,
        prompts: Sequence[str],
        *,
        clip_skip: int = 1,
        weighting: Literal["mean", "empty", "none"] = "mean",
    ) -> Tensor:
        """What the U-Net is told of prompts of any length, (B, 77 n, W); see `long_prompts`.

        Args:
            prompts: texts, negative ones among them, so that all become equally long.
            clip_skip: as the field counts: 1 is the last layer that the model was trained with, 2 the one before.
            weighting: how weights in brackets work.

        Raises:
            BadInput: a weight or `clip_skip` does not fit.
        """
        if clip_skip < 1:
            raise BadInput(f"clip_skip was {clip_skip}; it counts from 1, the last layer.")
        skip = self.text_skip + clip_skip - 1
        return encode_prompts(
            self.text_encoder, prompts, skip=skip, pad=self.text_pad, weighting=weighting, words=self.words
        )


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a whole checkpoint of Stable Diffusion 1 or 2, in the names of CompVis."""
    whole = all(any(key.startswith(prefix) for key in state) for prefix in (UNET, TEXT))
    return whole and ldm_unet.detect(state) and not any(other_family(key) for key in state)


def open_checkpoint(
    path: str | Path,
    *,
    ema: bool = True,
    prediction: Prediction | None = None,
    scale_factor: float | None = None,
    vae: str | Path | None = None,
) -> StableDiffusion:
    """The parts of a checkpoint: one file, or a folder of diffusers.

    Args:
        path: the file or folder.
        ema: take the averaged weights of the U-Net where the file has them, as one samples with them.
        prediction: what the U-Net predicts, ``eps`` or ``v`` (Stable Diffusion 2 at 768 px), where the file does not
            tell; ``eps`` by default.
        scale_factor: of the latents, where the file does not tell; 0.18215 by default.
        vae: a file with another autoencoder instead of the checkpoint's own.

    Raises:
        BadWeights: a part is missing, has other keys or shapes, or holds numbers that are not finite; or the file is
            of another family, which the sentence names.
        BadInput: `prediction` has no such value.
    """
    if prediction not in (None, "eps", "v"):
        raise BadInput(f"Option 'prediction' was '{prediction}'; it should be eps or v.")
    path = Path(path)
    if path.is_dir():
        found = read_folder(path)
    else:
        found = with_settings(read_single(read_weights(path).tensors, ema=ema), path)
    if vae is not None:
        found.first_stage = read_weights(vae).tensors
    return assemble(found, prediction=prediction, scale_factor=scale_factor)


def assemble(
    found: Parts, *, prediction: Prediction | None = None, scale_factor: float | None = None
) -> StableDiffusion:
    """The networks of the parts.

    Raises:
        BadWeights: see `open_checkpoint`.
    """
    for name, part in (("U-Net", found.unet), ("autoencoder", found.first_stage), ("text encoder", found.text)):
        if not part:
            raise BadWeights(f"The checkpoint has no {name}; give one that holds U-Net, autoencoder and text encoder.")
        _check_finite(part, name)
    scale = next((each for each in (scale_factor, found.scale_factor) if each is not None), SCALE)
    unet = ldm_unet.load(found.unet, found.unet_config)
    text = _text_encoder(found.text, found.text_config)
    if text.config["width"] != unet.context_dim:
        raise BadWeights(
            f"The text encoder gives {text.config['width']} numbers a token, and the U-Net takes {unet.context_dim}."
        )
    second = not text.config["quick_gelu"]
    first_stage = vae_to_ldm(found.first_stage) if is_diffusers_vae(found.first_stage) else found.first_stage
    return StableDiffusion(
        unet=unet,
        first_stage=kl.load(first_stage, {"scale_factor": scale}),
        text_encoder=text,
        betas=stable_diffusion() if found.betas is None else found.betas,
        prediction=prediction or found.prediction or "eps",
        text_skip=int(second) if found.text_skip is None else found.text_skip,
        text_pad=(0 if second else END) if found.text_pad is None else found.text_pad,
        ignored=found.ignored,
        latent_size=found.latent_size,
        settings=found.settings,
    )


def _text_encoder(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> TextTower:
    """The text tower: of Hugging Face in version 1, of open_clip (with the exact GELU) in version 2."""
    open_clip = any(key.startswith("model.") for key in state)
    own = {key.removeprefix("model.").removeprefix("transformer."): value for key, value in state.items()}
    if open_clip:
        own = under(state, "model.")
        config = {"quick_gelu": False} if config is None else config
    return clip.load_text(own, config)


def _check_finite(part: Mapping[str, Tensor], name: str) -> None:
    bad = [key for key, value in part.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        named = ", ".join(f"'{printable(key, 80)}'" for key in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        hold = "holds" if len(bad) == 1 else "hold"
        raise BadWeights(f"The {name} of the checkpoint is damaged: {named}{more} {hold} numbers that are not finite.")
