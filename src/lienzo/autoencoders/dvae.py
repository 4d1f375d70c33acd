"""OpenAI's discrete VAE, the picture tokeniser of DALL-E (Ramesh et al. 2021): 8 times smaller, 8192 codes.

The public files hold the encoder and the decoder apart, as pickled modules; only their weights are read. Convolutions
carry their names, `w` and `b`.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.autoencoders.first_stage import check_images, check_latents
from lienzo.autoencoders.vector_quantizer import straight_through, vectors_of
from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.loading import fill_exactly

LOGIT_LAPLACE_EPS = 0.1
WIDTHS = (1, 2, 4, 8)
"""Widths of the four groups of the encoder, in multiples of `n_hid`; the decoder's go the other way."""
MAX_BLOCKS = 64


def map_pixels(x: Tensor) -> Tensor:
    """Pixels in [0, 1] to [0.1, 0.9], where the logit is finite."""
    return (1 - 2 * LOGIT_LAPLACE_EPS) * x + LOGIT_LAPLACE_EPS


def unmap_pixels(x: Tensor) -> Tensor:
    """The inverse of `map_pixels`, cut off to [0, 1]."""
    return ((x - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)).clamp(0, 1)


def logit_laplace_nll(mapped: Tensor, statistics: Tensor) -> Tensor:
    """Negative log likelihood of mapped pixels under the logit-Laplace distribution, in nats a number.

    Args:
        mapped: (B, C, H, W) strictly between 0 and 1, see `map_pixels`.
        statistics: (B, 2 C, H, W), what the decoder gives: locations, then log scales.

    Returns:
        (B, C, H, W).
    """
    location, log_scale = statistics.chunk(2, dim=1)
    jacobian = mapped.log() + torch.log1p(-mapped)
    return math.log(2) + log_scale + jacobian + (mapped.logit() - location).abs() * (-log_scale).exp()


class Convolution(nn.Module):
    """A convolution that keeps the size, with parameters named `w` and `b`."""

    def __init__(self, channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.padding = (kernel - 1) // 2
        spread = 1 / math.sqrt(channels * kernel**2)
        self.w = nn.Parameter(torch.randn(out_channels, channels, kernel, kernel) * spread)
        self.b = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W)."""
        return F.conv2d(x, self.w, self.b, padding=self.padding)


class Block(nn.Module):
    """Four convolutions, each after ReLU, scaled down and added to the input (1x1 where the width changes)."""

    def __init__(self, channels: int, out_channels: int, kernels: tuple[int, int, int, int], gain: float):
        super().__init__()
        self.gain, hidden = gain, out_channels // 4
        self.id_path = nn.Identity() if channels == out_channels else Convolution(channels, out_channels, 1)
        widths = (channels, hidden, hidden, hidden, out_channels)
        self.res_path = nn.Sequential(
            OrderedDict(
                (name, layer)
                for index, kernel in enumerate(kernels)
                for name, layer in (
                    (f"relu_{index + 1}", nn.ReLU()),
                    (f"conv_{index + 1}", Convolution(widths[index], widths[index + 1], kernel)),
                )
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W)."""
        return self.id_path(x) + self.gain * self.res_path(x)


def _groups(
    widths: list[int], blocks: int, kernels: tuple[int, int, int, int], between: nn.Module
) -> OrderedDict[str, nn.Module]:
    """Four groups of blocks from `widths[0]` channels to each of the others, with `between` after all but the last."""
    gain = 1 / (4 * blocks) ** 2
    made: OrderedDict[str, nn.Module] = OrderedDict()
    for group in range(1, 5):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(1, blocks + 1):
            inside = widths[group - 1] if index == 1 else widths[group]
            layers[f"block_{index}"] = Block(inside, widths[group], kernels, gain)
        if group < 4:
            layers["between"] = between
        made[f"group_{group}"] = nn.Sequential(layers)
    return made


def _output(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict([("relu", nn.ReLU()), ("conv", Convolution(channels, out_channels, 1))]))


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if type(size) is not int or size < 1 or (name == "n_blk_per_group" and size > MAX_BLOCKS):
            raise BadInput(f"The {name} of a discrete VAE is a whole number from 1 up, not {size}.")
        if name == "n_hid" and size % 4:
            raise BadInput(f"The n_hid of a discrete VAE is a multiple of 4, not {size}.")


class DVaeEncoder(nn.Module):
    """Mapped pixels to logits of codes.

    Args:
        n_hid: width of the first group, a multiple of 4.
        n_blk_per_group: blocks in each of the four groups.
        input_channels: channels of the picture.
        vocab_size: number of codes.

    Raises:
        BadInput: a size does not fit.
    """

    def __init__(self, *, n_hid: int = 256, n_blk_per_group: int = 2, input_channels: int = 3, vocab_size: int = 8192):
        super().__init__()
        _check(
            n_hid=n_hid, n_blk_per_group=n_blk_per_group, input_channels=input_channels, vocab_size=vocab_size
        )  # fmt: skip
        self.config: dict[str, Any] = {
            "n_hid": n_hid, "n_blk_per_group": n_blk_per_group, "input_channels": input_channels,
            "vocab_size": vocab_size,
        }  # fmt: skip
        widths = [n_hid, *(n_hid * mult for mult in WIDTHS)]
        self.blocks = nn.Sequential(
            OrderedDict(
                input=Convolution(input_channels, n_hid, 7),
                **_groups(widths, n_blk_per_group, (3, 3, 3, 1), nn.MaxPool2d(2)),
                output=_output(widths[-1], vocab_size),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mapped pixels (B, input_channels, H, W) to logits (B, vocab_size, H / 8, W / 8)."""
        return self.blocks(x)


class DVaeDecoder(nn.Module):
    """Codes to the statistics of mapped pixels.

    Args:
        n_init: width of a code.
        n_hid: width of the last group, a multiple of 4.
        n_blk_per_group: blocks in each of the four groups.
        output_channels: channels of the picture.
        vocab_size: number of codes.

    Raises:
        BadInput: a size does not fit.
    """

    def __init__(
        self,
        *,
        n_init: int = 128,
        n_hid: int = 256,
        n_blk_per_group: int = 2,
        output_channels: int = 3,
        vocab_size: int = 8192,
    ):
        super().__init__()
        _check(n_init=n_init, n_hid=n_hid, n_blk_per_group=n_blk_per_group, output_channels=output_channels,
               vocab_size=vocab_size)  # fmt: skip
        self.config: dict[str, Any] = {
            "n_init": n_init, "n_hid": n_hid, "n_blk_per_group": n_blk_per_group,
            "output_channels": output_channels, "vocab_size": vocab_size,
        }  # fmt: skip
        widths = [n_init, *(n_hid * mult for mult in reversed(WIDTHS))]
        self.blocks = nn.Sequential(
            OrderedDict(
                input=Convolution(vocab_size, n_init, 1),
                **_groups(widths, n_blk_per_group, (1, 3, 3, 3), nn.Upsample(scale_factor=2, mode="nearest")),
                output=_output(widths[-1], 2 * output_channels),
            )
        )

    @property
    def codebook(self) -> Tensor:
        """What the first layer makes of each code alone, (vocab_size, n_init)."""
        first = cast(Convolution, self.blocks[0])
        return first.w[:, :, 0, 0].T + first.b

    def of_vectors(self, vectors: Tensor) -> Tensor:
        """As `forward`, from rows of the codebook or mixtures of them (B, n_init, h, w), without the first layer."""
        return self.blocks[1:](vectors)

    def forward(self, x: Tensor) -> Tensor:
        """Codes as shares (B, vocab_size, h, w), one-hot or relaxed, to statistics (B, 2 output_channels, 8 h, 8 w)."""
        return self.blocks(x)


class DVae(nn.Module):
    """Both halves, as a first stage. Latents are rows of the codebook, times `scale_factor`.

    Args:
        encoder, decoder: settings of the halves; both have the same `vocab_size`.
        scale_factor: what rows of the codebook are multiplied by to become latents.

    Raises:
        BadInput: the settings do not fit together.
    """

    factor = 8

    def __init__(
        self,
        *,
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        scale_factor: float = 1.0,
    ):
        super().__init__()
        self.encoder, self.decoder = DVaeEncoder(**(encoder or {})), DVaeDecoder(**(decoder or {}))
        self.scale_factor = scale_factor
        self.config: dict[str, Any] = {
            "encoder": self.encoder.config, "decoder": self.decoder.config, "scale_factor": scale_factor,
        }  # fmt: skip
        if self.encoder.config["vocab_size"] != self.decoder.config["vocab_size"]:
            raise BadInput("The encoder and the decoder of a discrete VAE have the same vocab_size.")

    @property
    def channels(self) -> int:
        """Channels of the latents: the width of a code."""
        return self.decoder.config["n_init"]

    @property
    def codebook(self) -> Tensor:
        """(vocab_size, channels), in the units of the latents."""
        return self.decoder.codebook * self.scale_factor

    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to logits of codes (B, vocab_size, H / 8, W / 8)."""
        check_images(images, self.encoder.config["input_channels"], self.factor)
        return self.encoder(map_pixels((images + 1) / 2))

    def codes(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to the indices (B, H / 8, W / 8) of their likeliest codes."""
        return self.logits(images).argmax(dim=1)

    def from_codes(self, codes: Tensor) -> Tensor:
        """Indices (B, h, w) to latents (B, channels, h, w)."""
        return vectors_of(codes, self.codebook)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to the latents of their likeliest codes (B, channels, H / 8, W / 8)."""
        return self.from_codes(self.codes(images))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents, moved to their nearest codes straight-through, to images (B, 3, 8 h, 8 w) in about [-1, 1]."""
        check_latents(latents, self.channels)
        vectors = straight_through(latents / self.scale_factor, self.decoder.codebook)
        location = self.decoder.of_vectors(vectors).chunk(2, dim=1)[0]
        return 2 * (location.sigmoid() - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS) - 1

    def forward(self, images: Tensor, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """For training: images (B, 3, H, W) in [-1, 1] to the logits of their codes and the decoder's statistics.

        Args:
            images: pictures.
            shares: Gumbel noise (B, vocab_size, H / 8, W / 8) added to the logits before the softmax; None for none.
        """
        logits = self.logits(images)
        return logits, self.decoder((logits if shares is None else logits + shares).softmax(dim=1))


def joined(encoder: DVaeEncoder, decoder: DVaeDecoder) -> DVae:
    """A first stage of the two halves of the public files; parameters are shared, not copied.

    Raises:
        BadInput: they have different numbers of codes.
    """
    with torch.device("meta"):
        whole = DVae(encoder=encoder.config, decoder=decoder.config)
    whole.encoder, whole.decoder = encoder, decoder
    return whole.eval()


_ENCODER, _DECODER = "encoder.", "decoder."
_FIRST, _LAST = "blocks.input.w", "blocks.output.conv.w"


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a discrete VAE of OpenAI, whole or one half."""
    wanted = ("blocks.input.w", "blocks.group_1.block_1.res_path.conv_1.w", "blocks.output.conv.w")
    return any(all(prefix + key in state for key in wanted) for prefix in ("", _ENCODER, _DECODER))


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> DVae | DVaeEncoder | DVaeDecoder:
    """The network with the weights of `state`, in evaluation mode; of a file of one half, that half.

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    given = dict(config or {})
    if _FIRST in state:
        half, settings = _half(state, given)
        return _filled(half, settings, state)
    encoder = {k.removeprefix(_ENCODER): v for k, v in state.items() if k.startswith(_ENCODER)}
    decoder = {k.removeprefix(_DECODER): v for k, v in state.items() if k.startswith(_DECODER)}
    halves = {
        "encoder": _half(encoder, given.get("encoder"))[1],
        "decoder": _half(decoder, given.get("decoder"))[1],
    }
    return _filled(DVae, {**given, **halves}, state)


def _filled(network: type[nn.Module], settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    try:
        with torch.device("meta"):
            empty = network(**settings)
    except (BadInput, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise BadWeights(f"The settings of these weights make no discrete VAE: {error}") from error
    return fill_exactly(empty, state, "a discrete VAE").eval()


def _half(
    state: Mapping[str, Tensor], given: Mapping[str, Any] | None
) -> tuple[type[DVaeEncoder] | type[DVaeDecoder], dict[str, Any]]:
    """Which half this is, and its settings: those that shapes tell, and over them those given."""
    for key in (_FIRST, _LAST):
        if key not in state or state[key].ndim != 4:
            raise BadWeights(f"The weights are not those of a discrete VAE: '{key}' is missing or no kernel.")
    first, last = state[_FIRST].shape, state[_LAST].shape
    found = (re.match(r"blocks\.group_1\.block_(\d{1,3})\.", key) for key in state)
    blocks = max((int(match[1]) for match in found if match), default=0)
    read: dict[str, Any] = {"n_blk_per_group": blocks}
    if first[2] == 1:
        read |= {"n_init": first[0], "n_hid": last[1], "output_channels": last[0] // 2, "vocab_size": first[1]}
        return DVaeDecoder, {**read, **dict(given or {})}
    read |= {"n_hid": first[0], "input_channels": first[1], "vocab_size": last[0]}
    return DVaeEncoder, {**read, **dict(given or {})}
