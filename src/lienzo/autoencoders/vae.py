"""The network of every small autoencoder: encoder, decoder, and what some kinds have besides.

One code is one vector, so that all can be sampled, walked through and drawn alike; VQ-VAE's is its map of numbers
before the codebook, in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lienzo.autoencoders.latent_samplers import Prior, make_prior
from lienzo.autoencoders.vae_coders import ConvDecoder, ConvEncoder, MlpDecoder, MlpEncoder, Shape
from lienzo.autoencoders.vq import Codebook, EmaCodebook, Quantized
from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.loading import fill_exactly

NORMED = (nn.Linear, nn.Conv2d)


class Coded(NamedTuple):
    """What one pass gives.

    Attributes:
        reconstruction: (B, *S, C, H, W) in [0, 1]; S are draws for the same picture.
        z: (B, *S, D), what was decoded; with a codebook the codes.
        mean: (B, D), what was encoded.
        log_var: (B, D), or None where the code is a point.
        prior_mean: (K, D), the posteriors of the pseudo-inputs, if there are any.
        prior_log_var: (K, D).
        quantized: what the codebook says, if there is one.
        decoder_norm: (), sum of the squares of the decoder's weights.
    """

    reconstruction: Tensor
    z: Tensor
    mean: Tensor
    log_var: Tensor | None
    prior_mean: Tensor | None
    prior_log_var: Tensor | None
    quantized: Quantized | None
    decoder_norm: Tensor


@dataclass(frozen=True)
class Codes:
    """A codebook: `size` codes of `dim` numbers; moved by gradient, or with `ema` as averages with `decay`."""

    size: int = 512
    dim: int = 16
    ema: bool = True
    decay: float = 0.99


class Vae(nn.Module):
    """An autoencoder of small pictures.

    Args:
        input_shape: (C, H, W) of the pictures.
        latent: length of the code; ignored by a convolutional network with a codebook, whose map tells it.
        network: ``mlp`` (dense) or ``conv``.
        hidden: widths of the dense layers, mirrored in the decoder; none makes both linear.
        width: channels of the first convolutional level.
        levels: how often a convolutional network halves the picture; None for as often as is sensible.
        variational: whether a picture's code is a Gaussian.
        linear_output: no sigmoid at the end of the dense decoder.
        pseudo_inputs: how many learned pictures whose codes make the prior (VampPrior).
        spectral: hold the decoder's layers to a Lipschitz constant of 1 (spectral normalisation).
        codes: the fields of `Codes`, for a VQ-VAE.
        prior: what `lienzo.autoencoders.latent_samplers` fitted after training, as its `config`; None for N(0, I).

    Raises:
        BadInput: the arguments do not fit together.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        latent: int = 16,
        network: Literal["mlp", "conv"] = "mlp",
        hidden: Sequence[int] = (512,),
        width: int = 32,
        levels: int | None = None,
        variational: bool = True,
        linear_output: bool = False,
        pseudo_inputs: int = 0,
        spectral: bool = False,
        codes: Mapping[str, Any] | None = None,
        prior: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        book = None if codes is None else Codes(**codes)
        check(variational, pseudo_inputs, book, network, latent)
        self.config: dict[str, Any] = {
            "input_shape": list(input_shape), "latent": latent, "network": network, "hidden": list(hidden),
            "width": width, "levels": levels, "variational": variational, "linear_output": linear_output,
            "pseudo_inputs": pseudo_inputs, "spectral": spectral, "codes": book and asdict(book),
            "prior": None if prior is None else dict(prior),
        }  # fmt: skip
        self.shape: Shape = (input_shape[0], input_shape[1], input_shape[2])
        self.encoder: MlpEncoder | ConvEncoder
        self.decoder: MlpDecoder | ConvDecoder
        if network == "mlp":
            self.encoder = MlpEncoder(self.shape, latent, hidden, variational)
            self.decoder = MlpDecoder(self.shape, latent, hidden[::-1], linear_output)
            self.map = None if book is None else (book.dim, 1, latent // book.dim)
        else:
            length = latent if book is None else book.dim
            self.encoder = ConvEncoder(self.shape, length, width, levels, variational, book is not None)
            self.decoder = ConvDecoder(self.shape, length, width, levels, book is not None)
            self.map = None if book is None else (book.dim, *self.encoder.sizes[-1])
        self.latent = latent if self.map is None else self.map[0] * self.map[1] * self.map[2]
        if spectral:
            for layer in [module for module in self.decoder.modules() if isinstance(module, NORMED)]:
                spectral_norm(layer)
        self.quantizer = codebook(book)
        self.pseudo_inputs = pseudo_pictures(pseudo_inputs, self.shape)
        self.prior: Prior | None = None if prior is None else make_prior(prior, self.latent)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures (B, C, H, W) in [0, 1] to mean (B, D) and log variance (B, D), if there is one.

        Raises:
            BadInput: the pictures are of another size.
        """
        if x.shape[1:] != self.shape:
            wanted, given = ("x".join(map(str, shape)) for shape in (self.shape, x.shape[1:]))
            raise BadInput(f"This model takes pictures of {wanted} (channels, height, width), not {given}.")
        mean, log_var = self.encoder(x)
        return mean, log_var

    def decode(self, z: Tensor) -> Tensor:
        """Codes (..., D) to pictures (..., C, H, W) in [0, 1]; with a codebook, to those of the nearest codes."""
        flat = z.reshape(-1, self.latent)
        if self.quantizer is not None and self.map is not None:
            flat = self.quantizer(flat.unflatten(1, self.map)).z.flatten(1)
        return self._decoded(flat).unflatten(0, z.shape[:-1])

    def _decoded(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def components(self) -> tuple[Tensor, Tensor]:
        """Mean and log variance (K, D) of the pseudo-inputs' codes.

        Raises:
            BadInput: this model has none.
        """
        if self.pseudo_inputs is None:
            raise BadInput("Only a model with a VampPrior (kind vamp) has pseudo-inputs.")
        one = next(self.pseudo_inputs.parameters())
        pictures = self.pseudo_inputs(torch.eye(one.shape[1], dtype=one.dtype, device=one.device))
        mean, log_var = self.encode(pictures.unflatten(1, self.shape))
        assert log_var is not None
        return mean, log_var

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Coded:
        """Encode, draw, decode.

        Args:
            x: (B, C, H, W) in [0, 1].
            noise: standard normal (B, *S, D), one draw each; None decodes the mean.
        """
        mean, log_var = self.encode(x)
        z, quantized = mean, None
        if self.quantizer is not None and self.map is not None:
            quantized = self.quantizer(mean.unflatten(1, self.map))
            z = quantized.z.flatten(1)
        elif log_var is not None and noise is not None:
            lead = (len(x), *[1] * (noise.ndim - 2), self.latent)
            z = mean.reshape(lead) + noise * torch.exp(0.5 * log_var).reshape(lead)
        pictures = self._decoded(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        means, log_vars = (None, None) if self.pseudo_inputs is None else self.components()
        squares = [p.float().square().sum() for p in self.decoder.parameters()]
        return Coded(pictures, z, mean, log_var, means, log_vars, quantized, torch.stack(squares).sum())


def check(variational: bool, pseudo_inputs: int, book: Codes | None, network: str, latent: int) -> None:
    """Raises BadInput where arguments contradict each other."""
    if network not in ("mlp", "conv"):
        raise BadInput(f"The network of an autoencoder is mlp or conv, not '{network}'.")
    if variational and book is not None:
        raise BadInput("A model with a codebook has no variance.")
    if pseudo_inputs and not variational:
        raise BadInput("Pseudo-inputs need a variational model.")
    if book is not None and network == "mlp" and latent % book.dim:
        raise BadInput(f"The latent must be a multiple of the codes' length; {latent} is none of {book.dim}.")


def codebook(book: Codes | None) -> Codebook | EmaCodebook | None:
    """The module that a description asks for."""
    if book is None:
        return None
    return EmaCodebook(book.size, book.dim, book.decay) if book.ema else Codebook(book.size, book.dim)


def pseudo_pictures(count: int, shape: Shape) -> nn.Sequential | None:
    """Learned pictures, one for each row of the identity, kept in [0, 1]."""
    if not count:
        return None
    layer = nn.Linear(count, shape[0] * shape[1] * shape[2])
    if layer.weight.device.type != "meta":  # grey with some noise, so that they differ and have a gradient
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.constant_(layer.bias, 0.3)
    return nn.Sequential(layer, nn.Hardtanh(0.0, 1.0))


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a `Vae`; also of pythae's models with its default dense networks."""
    layers = {"encoder.layers.0.0.weight", "decoder.layers.0.0.weight"}
    return "encoder.embedding.weight" in state and (layers <= state.keys() or "encoder.levels.0.0.weight" in state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Vae:
    """The network in evaluation mode.

    Without a configuration, only dense networks are read, and square pictures of one or three channels assumed.

    Raises:
        BadWeights: keys or shapes do not fit.
    """
    config = dict(config) if config else inferred(state)
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = Vae(**{**config, "prior": None})
    model.config["prior"] = config.get("prior")
    if model.config["prior"] is not None:
        model.prior = make_prior(model.config["prior"], model.latent)
    return fill_exactly(model, state, "a small autoencoder").eval().requires_grad_(False)


def inferred(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of a dense network, read off its tensors.

    Raises:
        BadWeights: it is convolutional, or the pictures' shape cannot be told.
    """
    if "encoder.embedding.weight" not in state or "encoder.layers.0.0.weight" not in state:
        raise BadWeights("These weights are not those of a dense autoencoder, and nothing says what else they are.")
    count = sum(key.startswith("encoder.layers.") and key.endswith(".weight") for key in state)
    weights = [state[f"encoder.layers.{i}.0.weight"] for i in range(count)]
    pixels, shape = weights[0].shape[1], None
    for channels in (1, 3):
        side = isqrt(pixels // channels)
        if channels * side * side == pixels:
            shape = [channels, side, side]
    if shape is None:
        raise BadWeights(f"Pictures of {pixels} numbers are no squares of one or three channels.")
    pseudo = state.get("pseudo_inputs.0.weight")
    codes = state.get("quantizer.embeddings.weight", state.get("quantizer.embeddings"))
    found = None
    if codes is not None:
        found = {"size": len(codes), "dim": codes.shape[1], "ema": "quantizer.embeddings" in state}
    return {
        "input_shape": shape,
        "latent": len(state["encoder.embedding.weight"]),
        "hidden": [len(weight) for weight in weights],
        "variational": "encoder.log_var.weight" in state,
        "pseudo_inputs": 0 if pseudo is None else pseudo.shape[1],
        "codes": found,
    }
