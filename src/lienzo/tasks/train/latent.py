"""`lienzo train latent`: a diffusion model in the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Progress
from lienzo.core.text import printable
from lienzo.tasks.train.base import TrainOptions, opened, train_recipe

if TYPE_CHECKING:
    import numpy as np

    from lienzo.data.sets import DataSet
    from lienzo.diffusion.latent_painter import Stage
    from lienzo.diffusion.latent_recipe import LatentRecipe, Texts
    from lienzo.training.recipe import Recipe

KNOWN = 200  # captions that the file names


class TrainLatent(TrainOptions):
    """Train a latent diffusion model on your pictures, for: lienzo create --model OUT "...".

    The pictures are encoded once by the autoencoder, into a file in the folder of the run.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            "image_size": 256, "width": 128, "depth": 2, "multiples": (1, 2, 3, 4), "batch": 256, "precision": "bf16",
            "learning_rate": 4e-4, "images": 20_000_000, "warmup": 200_000, "ema_half_lives": (500_000,),
            "look_images": 1_000_000,
        },
    }  # fmt: skip

    autoencoder: str = "vqgan"
    """The autoencoder: name, file or run folder of a vqgan, gumbel or kl one."""
    objective: Literal["flow", "eps", "v"] = "flow"
    """What the network predicts: the velocity of a rectified flow, the noise, or v."""
    condition: Literal["none", "text", "class", "picture"] = "text"
    """What it is told: nothing, captions, the class, or a picture (see --hint)."""
    text: str = "sentence"
    """Who reads captions: sentence (the encoder that comes with Lienzo), or the file of a CLIP."""
    text_states: bool = True
    """Of a CLIP and the U-Net: all states of its text tower instead of one vector a caption."""
    hint: Literal["mask", "small"] = "mask"
    """With --condition picture: mask learns to fill holes, small to add detail to pictures of a quarter of the size."""
    image_size: int = Field(64, ge=8, le=1024)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    network: Literal["unet", "dit"] = "unet"
    """The U-Net of latent diffusion, or a diffusion transformer."""
    width: int = Field(64, ge=32, le=2048, multiple_of=32)
    """Channels of the U-Net's first level, or of the transformer."""
    depth: int = Field(1, ge=1, le=64)
    """Residual blocks a level of the U-Net, or blocks of the transformer."""
    multiples: tuple[int, ...] = (1, 2)
    """Channels of each level of the U-Net as multiples of --width."""
    heads: int = Field(4, ge=1, le=64)
    """Attention heads."""
    patch: int = Field(1, ge=1, le=16)
    """Positions a side that the transformer takes together."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of conditions hidden in training, which classifier-free guidance needs."""
    min_snr: float | None = Field(None, gt=0)
    """Largest weight of the signal-to-noise ratio, for eps and v; 5 is usual."""

    # Of the plan, what a laptop does in about half an hour.
    batch: int = Field(32, ge=1, le=65_536)
    """Items of one forward pass of one process."""
    images: int = Field(200_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(5_000, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    ema_half_lives: tuple[int, ...] = Field((10_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(50_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainLatent) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sample sheet shows pictures as the autoencoder keeps them above drawn ones.

    Raises:
        BadInput: the options contradict each other, the data, the autoencoder or the model of --from.
    """
    if options.lora is not None and options.start_from is None:
        raise BadInput("--lora trains adapters of a model; name it with --from.")
    stage = open_stage(options)
    data, held = yield from opened(options, options.image_size)
    made = yield from recipe(options, stage, data, held)
    told = {"text": "by captions", "class": "by class", "picture": f"told a picture ({options.hint})", "none": "freely"}
    yield from train_recipe(
        options,
        started(options, made),
        data,
        title=f"Latent diffusion model ({options.objective}), {options.image_size} px",
        limits=f"Draws what its training pictures show, {told[options.condition]}.",
        start=False,
    )


def open_stage(options: TrainLatent) -> Stage:
    """The autoencoder.

    Raises:
        BadInput: the model is none that latents can be diffused in, or the sizes do not fit.
    """
    from lienzo.diffusion.latent_painter import STAGES
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    model: Any = load_model(resolve(options.autoencoder))
    stage: Stage = model
    if type(model) not in STAGES.values():
        raise BadInput(f"'{printable(options.autoencoder)}' is no autoencoder of latents ({', '.join(STAGES)}).")
    levels = 2 ** (len(options.multiples) - 1) if options.network == "unet" else options.patch
    if options.image_size % (stage.factor * levels):
        raise BadInput(
            f"With this autoencoder and network --image-size is a multiple of {stage.factor * levels}; "
            f"{options.image_size} is not."
        )
    return stage


def recipe(options: TrainLatent, stage: Stage, data: DataSet, held: DataSet) -> Generator[Event, None, LatentRecipe]:
    """The recipe that the options describe; pictures and captions are encoded first.

    Raises:
        BadInput: the data lack what the condition needs.
    """
    import numpy as np

    from lienzo.diffusion.latent_recipe import LatentRecipe, LatentTraining, Scaled, measured_scale
    from lienzo.tasks.devices import pick_device

    stored: list[np.ndarray] = []
    for part in (data, held):
        if options.dry_run:
            side = options.image_size // stage.factor
            stored.append(np.broadcast_to(np.zeros((), np.float16), (len(part), stage.channels, side, side)))
        else:
            stored.append((yield from _latents(options, stage, part, pick_device("auto"))))
    if stage.config.get("scale_factor", 1.0) == 1.0:  # nobody has measured it
        stage.rescale(measured_scale(stored[0]))
        yield Note(f"The latents are scaled by {stage.scale_factor:.4g} to a standard deviation of 1.")
    latents: Any = tuple(Scaled(each, stage.scale_factor, stage.shift_factor) for each in stored)
    texts = _texts(options, data, held) if options.condition == "text" else None
    config = {
        "architecture": options.network, "width": options.width, "depth": options.depth, "heads": options.heads,
        "multiples": list(options.multiples), "patch": options.patch, "objective": options.objective,
        "condition": options.condition, "hint": options.hint,
    }  # fmt: skip
    training = LatentTraining(options.batch, options.seed, options.dropout, options.min_snr)
    return LatentRecipe(data, held, latents, stage, config, training, texts)


def _latents(options: TrainLatent, stage: Stage, data: DataSet, device: Any) -> Generator[Event, None, np.ndarray]:
    """The file of the latents."""
    from lienzo.data.fingerprints import fingerprint
    from lienzo.diffusion.latent_recipe import cached_latents

    name = fingerprint([data.fingerprint], data.names)
    for event in cached_latents(stage, data.images, name, options.out, device):
        if not isinstance(event, Progress):
            return event
        yield event
    raise RuntimeError("the encoding ended without latents")


def _texts(options: TrainLatent, data: DataSet, held: DataSet) -> tuple[Texts, Texts]:
    """Captions of both sets, each read once; without captions, the names of classes.

    Raises:
        BadInput: nothing is said of the pictures.
    """
    import numpy as np
    import torch

    from lienzo.diffusion.latent_recipe import Texts
    from lienzo.tasks.latent_text import TextReader

    said = [captions_of(part) for part in (data, held)]
    every = list(dict.fromkeys(text for part in said for own in part for text in own))
    if not every:
        raise BadInput(
            "Nothing is said of these pictures: put captions beside them (NAME.txt), or train with --condition none."
        )
    reader = TextReader(options.text, options.text_states and options.network == "unet", torch.device("cpu"))
    vectors = reader(every).half().numpy()
    row_of = {text: row for row, text in enumerate(every)}
    rows = [[np.array([row_of[text] for text in own], dtype=np.int64) for own in part] for part in said]
    data_texts, held_texts = (Texts(vectors, part, reader.about, every[:KNOWN]) for part in rows)
    return data_texts, held_texts


def captions_of(data: DataSet) -> list[tuple[str, ...]]:
    """What is said of each picture: its captions, else the name of its class."""
    if data.captions:
        return [tuple(own) for own in data.captions]
    if data.labels is not None:
        return [(data.label_names[label],) for label in data.labels]
    return [()] * len(data)


def started(options: TrainLatent, made: LatentRecipe) -> Recipe:
    """The recipe, from the weights of --from where there are any."""
    if not options.start_from:
        return made
    from lienzo.training.finetune import FineTune
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    state = load_model(resolve(options.start_from)).state_dict()
    own = {key.removeprefix("denoiser."): value for key, value in state.items() if not key.startswith("stage.")}
    return FineTune(made, own, options.lora)
