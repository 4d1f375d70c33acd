"""Recognising a foreign weight file by the names and shapes of its tensors."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.core.tables import Names
from lienzo.core.text import printable

FORMATS = Names(
    "weight format",
    {
        "clip": "lienzo.clip.model",
        "siglip": "lienzo.clip.siglip",
        "ldm-unet": "lienzo.diffusion.ldm_unet",
        "adm": "lienzo.diffusion.adm_checkpoints",
        "disco-secondary": "lienzo.diffusion.secondary",
        "classcond-unet": "lienzo.diffusion.classcond_unet",
        "dit": "lienzo.diffusion.dit",
        "swinir": "lienzo.upscaling.swinir",
        "inception-v3": "lienzo.metrics.nets.inception",
        "efficientnet-lite0": "lienzo.nn.efficientnet_lite0",
        "lpips": "lienzo.metrics.lpips",
        "vqgan": "lienzo.autoencoders.vqgan",
        "gumbel-vqgan": "lienzo.autoencoders.gumbel",
        "kl-autoencoder": "lienzo.autoencoders.kl",
        "dvae": "lienzo.autoencoders.dvae",
    },
)
"""Name -> module with `detect(state) -> bool` and `load(state, config=None) -> nn.Module`; first match wins.

`clip` and `siglip` also take the layouts of Hugging Face and open_clip, `adm` the U-Nets, upsamplers and classifiers
of guided-diffusion. The autoencoders come last: their rows also find them inside checkpoints of what works on their
latents.
"""


def identify(tensors: Mapping[str, Tensor]) -> tuple[str, ModuleType]:
    """The name and module of the first row of `FORMATS` that recognises these tensors.

    Raises:
        BadWeights: none does; the sentence shows some of the names.
    """
    for name in FORMATS:
        module = _module(FORMATS[name])
        if module is not None and module.detect(tensors):
            return name, module
    shown = ", ".join(printable(key, 60) for key in list(tensors)[:3])
    raise BadWeights(f"These weights are of no network that Lienzo knows (their tensors are {shown}, ...).")


def _module(address: str) -> ModuleType | None:
    """The module at an address; None where this installation lacks it, so that other rows still work."""
    try:
        found = importlib.util.find_spec(address)
    except ModuleNotFoundError:
        return None
    return import_module(address) if found else None
