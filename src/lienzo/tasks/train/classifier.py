"""`lienzo train classifier`: the classifier of noisy pictures that guides a diffusion model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.events import Event
from lienzo.tasks.train.base import TrainOptions
from lienzo.tasks.train.starting import DIFFUSION, network_of

if TYPE_CHECKING:
    from lienzo.data.sets import DataSet
    from lienzo.diffusion.adm_flags import DiffusionSettings
    from lienzo.diffusion.classifier_recipe import ClassifierRecipe

NETWORK = {
    "image_size": "image_size",
    "classifier_width": "model_channels",
    "classifier_depth": "num_res_blocks",
    "classifier_channel_mult": "channel_mult",
    "classifier_attention_resolutions": "attention_resolutions",
    "classifier_use_scale_shift_norm": "use_scale_shift_norm",
    "classifier_resblock_updown": "resblock_updown",
    "classifier_pool": "pool",
}
NOISE = ("diffusion_steps", "noise_schedule", "rescale_timesteps")

_ADM: dict[str, Any] = {
    "image_size": 64, "classifier_width": 128, "classifier_depth": 4, "classifier_channel_mult": "",
    "classifier_attention_resolutions": "32,16,8", "learning_rate": 3e-4, "weight_decay": 0.05, "beta2": 0.999,
    "fall": 1.0, "warmup": 0, "clip": 1e9,
}  # fmt: skip


class TrainClassifier(TrainOptions):
    """Train a classifier of noisy pictures, one folder a class, to guide a diffusion model of the same noise.

    Options are named as in guided-diffusion's classifier_train: its --lr is --learning-rate here, --batch_size --batch,
    --anneal_lr --schedule linear --fall 1, --classifier_use_fp16 --precision fp16, --iterations times batch --images.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            **_ADM, "classifier_depth": 2, "batch": 256, "precision": "bf16", "images": 10_000_000, "clip": 1.0,
            "warmup": 100_000, "ema_half_lives": (200_000,), "look_images": 500_000,
        },
        "adm-64": {
            **_ADM, "batch": 256, "precision": "fp16", "images": 76_800_000, "ema_half_lives": (1,),
            "look_images": 2_560_000,
        },
    }  # fmt: skip

    image_size: int = Field(32, ge=8, le=1024)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    classifier_width: int = Field(32, ge=32, le=1024)
    """Width of the network at full size, a multiple of 32."""
    classifier_depth: int = Field(1, ge=1, le=16)
    """Residual blocks a level."""
    classifier_channel_mult: str = "1,2,4"
    """Width of each level as multiples of --classifier-width; empty for the usual ones of the size."""
    classifier_attention_resolutions: str = "8"
    """Sizes in pixels at which there is attention."""
    classifier_use_scale_shift_norm: bool = True
    """The timestep scales and shifts the norms instead of being added."""
    classifier_resblock_updown: bool = True
    """Resample inside residual blocks."""
    classifier_pool: Literal["attention", "adaptive", "spatial", "spatial_v2"] = "attention"
    """How features become classes; the attention pool takes no other picture size."""
    noised: bool = True
    """Learn noisy pictures; a classifier of clean ones cannot guide."""
    diffusion_steps: int = Field(1000, ge=1, le=100_000)
    """Timesteps, as many as the diffusion model has."""
    noise_schedule: str = "cosine"
    """That of the diffusion model."""
    rescale_timesteps: bool = False
    """Tell the network timesteps of 0 to 1000 whatever --diffusion-steps is; as the diffusion model does."""
    random_flip: bool = False
    """Mirror every other picture. The original always does; here it is off, as it turns letters around."""

    # Of the plan, what suits a laptop.
    images: int = Field(60_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(2_000, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    weight_decay: float = Field(0.05, ge=0)
    """AdamW's decay, on matrices and kernels only."""
    ema_half_lives: tuple[int, ...] = Field((4_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model. The
    original keeps none."""
    look_images: int = Field(20_000, ge=0)
    """Pictures between evaluations and sheets; 0 means only at the end."""


def run(options: TrainClassifier) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sheet shows withheld pictures at four levels of noise, green where their class is known.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from; the pictures have no classes.
    """
    from lienzo.tasks.train.base import train

    config, settings = described(options)
    size = config["image_size"]
    yield from train(
        options,
        size,
        partial(recipe, options, config, settings),
        title=f"ADM classifier of noisy pictures, {size} px",
        limits="Guides diffusion models of the same noise schedule and picture size; knows only its own classes.",
    )


def described(options: TrainClassifier) -> tuple[dict[str, Any], DiffusionSettings]:
    """The arguments of the network and its noise: the model's of --from, else those of the options.

    Raises:
        BadInput: they do not fit together.
    """
    from lienzo.diffusion.adm_classifier import AdmClassifier
    from lienzo.diffusion.adm_flags import from_flags

    names = {**NETWORK, **{name: DIFFUSION[name] for name in NOISE}}
    if options.start_from:
        return network_of(options, options.start_from, names, AdmClassifier)
    made = from_flags({name: getattr(options, name) for name in names})
    return made.config, made.diffusion


def recipe(
    options: TrainClassifier, config: dict[str, Any], settings: DiffusionSettings, data: DataSet, held: DataSet
) -> ClassifierRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: the pictures have no classes.
    """
    from lienzo.diffusion.classifier_recipe import ClassifierRecipe, ClassifierTraining

    training = ClassifierTraining(
        batch_size=options.batch, seed=options.seed, noised=options.noised, random_flip=options.random_flip
    )
    return ClassifierRecipe(data, held, config, settings, training)
