"""Engines turn a wish into a denoiser over their own latents: one file a family of generators.

`ENGINES` maps the class of a network to the engine that paints with it; a new generator is one file and one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.tasks.latent_options import check_no_latent_options

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lienzo.tasks.create import Create
    from lienzo.tasks.engines.base import Engine

ENGINES = Names(
    "engine",
    {
        "CodePainter": "lienzo.tasks.engines.painter:open_painter",
        "OwnPainter": "lienzo.tasks.engines.painter:open_own_painter",
        "Adm": "lienzo.tasks.engines.adm:open_adm",
        "ClassCondUnet": "lienzo.tasks.engines.classes:open_classes",
        "ShuffleUnet": "lienzo.tasks.engines.classes:open_classes",
        "DiT": "lienzo.tasks.engines.classes:open_classes",
        "LatentPainter": "lienzo.tasks.engines.latent_painter:open_latent_painter",
    },
)


PARTS = {"LdmUnet": "the U-Net of a latent diffusion", "AutoencoderKL": "an autoencoder", "CLIP": "a CLIP"}
"""Networks that cannot paint by themselves, as a sentence calls them."""


def engine_for(model: nn.Module, options: Create, device: torch.device) -> Engine:
    """The engine of a network.

    Raises:
        BadInput: the network does not generate pictures.
    """
    check_no_latent_options(options, f"'{options.model}'")
    kind = type(model).__name__
    if kind in PARTS:
        raise BadInput(f"'{options.model}' is {PARTS[kind]} alone; give the whole checkpoint it is a part of.")
    if kind not in ENGINES:
        raise BadInput(f"'{options.model}' is a {kind}, which does not paint; take painter or a checkpoint.")
    return ENGINES.load(kind)(model, options, device)
