"""The KL autoencoder of latent diffusion and Stable Diffusion (Rombach et al. 2022): a VAE with a tiny KL weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.autoencoders.convolutional import ConvolutionalStage, load_stage, own_tensors, read_structure, stored_scale
from lienzo.core.errors import BadInput, BadWeights

SD_SCALE = 0.18215
SDXL_SCALE = 0.13025
SD3_SCALE, SD3_SHIFT = 1.5305, 0.0609
FLUX_SCALE, FLUX_SHIFT = 0.3611, 0.1159


@dataclass(frozen=True)
class DiagonalGaussian:
    """A normal distribution of independent numbers, one distribution an item of the batch.

    Attributes:
        mean: (B, C, h, w).
        logvar: log variance, of the same shape, kept within [-30, 20] by `of`.
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def of(cls, moments: Tensor) -> DiagonalGaussian:
        """From means and log variances, one after the other in the channels (B, 2 C, h, w)."""
        mean, logvar = moments.chunk(2, dim=1)
        return cls(mean, logvar.clamp(-30.0, 20.0))

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation."""
        return (0.5 * self.logvar).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """The sample that standard normal `noise` stands for; differentiable."""
        return self.mean + self.std * noise

    def kl(self, other: DiagonalGaussian | None = None) -> Tensor:
        """Divergence (B,) from the standard normal distribution, or from another one, in nats summed over an item."""
        variance = self.logvar.exp()
        if other is None:
            return 0.5 * (self.mean.square() + variance - 1 - self.logvar).sum(dim=(1, 2, 3))
        distance = (self.mean - other.mean).square() + variance
        return 0.5 * (distance / other.logvar.exp() - 1 - self.logvar + other.logvar).sum(dim=(1, 2, 3))

    def nll(self, sample: Tensor) -> Tensor:
        """Negative log likelihood (B,) of a sample, in nats summed over an item."""
        error = (sample - self.mean).square() / self.logvar.exp()
        return 0.5 * (math.log(2 * math.pi) + self.logvar + error).sum(dim=(1, 2, 3))


class AutoencoderKL(ConvolutionalStage):
    """Encodes to a normal distribution of latents.

    Args:
        ddconfig: the fields of `encoder_decoder.Structure`; `double_z` is true.
        embed_dim: channels of the latents; None leaves out the 1x1 convolutions between the halves (Stable Diffusion
            3, Flux), so that the latents have `z_channels`.
        colorize_nlabels: number of labels of a network for segmentation maps; they have a random colour each.
        scale_factor, shift_factor: latents are features less the shift, times the scale.

    Raises:
        BadInput: the settings do not fit together.
    """

    def __init__(
        self,
        ddconfig: Mapping[str, Any],
        embed_dim: int | None,
        colorize_nlabels: int | None = None,
        scale_factor: float = 1.0,
        shift_factor: float = 0.0,
    ):
        width = ddconfig.get("z_channels", 0) if embed_dim is None else embed_dim
        super().__init__(ddconfig, width, scale_factor, shift_factor)
        if not self.structure.double_z:
            raise BadInput("The encoder of a KL autoencoder gives means and variances: its double_z is true.")
        self.config = {
            "ddconfig": self.structure.plain(), "embed_dim": embed_dim, "colorize_nlabels": colorize_nlabels,
            "scale_factor": scale_factor, "shift_factor": shift_factor,
        }  # fmt: skip
        self.between = embed_dim is not None
        if self.between:
            self.quant_conv = nn.Conv2d(2 * self.structure.z_channels, 2 * width, 1)
            self.post_quant_conv = nn.Conv2d(width, self.structure.z_channels, 1)
        if colorize_nlabels is not None:
            self.register_buffer("colorize", torch.randn(3, colorize_nlabels, 1, 1))

    def posterior(self, images: Tensor) -> DiagonalGaussian:
        """The distribution of the features (not scaled to latents) of images (B, in_channels, H, W) in [-1, 1]."""
        return self._posterior(self.encoder(images))

    def from_encoder(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder gives, to latents: the mean, or a sample where there is a generator."""
        posterior = self._posterior(features)
        if generator is None:
            return self._scaled(posterior.mean)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=generator.device)
        return self._scaled(posterior.sample(noise.to(posterior.mean)))

    def to_decoder(self, latents: Tensor) -> Tensor:
        """Latents to what the decoder takes."""
        features = self._unscaled(latents)
        return self.post_quant_conv(features) if self.between else features

    def forward(self, images: Tensor, noise: Tensor | None = None) -> tuple[Tensor, DiagonalGaussian]:
        """Images to their reconstruction and their posterior.

        Args:
            images: (B, in_channels, H, W) in [-1, 1].
            noise: standard normal, (B, channels, h, w); None decodes the mean.
        """
        posterior = self.posterior(images)
        features = posterior.mean if noise is None else posterior.sample(noise)
        return self.decoder(self.post_quant_conv(features) if self.between else features), posterior

    def _posterior(self, features: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.of(self.quant_conv(features) if self.between else features)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds a KL autoencoder, alone or in a larger checkpoint."""
    own = own_tensors(state)
    if not own or any(key.startswith("quantize.") for key in own):
        return False
    return own["encoder.conv_out.weight"].shape[0] == 2 * own["decoder.conv_in.weight"].shape[1]


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> AutoencoderKL:
    """The network with the weights of `state`, in evaluation mode.

    The scale comes from `config`; else from the checkpoint, if it holds a `scale_factor`; else it is that of the
    public network of these shapes: Stable Diffusion 1 and 2 (XL and 3 where the checkpoint holds them too), or Flux.

    Args:
        state: key to tensor, under the public names; losses and other networks of a checkpoint are left aside.
        config: arguments of `AutoencoderKL` that win over what the shapes tell; its `ddconfig` may be partial.

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    own = own_tensors(state)
    if not detect(state):
        raise BadWeights("The weights are not those of a KL autoencoder, whose encoder gives means and variances.")
    read: dict[str, Any] = {"ddconfig": read_structure(own), "embed_dim": None}
    if "post_quant_conv.weight" in own and own["post_quant_conv.weight"].ndim == 4:
        read["embed_dim"] = own["post_quant_conv.weight"].shape[1]
    if "colorize" in own:
        read["colorize_nlabels"] = own["colorize"].shape[1]
    read["scale_factor"], read["shift_factor"] = _units(state, read)
    return load_stage(lambda settings: AutoencoderKL(**settings), own, read, config, "a KL autoencoder")


def _units(state: Mapping[str, Tensor], read: Mapping[str, Any]) -> tuple[float, float]:
    """Scale and shift of the latents of a checkpoint."""
    stored = stored_scale(state)
    if stored is not None:
        return stored, 0.0
    ddconfig = read["ddconfig"]
    if (ddconfig["ch"], ddconfig["ch_mult"], ddconfig["num_res_blocks"]) != (128, [1, 2, 4, 4], 2):
        return 1.0, 0.0
    if ddconfig["z_channels"] == 4 and read["embed_dim"] == 4:
        xl = any(key.startswith("conditioner.") for key in state)
        return (SDXL_SCALE if xl else SD_SCALE), 0.0
    if ddconfig["z_channels"] == 16:
        third = any(".joint_blocks." in key for key in state)
        return (SD3_SCALE, SD3_SHIFT) if third else (FLUX_SCALE, FLUX_SHIFT)
    return 1.0, 0.0
