"""A first stage of latent diffusion and the discriminator that it is trained against, in one network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lienzo.autoencoders.gumbel import GumbelVQ
from lienzo.autoencoders.kl import AutoencoderKL, DiagonalGaussian
from lienzo.autoencoders.patch_discriminator import PatchDiscriminator
from lienzo.autoencoders.vector_quantizer import nearest_codes, vectors_of
from lienzo.autoencoders.vqgan import VQModel

Stage = VQModel | GumbelVQ | AutoencoderKL


class Between(NamedTuple):
    """What passes from the encoder to the decoder."""

    features: Tensor
    """(B, D, h, w), before they are quantised."""
    latents: Tensor
    """(B, D, h, w), as the decoder gets them."""
    loss: Tensor
    """Of the codebook, or the divergence from N(0, I) in nats a pixel value; a scalar."""
    codes: Tensor | None
    """(B, h, w)."""


class Round(NamedTuple):
    """One forward pass."""

    made: Tensor
    """Rebuilt pictures."""
    between: Between
    logvar: Tensor
    """Log variance of the reconstruction, a scalar; constant 0 where it is not learned."""
    idle: Tensor
    """0, with a gradient of 0 for every weight of the discriminator: all processes want each weight to have one."""
    logits: tuple[Tensor, Tensor, Tensor] | None
    """Of rebuilt pictures, with a gradient for the autoencoder alone; of real and of rebuilt ones, with a gradient for
    the discriminator alone. None where nobody judges."""


class Contest(nn.Module):
    """An autoencoder, and perhaps its discriminator.

    Args:
        stage: the autoencoder.
        discriminator: None to train without.
        averaged: the codebook of a VQGAN follows moving averages and learns by no gradient.
        learn_logvar: learn one variance of all pixels, as latent diffusion's KL autoencoders do.
    """

    def __init__(
        self,
        stage: Stage,
        discriminator: PatchDiscriminator | None,
        *,
        averaged: bool = False,
        learn_logvar: bool = False,
    ):
        super().__init__()
        self.stage, self.discriminator, self.averaged = stage, discriminator, averaged
        if averaged and isinstance(stage, VQModel):
            stage.quantize.embedding.weight.requires_grad_(False)
        if learn_logvar:
            self.logvar = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("logvar", torch.zeros(()), persistent=False)

    @property
    def last_layer(self) -> Tensor:
        """The weight by which the adaptive weight measures the pull of both losses."""
        return self.stage.decoder.conv_out.weight

    def forward(self, images: Tensor, judging: bool, temperature: float | None = None) -> Round:
        """Rebuild images (B, 3, H, W) in [-1, 1] and, where `judging`, let the discriminator look at both.

        Args:
            images: the pictures.
            judging: whether the discriminator takes part.
            temperature: of a Gumbel quantiser.
        """
        between = self._between(images, temperature)
        made = self.stage.decoder(self.stage.post_quant_conv(between.latents))
        idle, logits = made.new_zeros((), dtype=torch.float32), None
        net = self.discriminator
        if net is not None:
            idle = 0 * torch.stack([value.sum() for value in net.parameters()]).sum()
        if net is not None and judging:
            fixed = {name: value.detach() for name, value in net.named_parameters()}
            logits = functional_call(net, fixed, (made,)), net(images), net(made.detach())
        return Round(made, between, self.logvar.clamp(-30.0, 20.0), idle, logits)

    def _between(self, images: Tensor, temperature: float | None) -> Between:
        stage = self.stage
        encoded = stage.encoder(images)
        features = stage.quant_conv(encoded)
        with torch.autocast(
            "cuda" if images.is_cuda else "cpu", enabled=False
        ):  # distances of codes need all their digits
            features = features.float()
            if isinstance(stage, VQModel):
                return self._nearest(stage, features)
            if isinstance(stage, GumbelVQ):
                shape = (len(features), stage.quantize.n_embed, *features.shape[2:])
                noise = -features.new_empty(shape).exponential_().clamp_min(1e-30).log()
                latents, loss, codes = stage.quantize(features, temperature, noise)
                return Between(features, latents, loss, codes)
            posterior = DiagonalGaussian.of(features)
            latents = posterior.sample(torch.randn_like(posterior.mean))
            return Between(posterior.mean, latents, posterior.kl().mean() / images[0].numel(), None)

    def _nearest(self, stage: VQModel, z: Tensor) -> Between:
        codebook = stage.quantize.embedding.weight
        codes = nearest_codes(z, codebook)
        quantized = vectors_of(codes, codebook)
        loss = stage.quantize.beta * (quantized.detach() - z).square().mean()
        if not self.averaged:
            loss = loss + (quantized - z.detach()).square().mean()
        return Between(z, z + (quantized - z).detach(), loss, codes)
