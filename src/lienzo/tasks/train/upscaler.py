"""`lienzo train upscaler`: a SwinIR that enlarges your kind of pictures, or removes noise or JPEG's traces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.core.text import printable
from lienzo.tasks.train.base import TrainOptions

if TYPE_CHECKING:
    from lienzo.data.sets import DataSet
    from lienzo.upscaling.recipe import Degradation, SwinIRRecipe

LAPTOP_SIZE: dict[str, Any] = {"embed_dim": 64, "depths": [2, 2], "num_heads": [4, 4], "drop_path_rate": 0.0}

_PAPER: dict[str, Any] = {
    "size": 512, "batch": 32, "loss": "l1", "choices": 1, "learning_rate": 2e-4, "weight_decay": 0.0, "beta2": 0.999,
    "warmup": 0, "fall": 0.5, "images": 16_000_000, "ema_half_lives": (22_000,), "look_images": 800_000,
    "precision": "bf16",
}  # fmt: skip


class TrainUpscaler(TrainOptions):
    """Train a SwinIR on crops of your pictures, which are damaged for it.

    Use the model with: lienzo upscale PICTURE --model RUN/model.safetensors.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "lightweight": {**_PAPER, "network": "S"},
        "gpu": {**_PAPER, "network": "M"},
        "real": {**_PAPER, "network": "L", "degradation": "real"},
    }

    size: int = Field(256, ge=16, le=4096)
    """Width and height in pixels to which the pictures are scaled and cropped before crops are taken."""
    task: Literal["sr", "color_dn", "gray_dn", "color_jpeg_car", "jpeg_car"] = "sr"
    """What to learn: enlarging (sr), or at equal size removing noise (dn) or JPEG artefacts (jpeg_car)."""
    scale: int = Field(4, ge=2, le=8)
    """How many times sr enlarges: 2, 3, 4, and 8 for M with bicubic."""
    degradation: Literal["bicubic", "light", "real"] = "bicubic"
    """What sr is to undo: clean shrinking (best PSNR), other kernels with a little blur, noise and JPEG now and then,
    or the heavy mixture of pictures from the web."""
    noise: float = Field(25.0, gt=0, le=255)
    """Deviation of the noise that dn removes, of 255."""
    quality: float = Field(40.0, ge=1, le=100)
    """JPEG quality that jpeg_car repairs."""
    network: Literal["laptop", "S", "M", "L"] = "laptop"
    """Size of the network: laptop (0.2 M parameters), or the paper's S (0.9 M), M (12 M) and L (28 M)."""
    crop: int | None = Field(None, ge=7, le=512)
    """Side of what the network sees in training, in its input's pixels, a multiple of its window (8; jpeg_car 7);
    by default three windows for laptop, else that of the paper."""
    choices: int = Field(3, ge=1, le=64)
    """Of so many random crops the busiest is taken."""
    loss: Literal["l2", "l1", "charbonnier"] = "l2"
    """What is minimised; l2 finds the edges of drawings sooner, l1 and charbonnier are the paper's."""

    # Of the plan, what suits a laptop.
    batch: int = Field(8, ge=1, le=65_536)
    """Crops of one forward pass of one process."""
    images: int = Field(56_000, ge=1)
    """Crops to see in all."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(2_000, ge=0)
    """Crops over which the rate rises linearly from 0."""
    fall: float = Field(0.6, ge=0, le=1)
    """Last share of the run over which the rate falls to 0."""
    ema_half_lives: tuple[int, ...] = Field((4_000,), min_length=1)
    """Crops after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(20_000, ge=0)
    """Crops between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainUpscaler) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sheet shows withheld pictures in rows: damaged, restored, true.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from.
    """
    from lienzo.tasks.train.base import train

    task, config = described(options)
    what = {
        "sr": f"enlarges x{config['upscale']} after {options.degradation} shrinking",
        "color_dn": f"removes noise of {options.noise:g}",
        "gray_dn": f"removes noise of {options.noise:g} from grey pictures",
        "color_jpeg_car": f"repairs JPEG of quality {options.quality:g}",
        "jpeg_car": f"repairs grey JPEG of quality {options.quality:g}",
    }[task]
    yield from train(
        options,
        options.size,
        partial(recipe, options, task, config),
        title=f"SwinIR that {what}",
        limits="Knows pictures like those it was trained on and the damage it was trained to undo; trained without "
        "an adversary, it does not invent texture.",
    )


def described(options: TrainUpscaler) -> tuple[str, dict[str, Any]]:
    """The task and the arguments of `SwinIR`: those of the options, or of the model of --from.

    Raises:
        BadInput: they do not fit together.
    """
    from lienzo.upscaling.configurations import configuration

    if options.start_from:
        return network_of(options, options.start_from)
    laptop, name = options.network == "laptop", str(options.task)
    if name == "sr":
        small = options.network in ("laptop", "S")
        name = "lightweight_sr" if small else "classical_sr" if options.degradation == "bicubic" else "real_sr"
    scale = options.scale if options.task == "sr" else None
    config = configuration(name, scale=scale, size="S" if laptop else options.network)
    window = config["window_size"]
    crop = options.crop or (3 * window if laptop else config["img_size"])
    if crop % window:
        raise BadInput(f"--crop was {crop}; for {options.task} it should be a multiple of the window, {window}.")
    return options.task, {**config, **(LAPTOP_SIZE if laptop else {}), "img_size": crop}


def network_of(options: TrainUpscaler, start_from: str) -> tuple[str, dict[str, Any]]:
    """Task and arguments of the model that training starts from.

    Raises:
        BadInput: it is no SwinIR, or a given option says otherwise.
    """
    from lienzo.upscaling.configurations import task_of
    from lienzo.upscaling.swinir import SwinIR
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    model = load_model(resolve(start_from))
    if not isinstance(model, SwinIR):
        raise BadInput(f"'{printable(start_from)}' is a {type(model).__name__}; this training needs a SwinIR.")
    task = "sr" if model.upsampler else task_of(model.config)
    there = {"task": task, "scale": model.scale}
    for name, value in there.items():
        given = getattr(options, name)
        if name in options.model_fields_set and given != value:
            raise BadInput(f"'{printable(start_from)}' has the {name} {value}, not {given}; leave --{name} out.")
    if options.crop and options.crop % model.window_size:
        raise BadInput(f"--crop was {options.crop}; it should be a multiple of the window, {model.window_size}.")
    return task, model.config


def degradation(options: TrainUpscaler, task: str) -> Degradation:
    """What the network is to undo."""
    from lienzo.upscaling.recipe import Degradation

    if task == "sr":
        return Degradation(options.degradation)
    if task.endswith("dn"):
        return Degradation("noise", options.noise)
    return Degradation("jpeg", options.quality)


def recipe(options: TrainUpscaler, task: str, config: dict[str, Any], data: DataSet, held: DataSet) -> SwinIRRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: the pictures are smaller than a crop.
    """
    from lienzo.upscaling.recipe import SwinIRRecipe

    size = config["img_size"]
    return SwinIRRecipe(
        data.images,
        held.images,
        config,
        batch_size=options.batch,
        crop=options.crop or (size if isinstance(size, int) else min(size)),
        degradation=degradation(options, task),
        choices=options.choices,
        loss=options.loss,
        seed=options.seed,
        data=data.fingerprint,
    )
