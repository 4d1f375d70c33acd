"""The network whose feature maps an autoencoder's pictures are compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lienzo.autoencoders.perceptual import Perceptual, unit_channels
from lienzo.clip.compact import CompactClip
from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256

if TYPE_CHECKING:
    from lienzo.metrics.lpips import LPIPS

STAGES = 4  # of a compact CLIP; later ones see things more than drawing


def open_perceptual(name: str) -> Perceptual | None:
    """The named network, or None for ``none``.

    Args:
        name: of a compact CLIP such as ``guide``, or the file of a whole LPIPS.

    Raises:
        BadInput: there is no such model, or it is another network.
    """
    if name == "none":
        return None
    path = resolve(name)
    return perceptual_of(load_model(path), f"{path.stem}-{sha256(path)[:8]}")


def perceptual_of(model: nn.Module, name: str) -> Perceptual:
    """The feature maps of a network, which moves to where the pictures are.

    With a whole LPIPS `map_distance` of the maps is the published measure.

    Args:
        model: a `CompactClip` or an `LPIPS`.
        name: for figures, and to know it again when a run is resumed.

    Raises:
        BadInput: it is another network.
    """
    model = model.eval().requires_grad_(False)
    if isinstance(model, CompactClip):
        clip = model

        def stages(x: Tensor) -> Sequence[Tensor]:
            maps = clip.to(x.device).stage_maps((x + 1) / 2)[:STAGES]
            return [unit_channels(each) / math.sqrt(len(maps)) for each in maps]

        return Perceptual(name, stages)
    from lienzo.metrics.lpips import LPIPS  # which brings CLIP's tokenizer; `train bundled` does without its packages

    if isinstance(model, LPIPS):
        lpips = model

        def layers(x: Tensor) -> Sequence[Tensor]:
            lpips.to(x.device)
            maps = lpips.net(lpips.scaling_layer(x) if lpips.config["version"] == "0.1" else x)
            return [weighed(lpips, number, unit_channels(each)) for number, each in enumerate(maps)]

        return Perceptual(name, layers)
    raise BadInput(
        f"'{printable(name)}' compares no pictures; --perceptual takes guide, another compact CLIP, the file of a "
        "whole LPIPS, or none."
    )


def weighed(model: LPIPS, number: int, maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) whose squared differences have the weights of a layer's head; these are not negative."""
    if not model.config["linear"]:
        return maps
    weight = model.get_parameter(f"lin{number}.model.1.weight")  # (1, C, 1, 1)
    return maps * weight.clamp_min(0).sqrt()
