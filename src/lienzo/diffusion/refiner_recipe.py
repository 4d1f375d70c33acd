"""Training the refiner on what it will see: one-step guesses of pictures, which it is to finish.

Besides the difference of pixels and edges it minimises the distance of feature maps (Zhang et al. 2018, arXiv
1801.03924): pixels alone are served best by blur where the guess leaves two drawings open. And a CLIP reads in what
was made the thing and the style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.refiner import Refiner
from lienzo.training.recipe import Batch, Recipe

Features = Callable[[Tensor], Sequence[Tensor]]
Reading = Callable[[Tensor], tuple[Tensor, Tensor]]
SHORTEST, LONGEST = 0.03, 0.95  # flow times of the guesses; most are short, for what is sampled is nearly clean
FORGOTTEN = 0.1  # share of the pictures that the painter draws without being reminded of themselves
LARGEST_GUIDANCE = 3.0  # of the guesses; drawings are made with as much
MEANING = 0.2  # weight of the distance between the CLIP vectors of a finished picture and of the real one
STYLE = 0.05  # weight of the CLIP's doubt that a finished picture is in its style


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels along both axes."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def feature_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of feature maps (B, C, h, w), each place normalised over its channels; a scalar."""
    pairs = [(F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)) for a, b in zip(one, other, strict=True)]
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


@dataclass(frozen=True)
class Reminded:
    """What a painter with a memory is told of each picture besides its caption.

    Attributes:
        own: row of the memory, the picture's own or that of the one that it was repainted from, (N,).
        colour: colour index of a repainted picture, the number of colours for the others, (N,).
        caption_rows: captions without colour words.
    """

    own: Tensor
    colour: Tensor
    caption_rows: list[np.ndarray]


class RefinerRecipe(Recipe):
    """Input: the painter's guess of the picture from a noisy one; target: the real picture.

    Args:
        images: uint8 (N, S, S, 3), row for row the pictures of `data`, `config["scale"]` times the size of the code.
        data: their codes, styles and captions.
        painter: a trained painter, frozen.
        code: the linear code of both.
        features: feature maps of pictures in [0, 1], whose distance is minimised too; None for pixels alone.
        reading: unit vectors (B, D) and style logits (B, styles) of pictures in [0, 1], by a CLIP; None for none.
        config: arguments of `Refiner`.
        held: number of pictures at the end of the arrays that are kept for `evaluate`; an eighth at most.
        batch_size: pictures of one forward pass.
        reminded: what a painter with a memory is told besides; None for one without.
        seed: of the order of the pictures.
    """

    name = "refiner"
    network = "refiner"

    def __init__(
        self,
        images: np.ndarray,
        data: CodedPictures,
        painter: CodePainter,
        code: LinearCode,
        features: Features | None = None,
        reading: Reading | None = None,
        config: dict[str, Any] | None = None,
        held: int = 64,
        batch_size: int = 32,
        *,
        reminded: Reminded | None = None,
        seed: int = 0,
    ):
        self.reminded = reminded
        self.images, self.data, self.painter, self.code = images, data, painter, code
        self.features, self.reading = features, reading
        self.config, self.batch_size, self.seed = config or {}, batch_size, seed
        self.held = min(held, len(images) // 8)

    def build(self) -> nn.Module:
        return Refiner(**self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @cached_property
    def _given(self) -> dict[str, str]:
        weights = [value.float().cpu().numpy() for value in self.painter.state_dict().values()]
        return {"pictures": fingerprint(self.images), "painter": fingerprint(*weights)}

    def facts(self) -> dict[str, Any]:
        options = {"config": self.config, "features": self.features is not None}
        options["reading"] = self.reading is not None
        if self.reminded is not None:
            options["reminded"] = fingerprint(self.reminded.own.numpy(), self.reminded.colour.numpy())
        return super().facts() | options | {"held": self.held, "data": self.data.fingerprint, **self._given}

    def _said(self, own: Sequence[np.ndarray], rows: Tensor, choice: Sequence[float]) -> Tensor:
        """A vector of one caption of each picture, (B, D)."""
        lists = [own[row] for row in rows.tolist()]
        chosen = torch.tensor([int(one[int(c * len(one))]) for one, c in zip(lists, choice, strict=True)])
        return self.data.vectors[chosen].float()

    @torch.no_grad()
    def _pairs(self, rows: Tensor, generator: Generator) -> Batch:
        choice = torch.rand(len(rows), generator=generator).tolist()
        text, style = self._said(self.data.caption_rows, rows, choice), self.data.style[rows]
        target = torch.from_numpy(self.images[rows.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1
        told: dict[str, Any] = {"text": text, "style": style}
        clean = self.data.codes[rows]
        if self.reminded is not None:
            told["text"] = self._said(self.reminded.caption_rows, rows, choice)
            told |= self._reminded(self.reminded, rows, told, generator)
        t = SHORTEST + (LONGEST - SHORTEST) * torch.rand(len(rows), generator=generator).square()
        noise = torch.randn(clean.shape, generator=generator)
        noisy = (1 - t[:, None]) * clean + t[:, None] * noise
        everywhere = torch.ones(len(rows), dtype=torch.bool)
        guess = self.painter(noisy, t, **told)
        free = self.painter(noisy, t, **told, keep=~everywhere)
        guidance = 1 + (LARGEST_GUIDANCE - 1) * torch.rand(len(rows), 1, generator=generator)
        drawn = self.code.decode(free + guidance * (guess - free)).clamp(-1, 1)
        return {"input": drawn, "target": target, "text": text, "style": style, "keep": everywhere}

    def _reminded(self, reminded: Reminded, rows: Tensor, told: dict[str, Any], generator: Generator) -> dict[str, Any]:
        """The colour, and what comes to mind; now and then that is not the picture itself."""
        memory, colour = self.painter.memory, reminded.colour[rows]
        assert memory is not None
        forgotten = torch.rand(len(rows), generator=generator) < FORGOTTEN
        forgotten &= colour == len(self.painter.colours)
        luck = torch.rand(len(rows), len(memory.codes), generator=generator)
        without = torch.where(forgotten, reminded.own[rows], -1)
        recalled = memory.recall(told["text"], told["style"], luck=luck, without=without)
        return {"colour": colour, "recalled": recalled}

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.images) - self.held, start, self.batch_size, self.seed)
        batch = self._pairs(torch.from_numpy(rows), generator)
        count, styles = len(rows), len(self.config.get("styles", ()))
        # Drawings of other painters come without sentence or style, or with such as it has never heard of.
        batch["keep"] = torch.rand(count, generator=generator) >= 0.1
        batch["style"] = torch.where(torch.rand(count, generator=generator) < 0.1, styles, batch["style"])
        return batch

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        target = batch["target"]
        x = batch["input"].contiguous(memory_format=torch.channels_last)
        made = model(x, batch["text"], batch["style"], batch["keep"])
        across = [(a - b).abs().mean() for a, b in zip(edges(made), edges(target), strict=True)]
        losses = {"l1": (made - target).abs().mean(), "edges": across[0] + across[1]}
        if self.features is not None:
            with torch.no_grad():
                wanted = self.features((target + 1) / 2)
            losses["features"] = feature_distance(self.features((made + 1) / 2), wanted)
        if self.reading is not None:
            losses |= self._read(made, target, batch["style"])
        return losses

    def _read(self, made: Tensor, target: Tensor, style: Tensor) -> dict[str, Tensor]:
        """What a CLIP finds amiss: another thing than in the real picture, another style than was told."""
        assert self.reading is not None
        with torch.no_grad():
            wanted, _ = self.reading((target + 1) / 2)
        vectors, logits = self.reading((made + 1) / 2)
        none = len(self.config["styles"])
        doubt = F.cross_entropy(logits.float(), style, ignore_index=none, reduction="sum") / len(style)
        return {"meaning": MEANING * (1 - (vectors * wanted).sum(1)).mean(), "style": STYLE * doubt}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR in dB to the real pictures, before and after, on the kept pictures."""
        pairs, refined = self._finished(model, self.held)
        before = F.interpolate(pairs["input"], refined.shape[-2:], mode="bilinear")

        def psnr(x: Tensor) -> float:
            mse = ((x - pairs["target"]) / 2).square().mean((1, 2, 3))
            return float((-10 * mse.log10()).mean())

        return {"psnr before": psnr(before), "psnr": psnr(refined)}

    def samples(self, model: nn.Module) -> np.ndarray:
        """Three rows: input, refined, real."""
        pairs, refined = self._finished(model, min(self.held, 8))
        before = F.interpolate(pairs["input"], refined.shape[-2:], mode="nearest")
        grid = torch.cat([torch.cat(list(strip), 2) for strip in (before, refined, pairs["target"])], 1)
        return ((grid.permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()

    def _finished(self, model: nn.Module, count: int) -> tuple[Batch, Tensor]:
        """The last `count` of the kept pictures as input and target, and what the network makes of them."""
        rows = torch.arange(len(self.images) - count, len(self.images))
        pairs = self._pairs(rows, torch.Generator().manual_seed(0))
        device = next(model.parameters()).device
        told = [pairs[name].to(device) for name in ("input", "text", "style", "keep")]
        return pairs, self.export(model)(*told).cpu()
