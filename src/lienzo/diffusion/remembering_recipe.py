"""Training a code painter with a memory: it learns to paint from what comes to mind, be it the picture or another.

Half of the time a picture may not remember itself, so that the network learns to draw a known thing in another style
and an unknown one from its neighbours; else it would learn nothing but to copy. A repainted picture remembers its
original and is told the colour. All are seen in several poses, the remembered ones in the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures, CodePainterRecipe
from lienzo.diffusion.picture_memory import PictureMemory, Recalled
from lienzo.training.recipe import Batch

LOOSE, SAME_STYLE = 0.02, 0.06  # of what comes to mind: wider than in drawing, so that it learns from like things too
FORGOTTEN = 0.5  # share of the pictures that may not remember themselves
UPRIGHT = 0.25  # share that stands as in the corpus


@dataclass(frozen=True)
class Remembered:
    """What the recipe knows of its pictures besides codes and captions.

    Attributes:
        memory: the pictures to remember.
        row: of each remembered picture among all, (M,).
        own: of each picture its row in the memory, or of the one that it was repainted from, (N,).
        colour: colour index of each repainted picture, the number of colours for the others, (N,).
        posed: codes of all pictures in several poses, the first as they are: (P, N, K).
    """

    memory: PictureMemory
    row: Tensor
    own: Tensor
    colour: Tensor
    posed: Tensor


class RememberingRecipe(CodePainterRecipe):
    """The recipe of a painter with a memory.

    Args:
        data: codes, styles and captions without colour words.
        config: arguments of `CodePainter`, without `memory`.
        held: withheld pictures, for `evaluate`.
        known: the memory, and what belongs to it.
        batch_size: codes of one forward pass.
        seed: of the order of the codes.
    """

    def __init__(
        self,
        data: CodedPictures,
        config: Mapping[str, Any],
        held: CodedPictures,
        known: Remembered,
        batch_size: int = 512,
        *,
        seed: int = 0,
    ):
        super().__init__(data, {**config, "memory": known.memory.config}, held, batch_size, seed=seed)
        self.known = known

    def build(self) -> nn.Module:
        model = CodePainter(**self.config)
        assert model.memory is not None
        model.memory.load_state_dict(self.known.memory.state_dict())
        return model

    def facts(self) -> dict[str, Any]:
        kept = [value.float().numpy() for value in self.known.memory.state_dict().values()]
        return super().facts() | {"memory": fingerprint(*kept, self.known.colour.numpy(), self.known.own.numpy())}

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = torch.from_numpy(rows_at(len(self.data.codes), start, self.batch_size, self.seed))
        batch = self._loosened(self._draw(self.data, rows, generator), generator, style_dropout=0.1)
        colour, own = self.known.colour[rows], self.known.own[rows]
        plain = colour == len(self.config["colours"])
        forgotten = (torch.rand(len(rows), generator=generator) < FORGOTTEN) & plain
        pose = torch.randint(len(self.known.posed), (len(rows),), generator=generator)
        pose[torch.rand(len(rows), generator=generator) < UPRIGHT] = 0
        luck = torch.rand(len(rows), len(self.known.row), generator=generator)
        without = torch.where(forgotten, own, -1)
        recalled = self.known.memory.recall(
            batch["text"], batch["style"], luck=luck, without=without, loose=LOOSE, same_style=SAME_STYLE
        )
        codes = self.known.posed[pose[:, None], self.known.row[recalled.rows]].float()
        batch["clean"] = self.known.posed[pose, rows].float()
        return batch | _flat(recalled, codes) | {"colour": colour}

    def _told(self, batch: Batch) -> dict[str, Any]:
        recalled = Recalled(*(batch[name] for name in ("rows", "remembered", "manner", "likeness")))
        return super()._told(batch) | {"colour": batch["colour"], "recalled": recalled}

    def _held_batch(self) -> Batch:
        batch = super()._held_batch()
        recalled = self.known.memory.recall(batch["text"], batch["style"])
        none = torch.full_like(batch["style"], len(self.config["colours"]))
        return batch | _flat(recalled, recalled.codes) | {"colour": none}


def _flat(recalled: Recalled, codes: Tensor) -> Batch:
    """What came to mind as tensors of a batch, with the codes in the batch's poses."""
    return {"rows": recalled.rows, "remembered": codes, "manner": recalled.style, "likeness": recalled.likeness}
