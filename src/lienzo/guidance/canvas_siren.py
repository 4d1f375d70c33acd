"""A canvas that is a network from coordinates to colours."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.draws import Generators, uniform


class SirenCanvas:
    """SIREN: a small network with sine activations that gives the colour at each point (Sitzmann et al. 2020).

    One network a picture. Each weight acts on the whole picture, which gives flowing shapes and no grain. The paper
    multiplies the inner layers by 30; here each weight of 48 moves by the learning rate in every step, so that a factor
    would turn the sines by whole periods at once and leave noise.

    Args:
        batch, height, width: of the pictures.
        hidden: width of the layers.
        layers: of sines.
        frequency: factor of the coordinates before the first sine, in radians a half side; larger is finer.
        start: (1 or B, 3, H, W) in [0, 1], rendered exactly (within [0.005, 0.995]); the network paints over it.
        generators: where the weights are drawn.
        device: where the parameters lie.
    """

    lr = 0.01

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        *,
        hidden: int = 48,
        layers: int = 3,
        frequency: float = 16.0,
        start: Tensor | None = None,
        generators: Generators = None,
        device: torch.device | str = "cpu",
    ):
        if not 2 <= hidden <= 1024 or not 1 <= layers <= 16:
            raise BadInput(f"A SIREN canvas has 1 to 16 layers of 2 to 1024 sines, not {layers} of {hidden}.")
        if not 0 < frequency <= 1000:
            raise BadInput(f"The frequency of a SIREN canvas lies above 0 and at most at 1000, not at {frequency:g}.")
        self.shape, self.frequency = (height, width), frequency
        half = max(height, width)
        ys, xs = ((2 * torch.arange(n) + 1 - n) / half for n in self.shape)  # the longer side spans [-1, 1]
        self.points = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)], -1).view(-1, 2)
        self.points = self.points.to(device)
        self.base = torch.zeros((), device=device)
        if start is not None:
            self.base = start.to(device).expand(batch, 3, height, width).clamp(0.005, 0.995).logit()
        widths = [2, *[hidden] * layers, 3]
        self.weights, self.biases = [], []
        for i, (rows, columns) in enumerate(pairwise(widths)):
            # The paper's scheme, by which sines stay sines in every layer.
            bound = 1 / rows if i == 0 else math.sqrt(6 / rows)
            weight = (2 * uniform(generators, batch, rows, columns) - 1) * bound
            bias = (2 * uniform(generators, batch, 1, columns) - 1) / math.sqrt(rows)
            if i == layers:
                # Over a start picture the network begins with nothing.
                weight, bias = (weight * 0.5, bias * 0) if start is None else (weight * 0, bias * 0)
            self.weights.append(weight.to(device).requires_grad_())
            self.biases.append(bias.to(device).requires_grad_())

    def render(self) -> Tensor:
        x = self.points.expand(len(self.weights[0]), -1, -1)  # (B, H*W, 2)
        for i, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1])):
            x = ((self.frequency if i == 0 else 1.0) * torch.baddbmm(bias, x, weight)).sin()
        x = torch.baddbmm(self.biases[-1], x, self.weights[-1])  # (B, H*W, 3)
        return (x.transpose(1, 2).unflatten(2, self.shape) + self.base).sigmoid()

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]
