"""What VQGAN, its Gumbel variant and the KL autoencoder share: the two halves, and reading their public files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lienzo.autoencoders.encoder_decoder import MAX_BLOCKS, MAX_LEVELS, Decoder, Encoder, Structure
from lienzo.autoencoders.first_stage import check_images, check_latents
from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.loading import fill_exactly

PREFIXES = ("", "first_stage_model.")
"""Before the names of an autoencoder of its own, and of one inside a checkpoint of what works on its latents."""
OWN = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
NEEDED = ("encoder.conv_in.weight", "encoder.conv_out.weight", "decoder.conv_in.weight", "decoder.conv_out.weight")
RESOLUTION = 256
"""Picture size of nearly all public files; the shapes do not tell it, and only levels with attention refer to it."""


class ConvolutionalStage(nn.Module):
    """An encoder and a decoder with something between them that the heirs say.

    Latents are features between the two halves, less `shift_factor`, times `scale_factor`.

    Raises:
        BadInput: the settings do not fit together.
    """

    def __init__(self, ddconfig: Mapping[str, Any], channels: int, scale_factor: float, shift_factor: float = 0.0):
        super().__init__()
        self.structure = Structure.of(ddconfig)
        if type(channels) is not int or channels < 1:
            raise BadInput(f"Latents have one channel or more, not {channels}.")
        if not all(isinstance(f, int | float) for f in (scale_factor, shift_factor)) or not 0 < scale_factor < 1e9:
            raise BadInput(f"The scale of latents is a number above 0, not {scale_factor}.")
        self.channels, self.scale_factor, self.shift_factor = channels, scale_factor, shift_factor
        self.config: dict[str, Any] = {}
        self.encoder, self.decoder = Encoder(self.structure), Decoder(self.structure)

    @property
    def factor(self) -> int:
        """Pixels a side for each position of the latent."""
        return self.structure.factor

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, in_channels, H, W) in [-1, 1] to latents (B, channels, H / factor, W / factor).

        Raises:
            BadInput: other channels, or smaller than `factor`.
        """
        check_images(images, self.structure.in_channels, self.factor)
        return self.from_encoder(self.encoder(images), generator)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, channels, h, w) to images (B, out_ch, h factor, w factor) in about [-1, 1].

        Raises:
            BadInput: other channels.
        """
        return self.decoder(self.to_decoder(latents))

    def from_encoder(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder gives, to latents."""
        raise NotImplementedError

    def to_decoder(self, latents: Tensor) -> Tensor:
        """Latents to what the decoder takes."""
        raise NotImplementedError

    def rescale(self, scale_factor: float, shift_factor: float = 0.0) -> None:
        """Change the units of the latents, as when their spread has been measured on a data set."""
        self.scale_factor, self.shift_factor = scale_factor, shift_factor
        self.config |= {"scale_factor": scale_factor}
        if "shift_factor" in self.config:
            self.config["shift_factor"] = shift_factor

    def _scaled(self, features: Tensor) -> Tensor:
        return (features - self.shift_factor) * self.scale_factor

    def _unscaled(self, latents: Tensor) -> Tensor:
        check_latents(latents, self.channels)
        return latents / self.scale_factor + self.shift_factor


Stage = TypeVar("Stage", bound=ConvolutionalStage)


def own_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the autoencoder of a checkpoint under plain names; losses, averages and other networks are left.

    Empty where there is no autoencoder of this family.
    """
    for prefix in PREFIXES:
        if all(prefix + key in state for key in NEEDED):
            names = (key.removeprefix(prefix) for key in state if key.startswith(prefix))
            return {name: state[prefix + name] for name in names if name.startswith(OWN) or name == "colorize"}
    return {}


def read_structure(own: Mapping[str, Tensor]) -> dict[str, Any]:
    """The `ddconfig` that shapes tell; attention levels refer to pictures of `RESOLUTION` pixels.

    Dropout, `tanh_out` and `give_pre_end` leave no trace.

    Raises:
        BadWeights: the tensors form no such encoder and decoder.
    """
    levels = _count(own, r"encoder\.down\.(\d+)\.block\.")
    blocks = _count(own, r"encoder\.down\.0\.block\.(\d+)\.")
    if not 1 <= levels <= MAX_LEVELS or not 1 <= blocks <= MAX_BLOCKS:
        raise BadWeights("The weights look like a VQGAN or KL autoencoder, but have no sensible number of blocks.")
    base, in_channels = _shape(own, "encoder.conv_in.weight")[:2]
    widths = [_shape(own, f"encoder.down.{level}.block.0.conv1.weight")[0] for level in range(levels)]
    if any(width % base for width in widths):
        raise BadWeights("The weights look like a VQGAN or KL autoencoder, but the widths of their levels do not fit.")
    z_channels = _shape(own, "decoder.conv_in.weight")[1]
    attending = [n for n in range(levels) if any(key.startswith(f"encoder.down.{n}.attn.0.") for key in own)]
    linear = "encoder.mid.attn_1.to_qkv.weight" in own
    vanilla = "encoder.mid.attn_1.q.weight" in own
    return {
        "ch": base,
        "out_ch": _shape(own, "decoder.conv_out.weight")[0],
        "num_res_blocks": blocks,
        "attn_resolutions": [max(RESOLUTION, 2**levels) >> level for level in attending],
        "in_channels": in_channels,
        "resolution": max(RESOLUTION, 2**levels),
        "z_channels": z_channels,
        "ch_mult": [width // base for width in widths],
        "resamp_with_conv": levels == 1 or "encoder.down.0.downsample.conv.weight" in own,
        "double_z": _shape(own, "encoder.conv_out.weight")[0] == 2 * z_channels,
        "attn_type": "vanilla" if vanilla else "linear" if linear else "none",
    }


def load_stage(
    make: Callable[[dict[str, Any]], Stage],
    own: Mapping[str, Tensor],
    read: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    what: str,
) -> Stage:
    """Build a stage on the meta device by `make(settings)` and fill it, in evaluation mode.

    Args:
        make: the class, called with all its settings.
        own: the tensors, see `own_tensors`.
        read: the settings that shapes tell, with a `ddconfig`.
        config: settings that win over `read`; its `ddconfig` may be partial.
        what: how errors name the network, such as "a VQGAN".

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    given = dict(config or {})
    ddconfig = given.pop("ddconfig", {})
    if not isinstance(ddconfig, Mapping):
        raise BadWeights(f"The settings of {what} have a ddconfig that is no set of settings.")
    settings = {**read, **given, "ddconfig": {**read["ddconfig"], **ddconfig}}
    try:
        structure = Structure.of(settings["ddconfig"])
        if (structure.levels, structure.num_res_blocks) != (
            len(read["ddconfig"]["ch_mult"]),
            read["ddconfig"]["num_res_blocks"],
        ):
            raise BadInput("they describe another number of blocks than the weights have.")
        with torch.device("meta"):
            empty = make(settings)
    except (BadInput, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise BadWeights(f"The settings of these weights make no {what.split(' ', 1)[1]}: {error}") from error
    return fill_exactly(empty, own, what).eval()


def stored_scale(state: Mapping[str, Tensor]) -> float | None:
    """The scale of the latents that a checkpoint of latent diffusion measured, if it holds one."""
    stored = state.get("scale_factor")
    if stored is None or stored.numel() != 1 or stored.is_meta or not 0 < float(stored) < 1e9:
        return None
    return float(stored)


def _count(own: Mapping[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, key) for key in own)
    return 1 + max((int(match[1]) for match in found if match and len(match[1]) < 4), default=-1)


def _shape(own: Mapping[str, Tensor], key: str) -> torch.Size:
    if key not in own or own[key].ndim != 4 or 0 in own[key].shape:
        raise BadWeights(f"The weights are not those of a VQGAN or KL autoencoder: '{key}' is missing or no kernel.")
    return own[key].shape
