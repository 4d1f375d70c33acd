"""One painting of `paint`: its canvas, CLIPs, masks and goals, and the loop that paints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo import __version__
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Picture
from lienzo.core.seeds import derived_seed
from lienzo.core.text import printable
from lienzo.guidance.canvas import Canvas, learning_rate
from lienzo.guidance.canvas_strokes import SketchCanvas, StrokeCanvas
from lienzo.guidance.growing import GrowingCanvas
from lienzo.guidance.guide import Guide
from lienzo.guidance.ops import resample
from lienzo.guidance.optimisers import OPTIMISERS
from lienzo.guidance.paint import paint
from lienzo.guidance.prompts import parse_prompts
from lienzo.guidance.shapes import found_shapes, looks_of
from lienzo.guidance.spots import MaskedCanvas
from lienzo.imaging.masks import fitted, read_mask
from lienzo.imaging.reading import from_tensor, load_picture, to_tensor
from lienzo.imaging.resize import resize_array
from lienzo.tasks.canvases import CanvasMaker, quicken
from lienzo.tasks.devices import pick_device
from lienzo.tasks.drawing import Artist
from lienzo.tasks.loss_files import loss_files, without_files
from lienzo.tasks.paint import LARGEST, SMALLEST, Paint
from lienzo.tasks.painting_goals import Goals
from lienzo.tasks.perceptors import Judges, open_perceptors
from lienzo.weights.store import resolve, sha256

BEHAVIOUR = 4  # rises when the same recipe would make another picture
VIDEO = ("frames", "frame_iterations", "fps", "zoom", "rotate", "shift_x", "shift_y", "restart")
OUTSIDE = ("out", "overwrite", "previews", "metadata", "device", *VIDEO)  # options that do not change a still picture
FILES = ("init", "mask", "target", "spot_mask", "image_prompt", "loss")  # options that name pictures
ASPECTS = {"square": (1, 1), "widescreen": (16, 9), "portrait": (4, 5)}
PAINTER = "painter"  # draws what a painting begins from, where that is asked for
FADED = 0.5  # how far the picture of a chapter is faded to white under the shapes of the next one
ALIKE = 0.02  # difference of aspect up to which a mask is taken for one of the same shape


class Painting:
    """Everything that one run of `paint` paints with.

    Attributes:
        width, height: of the picture.
        models: what it was made with, by role.
        notes: what the person should know beforehand.
        finished: the canvas of the picture, once it is painted.
    """

    def __init__(self, options: Paint, device: torch.device):
        self.options, self.device = options, device
        OPTIMISERS[options.optimiser]  # says now which there are
        self.notes: list[str] = []
        self.finished: Canvas | None = None
        self.canvases = CanvasMaker(options, device)
        self.width, self.height = measure(options, self.canvases.multiple)
        pictures = {
            name: self._read(path) for name in ("init", "target") if (path := getattr(options, name)) is not None
        }
        self.init = pictures.get("init")
        self.mask = self._mask(options.mask) if options.mask else None
        spots = [self._mask(path) for path in options.spot_mask]
        guides = open_perceptors(options.clip, device)
        for perceptor in guides.perceptors:
            quicken(getattr(perceptor, "model", None), device)
        self.judge: Judges | None = None if options.judge == "none" else open_perceptors([options.judge], device)
        self.goals = Goals(options, guides.perceptors, spots, pictures, device, lines=self.canvases.lines)
        if self.goals.uncoloured:
            self.notes.append(f"This canvas has no colours; what is sketched is: {', '.join(self.goals.uncoloured)}.")
        self.models = {f"clip {path.stem}": path for path in map(resolve, options.clip)}
        if self.judge is not None:
            self.models["judge"] = resolve(options.judge)
            if self.models["judge"] in map(resolve, options.clip):
                self.notes.append("The judge guides as well, so that its score says little; choose another --clip.")
        if self.canvases.path is not None:
            self.models["vqgan"] = self.canvases.path
        if options.begin == "drawing":
            self.models["painter"] = resolve(PAINTER)
            self._check_drawing()
        chapters = len(self.goals.chapters)
        if chapters > (options.frames or options.iterations):
            what = "frames" if options.frames else "iterations"
            raise BadInput(f"The story has {chapters} chapters; --{what} should be at least that many.")

    def canvas(self, seed: int, start: Tensor | None) -> Canvas:
        """A canvas under the mask, from `start` (1, 3, H, W) in [0, 1] or from noise."""
        generators = [torch.Generator().manual_seed(derived_seed(seed, "canvas"))]
        if start is None and not self.options.spot and self.options.target is None:  # whose masks have one size
            return self.canvases.grown(self.height, self.width, self.beginning(seed), generators)
        canvas = self.canvases.new(self.height, self.width, start, generators)
        if self.mask is None or self.init is None:
            return canvas
        return MaskedCanvas(canvas, self.init, self.mask)

    def beginning(self, seed: int) -> Tensor | None:
        """What a new painting begins from, (1, 3, H, W) in [0, 1]; None for a plain canvas."""
        guide = self.guides(seed)[0]
        if self.options.begin == "plain" or not guide.targets:
            return None
        if self.options.begin == "drawing":
            return self._drawing(seed)
        return self._shapes(guide, seed)

    def turned(self, picture: Tensor, guide: Guide, seed: int) -> Tensor:
        """What a chapter begins from that follows on `picture`: shapes found for it, on that picture, faded.

        The picture itself where paintings begin plain. Pictures are (1, 3, H, W) in [0, 1].
        """
        if self.options.begin == "plain" or not guide.targets:
            return picture
        return self._shapes(guide, seed, torch.lerp(picture.cpu(), torch.ones(()), FADED))

    def turn(self, canvas: Canvas, guide: Guide) -> None:
        """Begin the next chapter of a story on a canvas, if that can begin anew."""
        if isinstance(canvas, GrowingCanvas):
            canvas.begin(self.turned(canvas.render().detach(), guide, self.options.seed or 0))

    def guides(self, seed: int) -> list[Guide]:
        """A guide for each chapter, drawing its cutouts from `seed`."""
        return self.goals.guides([torch.Generator().manual_seed(derived_seed(seed, "cutouts"))])

    def _check_drawing(self) -> None:
        """Refuse a drawing of nothing, before anything is painted."""
        if not any(prompt.weight > 0 for prompt in self.goals.chapters[0]):
            raise BadInput("--begin drawing draws the sentence; give one, or choose --begin shapes.")
        if self.init is not None or self.options.spot or self.options.target is not None:
            raise BadInput("--begin drawing is for a painting that starts from the sentence; leave it out here.")

    def strokes(self, canvas: Canvas, guides: list[Guide], steps: int, *, previews: int = 0) -> Iterator[Event]:
        """The steps of the optimiser on one canvas."""
        options = self.options
        return paint(
            canvas,
            guides,
            steps=steps,
            lr=options.lr or learning_rate(canvas),
            optimiser=options.optimiser,
            drops=options.drops,
            patience=options.auto_stop,
            preview_every=previews,
            turn=lambda guide: self.turn(canvas, guide),
        )

    def pictures(self) -> Iterator[Event]:
        """Paint: events of the optimiser, then the finished Picture."""
        seed = self.options.seed or 0
        canvas = self.canvas(seed, self.init)
        yield from self.strokes(canvas, self.guides(seed), self.options.iterations, previews=self.options.previews)
        self.finished = canvas.canvas if isinstance(canvas, GrowingCanvas) else canvas
        image = self.look(canvas)
        yield Picture(0, seed, image, scores=self.score(image), recipe=self.recipe(seed))

    @torch.no_grad()
    def look(self, canvas: Canvas) -> np.ndarray:
        """The canvas as it is, uint8 (H, W, 3)."""
        return from_tensor(canvas.render())[0]

    def svg(self) -> str:
        """The finished picture's strokes as the text of an SVG file.

        Raises:
            BadInput: it has none.
        """
        if not isinstance(self.finished, StrokeCanvas | SketchCanvas):
            raise BadInput("This painting has no strokes to write as SVG.")
        return self.finished.svg()

    def score(self, image: np.ndarray) -> dict[str, float]:
        """The judge's cosine between the picture and the sentence; empty without a judge or a sentence."""
        if self.judge is None or not self.goals.text:
            return {}
        seen = to_tensor(image).to(self.device) * 2 - 1
        return {"judge": round(self.judge.score(seen, self.goals.text)[0], 4)}

    def recipe(self, seed: int) -> dict[str, Any]:
        """Everything that makes this picture again; hashes instead of paths."""
        options = self.options.model_dump(mode="json", exclude=set(OUTSIDE))
        options |= {"seed": seed, "clip": [Path(name).stem for name in self.options.clip]}
        options["judge"] = Path(self.options.judge).stem
        options |= {"width": self.width, "height": self.height}
        if "vqgan" in self.models:
            options["vqgan"] = self.models["vqgan"].stem
        inputs = self.inputs()
        options |= dict.fromkeys(inputs)  # files are told by their hashes alone
        return {
            "task": "paint",
            "prompt": self.options.prompt,
            "steps": self.options.iterations,
            "sampler": self.options.optimiser,
            "seed": seed,
            "width": self.width,
            "height": self.height,
            "model": self.options.canvas,
            "made_with": f"lienzo {__version__}",
            "behaviour": BEHAVIOUR,
            "torch": torch.__version__,
            "device": self.device.type,
            "options": options,
            "models": {name: sha256(path) for name, path in self.models.items()},
            "inputs": inputs,
        }

    def inputs(self) -> dict[str, Any]:
        """Hashes of the pictures that the options name."""
        options = self.options
        found: dict[str, Any] = {
            name: sha256(path) for name in ("init", "mask", "target") if (path := getattr(options, name))
        }
        if options.spot_mask:
            found["spot_mask"] = [sha256(path) for path in options.spot_mask]
        if options.image_prompt:
            prompts = (prompt for text in options.image_prompt for prompt in parse_prompts(text, image=True))
            found["image_prompt"] = [[sha256(prompt.text), prompt.weight] for prompt in prompts]
        read = [file for text in options.loss for file in loss_files(text)]
        if read:
            found["loss"] = [[sha256(resolve(Path(file))) for file in read], [*map(without_files, options.loss)]]
        return found

    def _shapes(self, guide: Guide, seed: int, under: Tensor | None = None) -> Tensor:
        """Shapes found for a guide, on paper or on the picture `under`: (1, 3, H, W)."""
        dice = torch.Generator().manual_seed(derived_seed(seed, "shapes"))
        lines, sides = self.canvases.lines, (self.height, self.width)
        found = found_shapes(looks_of(guide), *sides, dice, lines=lines, under=under, device=self.device)
        return found.to(self.device)

    def _drawing(self, seed: int) -> Tensor:
        """What the bundled painter draws of the first chapter, on its own paper to the painting's shape."""
        text = ", ".join(prompt.text for prompt in self.goals.chapters[0] if prompt.weight > 0)
        drawn = next(Artist(PAINTER, self.device).draw([text], seed)).image
        picture = to_tensor(drawn).to(self.device)
        shorter = min(self.height, self.width)
        rim = [(self.width - shorter) // 2, (self.height - shorter) // 2]
        picture = resample(picture, (shorter, shorter), align_corners=False).clamp(0, 1)
        pad = (rim[0], self.width - shorter - rim[0], rim[1], self.height - shorter - rim[1])
        return F.pad(picture, pad, "replicate")

    def _read(self, path: Path) -> Tensor:
        """A picture as (1, 3, H, W) in [0, 1], cut to the painting's shape."""
        return to_tensor(resize_array(load_picture(path), self.height, self.width)).to(self.device)

    def _mask(self, path: Path) -> Tensor:
        """A mask as (1, 1, H, W); resized, if it has the painting's shape."""
        mask = read_mask(path)
        height, width = mask.shape
        if abs(math.log(width * self.height / (height * self.width))) > ALIKE:
            raise BadInput(
                f"The mask '{printable(path.name, 100)}' has {width} x {height} pixels and the painting "
                f"{self.width} x {self.height}; give a mask of the same shape."
            )
        return torch.from_numpy(fitted(mask, self.height, self.width))[None, None].to(self.device)


def measure(options: Paint, multiple: int = 1) -> tuple[int, int]:
    """Width and height of a painting: as given, else the longer side `size` and the aspect, in whole multiples.

    Raises:
        BadInput: the aspect is unknown or extreme, or a given side is no multiple of what the canvas needs.
    """
    for name in ("width", "height"):
        side = getattr(options, name)
        if side is not None and side % multiple:
            near = max(round(side / multiple), 1) * multiple
            raise BadInput(f"This canvas paints in multiples of {multiple} pixels; --{name} {side} could be {near}.")
    x, y = aspect_of(options)
    step = math.lcm(multiple, 2)  # videos need even sides
    longer = options.size
    if options.width and options.height:
        return options.width, options.height
    if options.width or options.height:
        width, height = options.width or options.height * x / y, options.height or options.width * y / x  # type: ignore[operator]
    else:
        width, height = longer * x / max(x, y), longer * y / max(x, y)
    width, height = (
        int(side) if side in (options.width, options.height) else max(round(side / step), 1) * step
        for side in (width, height)
    )
    if not all(SMALLEST <= side <= LARGEST for side in (width, height)):
        raise BadInput(f"The painting would have {width} x {height} pixels; sides are {SMALLEST} to {LARGEST}.")
    return width, height


def aspect_of(options: Paint) -> tuple[float, float]:
    """Width to height, as any two numbers."""
    name = options.aspect.strip().lower()
    if name == "init":
        if options.init is None:
            raise BadInput("--aspect init is the shape of --init; give --init too.")
        height, width = load_picture(options.init).shape[:2]
        return float(width), float(height)
    if name in ASPECTS:
        return ASPECTS[name]
    parts = name.split(":")
    if len(parts) == 2 and all(part.isascii() and part.replace(".", "", 1).isdigit() for part in parts):
        x, y = map(float, parts)
        if x > 0 and y > 0 and max(x / y, y / x) <= 32:
            return x, y
    raise BadInput(f"There is no aspect '{printable(name, 20)}'; there are {', '.join(ASPECTS)}, init, or as in 3:2.")


def open_painting(options: Paint) -> Painting:
    """Load what the options name.

    Raises:
        BadInput: an unknown canvas, optimiser, loss or model, or files that do not fit.
    """
    return Painting(options, pick_device(options.device))
