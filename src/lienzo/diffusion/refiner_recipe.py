"""Training the refiner on what it will see: one-step guesses of pictures, which it is to finish.

Besides the difference of pixels and edges it minimises the distance of feature maps (Zhang et al. 2018, arXiv
1801.03924) and what a patch discriminator finds (Isola et al. 2017, arXiv 1611.07004): pixels alone are served best by
blur where the guess leaves two drawings open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call

from lienzo.autoencoders.adversarial import generator_loss, hinge_loss
from lienzo.autoencoders.patch_discriminator import PatchDiscriminator
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.refiner import Refiner
from lienzo.training.recipe import Batch, Recipe

Features = Callable[[Tensor], Sequence[Tensor]]
LARGEST_TIME = 0.95  # of the guesses; near 1 they are as vague as the painter's drawings, and as far from any picture
FORGOTTEN = 0.3  # share of the pictures that the painter draws without being reminded of themselves
LARGEST_GUIDANCE = 3.0  # of the guesses; drawings are made with as much


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels along both axes."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def feature_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of feature maps (B, C, h, w), each place normalised over its channels; a scalar."""
    pairs = [(F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)) for a, b in zip(one, other, strict=True)]
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


class Contest(nn.Module):
    """A refiner and the discriminator that it is trained against, in one network for one optimiser."""

    def __init__(self, refiner: Refiner, discriminator: PatchDiscriminator):
        super().__init__()
        self.refiner, self.discriminator = refiner, discriminator

    def forward(
        self, x: Tensor, text: Tensor, style: Tensor, keep: Tensor, real: Tensor, contested: bool = True
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The finished pictures; logits of them with a gradient for the refiner alone; logits of real pictures and of
        finished ones with a gradient for the discriminator alone. All logits are 0 while it is not `contested`."""
        made = self.refiner(x, text, style, keep)
        if not contested:  # every parameter has a gradient, for what sums them over processes waits for all
            idle = 0 * torch.stack([parameter.sum() for parameter in self.discriminator.parameters()]).sum()
            return made, idle, idle, idle
        fixed = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        seen = functional_call(self.discriminator, fixed, (made,))
        return made, seen, self.discriminator(real), self.discriminator(made.detach())


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
    """Input: the painter's guess of the picture from a noise level in [0.03, 0.95]; target: the real picture.

    Args:
        images: uint8 (N, S, S, 3), row for row the pictures of `data`, `config["scale"]` times the size of the code.
        data: their codes, styles and captions.
        painter: a trained painter, frozen.
        code: the linear code of both.
        features: feature maps of pictures in [0, 1], whose distance is minimised too; None for pixels alone.
        config: arguments of `Refiner`.
        held: number of pictures at the end of the arrays that are kept for `evaluate`; an eighth at most.
        batch_size: pictures of one forward pass.
        adversary: (items, weight): once so many items are seen the discriminator's opinion counts.
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
        config: dict[str, Any] | None = None,
        held: int = 64,
        batch_size: int = 32,
        *,
        adversary: tuple[int, float] = (0, 0.0),
        reminded: Reminded | None = None,
        seed: int = 0,
    ):
        self.reminded = reminded
        self.images, self.data, self.painter, self.code, self.features = images, data, painter, code, features
        self.config, self.batch_size, self.adversary, self.seed = config or {}, batch_size, adversary, seed
        self.held = min(held, len(images) // 8)

    def build(self) -> nn.Module:
        made = Contest(Refiner(**self.config), PatchDiscriminator(ndf=32, n_layers=2, use_actnorm=True))
        return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def export(self, model: nn.Module) -> nn.Module:
        return model.refiner  # type: ignore[return-value]

    def imported(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {f"refiner.{name}": value for name, value in state.items()}

    @cached_property
    def _given(self) -> dict[str, str]:
        weights = [value.float().cpu().numpy() for value in self.painter.state_dict().values()]
        return {"pictures": fingerprint(self.images), "painter": fingerprint(*weights)}

    def facts(self) -> dict[str, Any]:
        options = {"config": self.config, "adversary": list(self.adversary), "features": self.features is not None}
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
        t = 0.03 + (LARGEST_TIME - 0.03) * torch.rand(len(rows), generator=generator)
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
        # Drawings of other painters come without sentence or style, or with such as it has never heard of.
        batch["keep"] = torch.rand(len(rows), generator=generator) >= 0.1
        unknown = torch.rand(len(rows), generator=generator) < 0.1
        batch["style"] = torch.where(unknown, len(self.config.get("styles", ())), batch["style"])
        if self.adversary[1] and start >= self.adversary[0]:
            batch["adversary"] = torch.full((1,), self.adversary[1])
        return batch

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        target = batch["target"]
        told = (batch["text"], batch["style"], batch["keep"])
        contested = "adversary" in batch
        x = batch["input"].contiguous(memory_format=torch.channels_last)
        made, seen, real, fake = model(x, *told, target, contested)
        across = sum((a - b).abs().mean() for a, b in zip(edges(made), edges(target), strict=True))
        losses = {"l1": (made - target).abs().mean(), "edges": torch.as_tensor(across)}
        if self.features is not None:
            with torch.no_grad():
                wanted = self.features((target + 1) / 2)
            losses["features"] = feature_distance(self.features((made + 1) / 2), wanted)
        weight = batch["adversary"][0] if contested else 0.0
        losses["adversary"] = weight * generator_loss(seen.float())
        losses["discriminator"] = contested * hinge_loss(real.float(), fake.float())
        return losses

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
