"""The bundled text-to-picture model: an MLP that diffuses linear codes (`linear_code`) by a sentence and a style.

Flow matching (Lipman et al. 2023, arXiv 2210.02747) with a prediction of the clean code, adaptive layer norm
conditioning (Peebles and Xie 2023, arXiv 2212.09748) of low rank, classifier-free guidance (Ho and Salimans 2022,
arXiv 2207.12598) by learned null vectors. One with a memory (`picture_memory`) paints from the pictures that the
sentence reminds it of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.diffusion.picture_memory import PictureMemory, Recalled, Reminder
from lienzo.nn.loading import fill_exactly


def fourier(t: Tensor, width: int) -> Tensor:
    """Sines and cosines (B, width) of numbers (B,), wavelengths from 1/4 to 2 pi on a log scale."""
    rates = torch.exp(torch.linspace(math.log(1.0), math.log(4 * 2 * math.pi), width // 2, device=t.device))
    angle = t.float()[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], 1)


class Block(nn.Module):
    """A residual MLP block with adaptive layer norm through a low-rank bottleneck; starts as the identity."""

    def __init__(self, width: int, hidden: int, condition: int, rank: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        spread = nn.Linear(rank, 3 * width)
        nn.init.zeros_(spread.weight)
        nn.init.zeros_(spread.bias)
        self.modulate = nn.Sequential(nn.Linear(condition, rank), spread)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.modulate(condition).chunk(3, -1)
        hidden = self.norm(x) * (1 + scale) + shift
        return x + gate * self.down(F.gelu(self.up(hidden)))


class CodePainter(nn.Module):
    """Predicts the clean code from a noisy one.

    Args:
        length: numbers in a code.
        width, hidden, blocks: of the residual MLP.
        rank: of the adaptive layer norm.
        condition: width of the condition (time, sentence and style).
        text_dim: length of the sentence vectors.
        styles: names of the styles it knows; index `len(styles)` stands for none.
        colours: names of the colours that it is told apart from the sentence; index `len(colours)` stands for none.
        memory: arguments of `PictureMemory`, or None for a painter that remembers nothing.
    """

    def __init__(
        self,
        *,
        length: int = 512,
        width: int = 448,
        hidden: int = 1264,
        blocks: int = 6,
        rank: int = 32,
        condition: int = 320,
        text_dim: int = 384,
        styles: Sequence[str] = (),
        colours: Sequence[str] = (),
        memory: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "length": length,
            "width": width,
            "hidden": hidden,
            "blocks": blocks,
            "rank": rank,
            "condition": condition,
            "text_dim": text_dim,
            "styles": list(styles),
        }
        if colours:
            self.config["colours"] = list(colours)
        self.memory: PictureMemory | None = None
        if memory is not None:
            self.memory = PictureMemory(**memory)
            self.config["memory"] = self.memory.config
            self.reminder = Reminder(length=length, width=width, condition=condition, styles=len(styles))
        self.colours = list(colours)
        self.enter = nn.Linear(length, width)
        self.time = nn.Sequential(nn.Linear(64, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.text = nn.Sequential(nn.Linear(text_dim, condition), nn.GELU(), nn.Linear(condition, condition))
        self.style = nn.Embedding(len(styles) + 1, condition)
        if colours:
            self.colour = nn.Embedding(len(colours) + 1, condition)
        self.no_text = nn.Parameter(torch.zeros(condition))
        self.blocks = nn.ModuleList(Block(width, hidden, condition, rank) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, length)

    @property
    def no_style(self) -> int:
        """The style index that stands for none."""
        return self.style.num_embeddings - 1

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        *,
        text: Tensor,
        style: Tensor,
        keep: Tensor | None = None,
        colour: Tensor | None = None,
        recalled: Recalled | None = None,
    ) -> Tensor:
        """The clean code.

        Args:
            x: noisy codes (B, K), (1 - t) clean + t noise.
            t: (B,) in [0, 1], 1 is pure noise.
            text: sentence vectors (B, text_dim).
            style: (B,) style indices.
            keep: (B,) bool, false where the sentence is replaced by the null sentence and nothing comes to mind.
            colour: (B,) colour indices; None for none.
            recalled: what comes to mind; None for what the sentence and the style recall.
        """
        sentence = self.text(text * text.shape[-1] ** 0.5)
        if self.colours:
            sentence = sentence + self.colour(torch.full_like(style, len(self.colours)) if colour is None else colour)
        keep = torch.ones(len(x), dtype=torch.bool, device=x.device) if keep is None else keep
        sentence = torch.where(keep[:, None], sentence, self.no_text.to(sentence.dtype))
        told = self.time(fourier(t, 64)) + sentence + self.style(style)
        hidden, codes = self.enter(x), None
        if self.memory is not None:
            recalled = self.memory.recall(text, style) if recalled is None else recalled
            codes = recalled.codes * keep[:, None, None]
            told = told + self.reminder.condition(recalled) * keep[:, None]
            hidden = hidden + self.reminder.into(codes)
        condition = F.silu(told)
        for block in self.blocks:
            hidden = block(hidden, condition)
        hidden = self.norm(hidden)
        clean = self.leave(hidden)
        return (clean if codes is None else clean + self.reminder.out(hidden, condition, codes)).float()


@torch.no_grad()
def widen(model: CodePainter, added: int, styles: Sequence[str] = (), like: Tensor | None = None) -> CodePainter:
    """The painter for a code with `added` more numbers and for more styles; it draws what it drew, and 0 in the new.

    The new columns of the first layer and the new rows of the last are zero, and both learn from the first step.

    Args:
        model: the painter to widen; it is not changed.
        added: numbers added at the end of the code.
        styles: names of new styles, placed behind the old ones.
        like: what the new styles start from, (condition,): the mean of the old ones where None.

    Returns:
        A painter with parameters of its own.
    """
    config = wider_config(model.config, added, styles)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["enter.weight"] = F.pad(state["enter.weight"], (0, added))
    state["leave.weight"] = F.pad(state["leave.weight"], (0, 0, 0, added))
    state["leave.bias"] = F.pad(state["leave.bias"], (0, added))
    known, none = state["style.weight"][:-1], state["style.weight"][-1:]
    first = like if like is not None else known.mean(0) if len(known) else none[0]
    state["style.weight"] = torch.cat([known, first.expand(len(styles), -1), none])
    if model.memory is not None:
        _widen_memory(state, added, model.memory.slots, len(styles))
    wider = CodePainter(**config)
    wider.load_state_dict(state)
    return wider


def wider_config(config: Mapping[str, Any], added: int, styles: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments of the painter that `widen` makes."""
    wider = {**config, "length": config["length"] + added, "styles": [*config["styles"], *styles]}
    if config.get("memory") is not None:
        wider["memory"] = {**config["memory"], "length": wider["length"]}
    return wider


def _widen_memory(state: dict[str, Tensor], added: int, slots: int, styles: int) -> None:
    """The memory's part of `widen`: nothing is remembered of new numbers, and no picture is of a new style."""
    state["memory.codes"] = F.pad(state["memory.codes"], (0, added))
    state["memory.step"] = F.pad(state["memory.step"], (0, added), value=1.0)
    for name, rows in (("reminder.enter.weight", 1), ("reminder.gate.weight", 0), ("reminder.gate.bias", 0)):
        by_slot = state[name].unflatten(rows, (slots, -1)).movedim(rows + 1, -1)
        state[name] = F.pad(by_slot, (0, added)).movedim(-1, rows + 1).flatten(rows, rows + 1)
    manner = state["reminder.manner.weight"].unflatten(0, (slots, -1))  # (slots, styles + 1, condition)
    new = manner[:, -1:].expand(-1, styles, -1)
    state["reminder.manner.weight"] = torch.cat([manner[:, :-1], new, manner[:, -1:]], 1).flatten(0, 1)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `CodePainter`."""
    return {"no_text", "enter.weight", "leave.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> CodePainter:
    """The network in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = CodePainter(**(config or {}))
    return fill_exactly(model, state, "a code painter").eval().requires_grad_(False)
