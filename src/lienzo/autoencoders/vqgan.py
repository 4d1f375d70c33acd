"""VQGAN (Esser et al. 2021), and its use as the first stage of latent diffusion (Rombach et al. 2022).

Latents are the encoder's features before they are quantised; `decode` quantises them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.autoencoders.convolutional import ConvolutionalStage, load_stage, own_tensors, read_structure, stored_scale
from lienzo.autoencoders.encoder_decoder import Structure
from lienzo.autoencoders.vector_quantizer import VectorQuantizer, nearest_codes, straight_through, vectors_of
from lienzo.core.errors import BadInput, BadWeights

AVERAGES = ("quantize.embedding.cluster_size", "quantize.embedding.embed_avg")
"""Running sums of codebooks that were trained by moving averages; nothing but that training needs them."""


def check_codebook(structure: Structure, n_embed: int, embed_dim: int) -> None:
    """Refuse settings that make no quantised autoencoder.

    Raises:
        BadInput: a size is no whole number from 1 up, or the encoder gives means and variances.
    """
    if structure.double_z:
        raise BadInput("The encoder of a VQGAN gives no variances: its double_z is false.")
    if any(type(size) is not int or size < 1 for size in (n_embed, embed_dim)):
        raise BadInput(f"A codebook has 1 or more codes of width 1 or more, not {n_embed} of {embed_dim}.")


class VQModel(ConvolutionalStage):
    """VQGAN: an encoder, a codebook and a decoder.

    Args:
        ddconfig: the fields of `encoder_decoder.Structure`.
        n_embed: number of codes.
        embed_dim: width of a code, and channels of the latents.
        beta, legacy: loss of the quantiser, see `VectorQuantizer`.
        remap, unknown_index: a numbering of the used codes, see `Quantizer`.
        sane_index_shape: `quantize` gives indices as (B, h, w) instead of in one row.
        colorize_nlabels: number of labels of a network for segmentation maps; they have a random colour each.
        scale_factor: what features are multiplied by to become latents.

    Raises:
        BadInput: the settings do not fit together.
    """

    colorize: Tensor

    def __init__(
        self,
        ddconfig: Mapping[str, Any],
        n_embed: int,
        embed_dim: int,
        beta: float = 0.25,
        legacy: bool = True,
        remap: Sequence[int] | None = None,
        unknown_index: str | int = "random",
        sane_index_shape: bool = False,
        colorize_nlabels: int | None = None,
        scale_factor: float = 1.0,
    ):
        super().__init__(ddconfig, embed_dim, scale_factor)
        check_codebook(self.structure, n_embed, embed_dim)
        self.config = {
            "ddconfig": self.structure.plain(), "n_embed": n_embed, "embed_dim": embed_dim, "beta": beta,
            "legacy": legacy, "remap": None if remap is None else list(remap), "unknown_index": unknown_index,
            "sane_index_shape": sane_index_shape, "colorize_nlabels": colorize_nlabels, "scale_factor": scale_factor,
        }  # fmt: skip
        z_channels = self.structure.z_channels
        self.quantize = VectorQuantizer(n_embed, embed_dim, beta, legacy, remap, unknown_index, sane_index_shape)
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        if colorize_nlabels is not None:
            self.register_buffer("colorize", torch.randn(3, colorize_nlabels, 1, 1))

    @property
    def codebook(self) -> Tensor:
        """(n_embed, embed_dim), in the units of the latents."""
        return self.quantize.embedding.weight * self.scale_factor

    def from_encoder(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder gives, to latents: not quantised."""
        return self._scaled(self.quant_conv(features))

    def to_decoder(self, latents: Tensor) -> Tensor:
        """Latents, quantised straight-through, to what the decoder takes."""
        return self.post_quant_conv(straight_through(self._unscaled(latents), self.quantize.embedding.weight))

    def decode_unquantised(self, latents: Tensor) -> Tensor:
        """As `decode`, but of latents as they are (`force_not_quantize` of latent diffusion)."""
        return self.decoder(self.post_quant_conv(self._unscaled(latents)))

    def codes(self, images: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) in [-1, 1] to the indices (B, H / factor, W / factor) of their codes."""
        latents = self.encode(images) / self.scale_factor
        return nearest_codes(latents, self.quantize.embedding.weight)

    def from_codes(self, codes: Tensor) -> Tensor:
        """Indices (B, h, w) of the codebook to latents (B, embed_dim, h, w)."""
        return vectors_of(codes, self.codebook)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, in_channels, H, W) to their reconstruction, the quantiser's loss, and the indices."""
        quantized, loss, indices = self.quantize(self.quant_conv(self.encoder(images)))
        return self.decoder(self.post_quant_conv(quantized)), loss, indices

    def to_rgb(self, segmentation: Tensor) -> Tensor:
        """A segmentation (B, labels, H, W) as a picture in [-1, 1] in the random colours of the labels."""
        x = nn.functional.conv2d(segmentation, self.colorize)
        return 2 * (x - x.min()) / (x.max() - x.min()) - 1


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds a VQGAN or a VQ first stage, alone or in a larger checkpoint."""
    return "quantize.embedding.weight" in own_tensors(state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> VQModel:
    """The network with the weights of `state`, in evaluation mode.

    Args:
        state: key to tensor, under the public names; losses and other networks of a checkpoint are left aside.
        config: arguments of `VQModel` that win over what the shapes tell; its `ddconfig` may be partial.

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    own = {key: value for key, value in own_tensors(state).items() if key not in AVERAGES}
    if "quantize.embedding.weight" not in own or own["quantize.embedding.weight"].ndim != 2:
        raise BadWeights("The weights are not those of a VQGAN: 'quantize.embedding.weight' is missing.")
    n_embed, embed_dim = own["quantize.embedding.weight"].shape
    read: dict[str, Any] = {"ddconfig": read_structure(own), "n_embed": n_embed, "embed_dim": embed_dim}
    read["scale_factor"] = stored_scale(state) or 1.0
    if "quantize.used" in own:
        read["remap"] = own["quantize.used"].tolist()
    if "colorize" in own:
        read["colorize_nlabels"] = own["colorize"].shape[1]
    return load_stage(lambda settings: VQModel(**settings), own, read, config, "a VQGAN")
