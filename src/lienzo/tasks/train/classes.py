"""`lienzo train classes`: a small diffusion model of picture classes, such as digits or clothes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.tasks.train.base import TrainOptions

if TYPE_CHECKING:
    from lienzo.data.sets import DataSet
    from lienzo.diffusion.classes_recipe import ClassesRecipe


class TrainClasses(TrainOptions):
    """Train a small diffusion model that draws the classes of your pictures: digits, clothes, one folder a class.

    Paint with: lienzo create "CLASS" --model OUT. Pictures that are all grey are learned in one channel. The preset
    notebook is the network and the procedure of the Hugging Face diffusion course, for comparison.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            "width": 128, "depth": 4, "batch": 256, "precision": "bf16", "learning_rate": 2e-3, "images": 20_000_000,
            "warmup": 100_000, "ema_half_lives": (400_000,), "look_images": 1_000_000,
        },
        "notebook": {
            "network": "unet", "width": 32, "depth": 2, "label_dropout": 0.0, "batch": 128, "learning_rate": 1e-3,
            "schedule": "constant", "warmup": 0, "weight_decay": 0.0, "beta2": 0.999, "clip": 1e9, "images": 600_000,
            "ema_half_lives": (1,), "look_images": 60_000,
        },
    }  # fmt: skip

    network: Literal["shuffle", "dit", "unet"] = "shuffle"
    """shuffle learns fastest on CPUs; dit is the transformer of Peebles and Xie, on pixels; unet is the course's."""
    image_size: int = Field(28, ge=8, le=256)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    width: int = Field(32, ge=8, le=1024)
    """Channels of the first level (shuffle: a multiple of 8; unet: of 32), or of the transformer (of 64)."""
    depth: int = Field(2, ge=1, le=32)
    """Residual blocks of the smallest level (shuffle) or of each level (unet), or blocks of the transformer."""
    patch: int = Field(4, ge=1, le=32)
    """Side of the transformer's patches in pixels."""
    label_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of labels hidden in training, which classifier-free guidance needs."""

    # Of the plan, what two cores of a CPU do in a few minutes.
    batch: int = Field(64, ge=1, le=65_536)
    """Items of one forward pass of one process."""
    images: int = Field(300_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(6e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(6_400, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    ema_half_lives: tuple[int, ...] = Field((20_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(60_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainClasses) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; sample sheets have one row a class.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from; the pictures have no classes.
    """
    from lienzo.tasks.train.base import train

    size = options.image_size
    yield from train(
        options,
        size,
        partial(recipe, options),
        title=f"Class-conditional diffusion model, {size} px",
        limits=f"Draws the classes it was trained on and nothing else, at {size} x {size} pixels.",
    )


def recipe(options: TrainClasses, data: DataSet, held: DataSet) -> ClassesRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: the pictures have no classes, or the size does not fit the network.
    """
    from lienzo.diffusion.classes_recipe import ClassTraining, DiTRecipe, NotebookRecipe, ShuffleRecipe

    training = ClassTraining(options.batch, options.seed, options.label_dropout)
    if options.network == "shuffle":
        return ShuffleRecipe(data, held, config(options), training)
    if options.network == "dit":
        return DiTRecipe(data, held, config(options), training)
    return NotebookRecipe(data, held, config(options), training)


def config(options: TrainClasses) -> dict[str, Any]:
    """The arguments of the network that the options tell.

    Raises:
        BadInput: the size does not fit the network.
    """
    size, width, depth = options.image_size, options.width, options.depth
    levels = 2 if options.network == "shuffle" and size < 48 else 3
    multiple = {"shuffle": 2**levels, "dit": options.patch, "unet": 4}[options.network]
    if size % multiple:
        raise BadInput(f"This network needs an --image-size that is a multiple of {multiple}; {size} is not.")
    if options.network == "shuffle":
        widths = [width * (level + 1) for level in range(levels)]
        heads = next((head for head in (32, 16, 8) if widths[-1] % head == 0), 32)
        return {"widths": widths, "depths": [1] * (levels - 1) + [depth], "head_width": heads}
    if options.network == "dit":
        return {"patch_size": options.patch, "hidden_size": width, "depth": depth, "num_heads": max(width // 64, 1)}
    return {"block_out_channels": [width, 2 * width, 2 * width], "layers_per_block": depth}
