"""GumbelVQ: the VQGAN whose codes are chosen by a categorical distribution, relaxed in training.

Esser et al. 2021 with the relaxation of Jang et al. 2017 and Ramesh et al. 2021 (DALL-E). Latents are vectors of the
codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.autoencoders.convolutional import ConvolutionalStage, load_stage, own_tensors, read_structure
from lienzo.autoencoders.first_stage import check_images
from lienzo.autoencoders.vector_quantizer import Quantizer, straight_through, vectors_of
from lienzo.autoencoders.vqgan import check_codebook
from lienzo.core.errors import BadInput, BadWeights


class GumbelQuantizer(Quantizer):
    """Chooses a code for each position by logits.

    Args:
        channels: width of the features.
        embed_dim: width of a code.
        n_embed: number of codes.
        straight_through: in training, give the chosen code forward and the relaxed one backward; otherwise the
            relaxed mixture of codes.
        kl_weight: weight of the divergence from uniform use of the codes.
        temp_init: temperature of the relaxation where `forward` is given none.
        remap, unknown_index: see `Quantizer`.
    """

    def __init__(
        self,
        channels: int,
        embed_dim: int,
        n_embed: int,
        straight_through: bool = True,
        kl_weight: float = 5e-4,
        temp_init: float = 1.0,
        remap: Sequence[int] | None = None,
        unknown_index: str | int = "random",
    ):
        super().__init__(n_embed, remap, unknown_index)
        self.straight_through, self.kl_weight, self.temperature = straight_through, kl_weight, temp_init
        self.proj = nn.Conv2d(channels, n_embed, 1)
        self.embed = nn.Embedding(n_embed, embed_dim)

    def forward(
        self, z: Tensor, temperature: float | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, channels, h, w) to codes (B, embed_dim, h, w), the loss, and the indices (B, h, w).

        Args:
            z: features.
            temperature: of the relaxation, above 0.
            noise: (B, n_embed, h, w) of the standard Gumbel distribution, see `gumbel_noise`; None takes the
                likeliest code. Of a numbering, only the used codes' share counts.
        """
        logits = self.proj(z)
        if self.remaps:
            logits, noise = logits[:, self.used], None if noise is None else noise[:, self.used]
        tau = self.temperature if temperature is None else temperature
        soft = ((logits if noise is None else logits + noise) / tau).softmax(dim=1)  # (B, codes, h, w)
        chosen = soft.argmax(dim=1)
        if self.straight_through or not self.training:
            one_hot = F.one_hot(chosen, soft.shape[1]).permute(0, 3, 1, 2).to(soft.dtype)
            weights = one_hot + soft - soft.detach()
        else:
            weights = soft
        codebook = self.embed.weight[self.used] if self.remaps else self.embed.weight
        quantized = torch.einsum("bnhw,nd->bdhw", weights, codebook)
        share = logits.softmax(dim=1)
        loss = self.kl_weight * (share * (share * self.n_embed + 1e-10).log()).sum(dim=1).mean()
        return quantized, loss, self.renumbered(self.used[chosen]) if self.remaps else chosen

    def codes(self, z: Tensor) -> Tensor:
        """Features (B, channels, h, w) to the indices (B, h, w) of the likeliest codes."""
        logits = self.proj(z)
        return self.used[logits[:, self.used].argmax(dim=1)] if self.remaps else logits.argmax(dim=1)

    def look_up(self, indices: Tensor, shape: Sequence[int]) -> Tensor:
        """Codes (B, embed_dim, h, w) of indices, for a `shape` of (B, h, w, embed_dim)."""
        return vectors_of(self.original(indices).reshape(tuple(shape[:3])), self.embed.weight)


def gumbel_noise(shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel noise on the CPU."""
    exponential = torch.empty(tuple(shape)).exponential_(generator=generator)
    return -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()


class GumbelVQ(ConvolutionalStage):
    """A VQGAN with a Gumbel quantiser.

    Args:
        ddconfig: the fields of `encoder_decoder.Structure`.
        n_embed: number of codes.
        embed_dim: width of a code, channels of the latents, and width of the features between `quant_conv` and the
            quantiser, which expects them `z_channels` wide: so both are equal.
        kl_weight, straight_through, temp_init: see `GumbelQuantizer`.
        remap, unknown_index: a numbering of the used codes, see `Quantizer`.
        colorize_nlabels: number of labels of a network for segmentation maps; they have a random colour each.
        scale_factor: what codes are multiplied by to become latents.

    Raises:
        BadInput: the settings do not fit together.
    """

    def __init__(
        self,
        ddconfig: Mapping[str, Any],
        n_embed: int,
        embed_dim: int,
        kl_weight: float = 1e-8,
        straight_through: bool = True,
        temp_init: float = 1.0,
        remap: Sequence[int] | None = None,
        unknown_index: str | int = "random",
        colorize_nlabels: int | None = None,
        scale_factor: float = 1.0,
    ):
        super().__init__(ddconfig, embed_dim, scale_factor)
        check_codebook(self.structure, n_embed, embed_dim)
        z_channels = self.structure.z_channels
        if z_channels != embed_dim:
            raise BadInput(f"A Gumbel VQGAN has codes as wide as its z_channels, {z_channels}, not {embed_dim}.")
        self.config = {
            "ddconfig": self.structure.plain(), "n_embed": n_embed, "embed_dim": embed_dim, "kl_weight": kl_weight,
            "straight_through": straight_through, "temp_init": temp_init,
            "remap": None if remap is None else list(remap), "unknown_index": unknown_index,
            "colorize_nlabels": colorize_nlabels, "scale_factor": scale_factor,
        }  # fmt: skip
        self.quantize = GumbelQuantizer(
            z_channels, embed_dim, n_embed, straight_through, kl_weight, temp_init, remap, unknown_index
        )
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        if colorize_nlabels is not None:
            self.register_buffer("colorize", torch.randn(3, colorize_nlabels, 1, 1))

    @property
    def codebook(self) -> Tensor:
        """(n_embed, embed_dim), in the units of the latents."""
        return self.quantize.embed.weight * self.scale_factor

    def from_encoder(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder gives, to the likeliest codes."""
        return self.from_codes(self.quantize.codes(self.quant_conv(features)))

    def to_decoder(self, latents: Tensor) -> Tensor:
        """Latents, moved to their nearest codes straight-through, to what the decoder takes."""
        return self.post_quant_conv(straight_through(self._unscaled(latents), self.quantize.embed.weight))

    def codes(self, images: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) in [-1, 1] to the indices (B, H / factor, W / factor) of their codes."""
        check_images(images, self.structure.in_channels, self.factor)
        return self.quantize.codes(self.quant_conv(self.encoder(images)))

    def from_codes(self, codes: Tensor) -> Tensor:
        """Indices (B, h, w) of the codebook to latents (B, embed_dim, h, w)."""
        return vectors_of(codes, self.codebook)

    def forward(
        self, images: Tensor, temperature: float | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, in_channels, H, W) to their reconstruction, the quantiser's loss, and the indices (B, h, w)."""
        quantized, loss, indices = self.quantize(self.quant_conv(self.encoder(images)), temperature, noise)
        return self.decoder(self.post_quant_conv(quantized)), loss, indices


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds a GumbelVQ, alone or in a larger checkpoint."""
    return {"quantize.embed.weight", "quantize.proj.weight"} <= own_tensors(state).keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> GumbelVQ:
    """The network with the weights of `state`, in evaluation mode.

    Args:
        state: key to tensor, under the public names; losses and other networks of a checkpoint are left aside.
        config: arguments of `GumbelVQ` that win over what the shapes tell; its `ddconfig` may be partial.

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    own = own_tensors(state)
    if "quantize.embed.weight" not in own or own["quantize.embed.weight"].ndim != 2:
        raise BadWeights("The weights are not those of a Gumbel VQGAN: 'quantize.embed.weight' is missing.")
    n_embed, embed_dim = own["quantize.embed.weight"].shape
    read: dict[str, Any] = {"ddconfig": read_structure(own), "n_embed": n_embed, "embed_dim": embed_dim}
    if "quantize.used" in own:
        read["remap"] = own["quantize.used"].tolist()
    if "colorize" in own:
        read["colorize_nlabels"] = own["colorize"].shape[1]
    return load_stage(lambda settings: GumbelVQ(**settings), own, read, config, "a Gumbel VQGAN")
