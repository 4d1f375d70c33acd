"""The patch discriminator of pix2pix (Isola et al. 2017) as VQGAN trains with it: one logit for each patch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.loading import fill_exactly

PREFIXES = ("", "discriminator.", "loss.discriminator.")
"""Before the names of a discriminator of its own, of a loss, and of a whole VQGAN checkpoint."""


class ActNorm(nn.Module):
    """A scale and a shift for each channel, set by the first batch of training (Glow, Kingma and Dhariwal 2018)."""

    initialized: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.training and not self.initialized:
            with torch.no_grad():
                std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
                self.loc.copy_(-mean)
                self.scale.copy_(1 / (std + 1e-6))
                self.initialized.fill_(1)
        return self.scale * (x + self.loc)


class PatchDiscriminator(nn.Module):
    """Convolutions that judge each patch of a picture.

    Args:
        input_nc: channels of the picture.
        ndf: width of the first layer.
        n_layers: halvings; 3 look at patches of 70 pixels.
        use_actnorm: `ActNorm` instead of batch normalisation.

    Raises:
        BadInput: a size is no whole number from 1 up.
    """

    def __init__(self, *, input_nc: int = 3, ndf: int = 64, n_layers: int = 3, use_actnorm: bool = False):
        super().__init__()
        if any(type(size) is not int or size < 1 for size in (input_nc, ndf)) or not 0 <= n_layers <= 16:
            raise BadInput(f"No patch discriminator has {n_layers} layers of {input_nc} and {ndf} channels.")
        self.config: dict[str, Any] = {
            "input_nc": input_nc, "ndf": ndf, "n_layers": n_layers, "use_actnorm": use_actnorm,
        }  # fmt: skip
        layers: list[nn.Module] = [nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        channels = ndf
        for index in range(1, n_layers + 1):
            width = ndf * min(2**index, 8)
            stride = 2 if index < n_layers else 1
            norm = ActNorm(width) if use_actnorm else nn.BatchNorm2d(width)
            layers += [nn.Conv2d(channels, width, 4, stride, 1, bias=use_actnorm), norm, nn.LeakyReLU(0.2, True)]
            channels = width
        layers.append(nn.Conv2d(channels, 1, 4, 1, 1))
        self.main = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, input_nc, H, W) in [-1, 1] to logits (B, 1, h, w), higher for real patches."""
        return self.main(images)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds a patch discriminator, alone or in the checkpoint of a VQGAN."""
    return bool(_own(state))


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> PatchDiscriminator:
    """The network with the weights of `state`, in evaluation mode.

    Raises:
        BadWeights: keys, shapes or settings do not fit.
    """
    own = _own(state)
    if not own:
        raise BadWeights("The weights are not those of a patch discriminator: 'main.0.weight' is missing.")
    actnorm = "main.3.loc" in own
    kernels = [value for key, value in own.items() if re.fullmatch(r"main\.\d+\.weight", key) and value.ndim == 4]
    ndf, input_nc = own["main.0.weight"].shape[:2]
    read = {"input_nc": input_nc, "ndf": ndf, "n_layers": len(kernels) - 2, "use_actnorm": actnorm}
    try:
        with torch.device("meta"):
            empty = PatchDiscriminator(**{**read, **dict(config or {})})
    except (BadInput, TypeError, ValueError, RuntimeError) as error:
        raise BadWeights(f"The settings of these weights make no patch discriminator: {error}") from error
    return fill_exactly(empty, own, "a patch discriminator").eval()


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        first, second = (state.get(f"{prefix}main.{index}.weight") for index in (0, 2))
        if first is not None and second is not None and first.ndim == 4 and first.shape[2:] == (4, 4):
            start = f"{prefix}main."
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(start)}
    return {}
