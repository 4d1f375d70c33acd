"""The canvases that `paint` offers: those of the table, and the latents of an autoencoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lienzo.autoencoders.first_stage import FirstStage
from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.core.text import printable
from lienzo.guidance.canvas import CANVASES, Canvas, make_canvas
from lienzo.guidance.canvas_codes import code_canvas
from lienzo.guidance.draws import Generators
from lienzo.guidance.growing import GrowingCanvas, halvings
from lienzo.guidance.settings import parse_choice
from lienzo.tasks.paint import Paint
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

VQGAN = "vqgan"
"""The canvas of an autoencoder's latents, and the name of the bundled one."""
COARSE = 0.6
"""Share of the steps in which codes paint a smaller picture; see benchmarks/paint_speed.py."""


class CanvasMaker:
    """Makes the canvas that the options name, again for every frame of a video.

    Attributes:
        lines: the canvas has black lines on white paper, and no colours.
        multiple: the sides of the pictures are multiples of it.
        path: the file of the autoencoder, or None.

    Raises:
        BadInput: there is no such canvas or setting, or the autoencoder is missing or something else.
    """

    def __init__(self, options: Paint, device: torch.device):
        self.text, self.device = options.canvas, device
        self.stage: FirstStage | None = None
        self.path: Path | None = None
        self.multiple = 1
        choice = parse_choice(options.canvas)
        self.lines = choice.name == "sketch"
        names = Names("canvas", {**CANVASES, VQGAN: ""})
        if choice.name in names and choice.name != VQGAN:
            if options.vqgan is not None:
                raise BadInput(f"--vqgan is the network of --canvas vqgan; the canvas '{choice.name}' has none.")
            make_canvas(options.canvas, 1, 16, 16, device=device)
            return
        names[choice.name]  # says which there are
        if choice.settings:
            raise BadInput("The canvas 'vqgan' has no settings; --vqgan names its network.")
        self.path = vqgan_path(options.vqgan)
        self.stage = open_stage(self.path, device)
        quicken(self.stage, device)
        self.multiple = self.stage.factor

    def grown(self, height: int, width: int, start: Tensor | None, generators: Generators) -> GrowingCanvas:
        """A canvas that can begin anew, from `start` as `new`; one of an autoencoder is small at first."""
        sizes = [(height, width)] if self.stage is None else halvings(height, width, self.multiple)
        return GrowingCanvas(
            lambda rows, columns, first: self.new(rows, columns, first, generators), sizes, COARSE, start
        )

    def new(self, height: int, width: int, start: Tensor | None, generators: Generators) -> Canvas:
        """A canvas of one picture; `start` is (1, 3, H, W) in [0, 1] or None."""
        if self.stage is not None:
            return code_canvas(self.stage, 1, height, width, start=start, generators=generators, device=self.device)
        return make_canvas(self.text, 1, height, width, start=start, generators=generators, device=self.device)


def vqgan_path(name: str | None) -> Path:
    """The file of the VQGAN.

    Raises:
        BadInput: it is missing; without a name the sentence says how to do without the bundled one.
    """
    if name is not None:
        return resolve(name)
    try:
        return resolve(VQGAN)
    except BadInput as error:
        raise BadInput(
            "No VQGAN is installed; name a checkpoint of taming-transformers with --vqgan FILE, or choose another "
            "canvas, as --canvas hex."
        ) from error


def open_stage(path: Path, device: torch.device) -> FirstStage:
    """An autoencoder to paint in.

    Raises:
        BadInput: the file holds another network.
    """
    network = load_model(path, device)
    if not isinstance(network, FirstStage):
        raise BadInput(f"'{printable(path.name)}' is no VQGAN but a {type(network).__name__}; --vqgan needs a VQGAN.")
    return network


def quicken(network: object, device: torch.device) -> None:
    """Lay out the weights of a network as the CPU's convolutions go through them fastest, gradients included."""
    if isinstance(network, nn.Module) and device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
