"""Training an artist's own painter: from nothing, or on from a painter whose answers are kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures, CodePainterRecipe
from lienzo.diffusion.drawing import draw_codes
from lienzo.diffusion.linear_code import LinearCode
from lienzo.diffusion.own_painter import OwnPainter, joined
from lienzo.training.recipe import Batch

GUIDANCE = 2.0  # of the sample sheets


@dataclass(frozen=True)
class Beside:
    """Pictures mixed into every batch.

    Attributes:
        share: of the batch.
        data: the pictures.
        teacher: a painter whose answer to each noisy picture is learned in place of the picture itself (Li and Hoiem
            2016, "Learning without forgetting", arXiv 1606.09282); its code may be shorter than that of `data`.
    """

    share: float
    data: CodedPictures
    teacher: CodePainter | None = None


@dataclass(frozen=True)
class Shown:
    """What the sample sheets show: sentences, styles and, where there is one, the real picture above each.

    Attributes:
        vectors: of the sentences, (N, D).
        style: index of each, (N,).
        real: uint8 (N, S, S, 3), white where there is none.
    """

    vectors: Tensor
    style: Tensor
    real: np.ndarray


class OwnPainterRecipe(CodePainterRecipe):
    """The code painter's recipe with the code in the network, and with other pictures mixed in.

    Args:
        data: codes, styles and captions.
        config: arguments of `CodePainter`.
        held: the same for withheld pictures.
        code: the linear code of all of them.
        batch_size: codes of one forward pass.
        seed: of the order of the codes.
        beside: what is mixed in; shares add up to less than 1.
        shown: for the sample sheets.
        known: captions that the file will name as what it can draw.
    """

    name = "own painter"
    network = "painter"

    def __init__(
        self,
        data: CodedPictures,
        config: dict[str, Any],
        held: CodedPictures,
        code: LinearCode,
        *,
        batch_size: int = 512,
        seed: int = 0,
        beside: Sequence[Beside] = (),
        shown: Shown | None = None,
        known: Sequence[str] = (),
    ):
        super().__init__(data, config, held, batch_size, seed=seed)
        self.code, self.beside, self.shown, self.known = code, list(beside), shown, list(known)
        self.counts = [round(other.share * batch_size) for other in self.beside]

    def build(self) -> OwnPainter:
        return joined(CodePainter(**self.config), copy.deepcopy(self.code), self.known)

    def facts(self) -> dict[str, Any]:
        code = fingerprint(*(value.numpy() for value in self.code.state_dict().values()))
        beside = [[other.share, other.data.fingerprint, other.teacher is not None] for other in self.beside]
        return super().facts() | {"code": code, "beside": beside}

    def batch(self, start: int, generator: Generator) -> Batch:
        own = self.batch_size - sum(self.counts)
        kept = any(other.teacher is not None for other in self.beside)  # then "no style" is the teacher's
        parts = [self._part(self.data, own, start, generator, 0.0 if kept else 0.1)]
        for other, count in zip(self.beside, self.counts):
            part = self._part(other.data, count, start, generator, 0.0 if kept and other.teacher is None else 0.1)
            parts.append(part if other.teacher is None else self._taught(part, other.teacher))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _part(self, data: CodedPictures, count: int, start: int, generator: Generator, style_dropout: float) -> Batch:
        rows = torch.from_numpy(rows_at(len(data.codes), start // self.batch_size * count, count, self.seed))
        part = self._loosened(self._draw(data, rows, generator), generator, style_dropout)
        return part | {"target": part["clean"]}

    @torch.no_grad()
    def _taught(self, part: Batch, teacher: CodePainter) -> Batch:
        """The part with the teacher's answers as targets; what its code lacks should stay 0."""
        t, length = part["t"][:, None], teacher.config["length"]
        noisy = ((1 - t) * part["clean"] + t * part["noise"])[:, :length]
        style = torch.where(part["style"] == len(self.config["styles"]), teacher.no_style, part["style"])
        answer = teacher(noisy, part["t"], text=part["text"], style=style, keep=part["keep"])
        return part | {"target": F.pad(answer, (0, part["clean"].shape[1] - length))}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Two rows: the real pictures of fixed captions, and what is drawn for them; the withheld ones last."""
        if self.shown is None:
            return None
        seeds = list(range(len(self.shown.vectors)))
        length = self.config["length"]
        codes = draw_codes(model, self.shown.vectors, self.shown.style, seeds, length=length, guidance=GUIDANCE)
        drawn = pixels(self.code, codes.cpu())
        return np.concatenate([np.concatenate(list(row), 1) for row in (self.shown.real, drawn)])


@torch.no_grad()
def pixels(code: LinearCode, codes: Tensor) -> np.ndarray:
    """The pictures of codes: uint8 (B, S, S, 3)."""
    return ((code.decode(codes).permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
