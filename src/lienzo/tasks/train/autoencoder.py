"""`lienzo train autoencoder`: the first stages of latent diffusion, by features and a discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.tasks.train.base import TrainOptions, opened, train_recipe

if TYPE_CHECKING:
    from lienzo.autoencoders.stage_recipe import StageRecipe
    from lienzo.data.sets import DataSet
    from lienzo.training.recipe import Recipe


class TrainAutoencoder(TrainOptions):
    """Train a VQGAN or a KL autoencoder on your pictures, as a canvas or to diffuse in: lienzo train latent.

    Pixels and features are compared from the start; a discriminator of patches joins at --adversary-start.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            "image_size": 256, "width": 128, "blocks": 2, "attention": True, "codes": 8192, "judge_width": 64,
            "judge_layers": 3, "batch": 16, "precision": "bf16", "learning_rate": 2e-4, "images": 6_000_000,
            "adversary_start": 1_000_000, "anneal": 2_000_000, "warmup": 50_000, "ema_half_lives": (100_000,),
            "look_images": 200_000,
        },
    }  # fmt: skip

    kind: Literal["vqgan", "gumbel", "kl"] = "vqgan"
    """vqgan: nearest code; gumbel: codes drawn by a relaxed choice; kl: a normal distribution of latents."""
    factor: Literal[2, 4, 8, 16, 32] = 8
    """Pixels a side of the picture for each position of the latents."""
    channels: int = Field(16, ge=1, le=1024)
    """Numbers at each position: the width of a code, or of the distribution (4 in Stable Diffusion)."""
    codes: int = Field(1024, ge=2, le=65_536)
    """Codes of vqgan and gumbel."""
    image_size: int = Field(64, ge=8, le=1024)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    crop: int | None = Field(None, ge=8, le=1024)
    """Train on pieces of this side, at random places."""
    flip: bool = False
    """Mirror every other picture."""
    width: int = Field(32, ge=32, le=1024, multiple_of=32)
    """Channels at full size."""
    multiples: tuple[int, ...] = ()
    """Channels of each level as multiples of --width, log2(factor) + 1 numbers; default: 1, 1, 2, 2, 4, 4."""
    blocks: int = Field(1, ge=1, le=16)
    """Residual blocks a level."""
    attention: bool = False
    """Attention at the smallest size."""
    perceptual: str = "guide"
    """Whose features are compared: guide (a CLIP that comes with Lienzo), the file of a whole LPIPS, or none."""
    perceptual_weight: float = Field(1.0, ge=0)
    """Weight of the distance of features."""
    l1: float = Field(1.0, ge=0)
    """Weight of the absolute difference of pixels."""
    mse: float = Field(0.0, ge=0)
    """Weight of their squared difference."""
    adversary: float = Field(0.75, ge=0)
    """Weight of the discriminator beside its adaptive one; 0 trains without."""
    adversary_start: int = Field(20_000, ge=0)
    """Pictures after which the discriminator joins."""
    judge_width: int = Field(32, ge=1, le=512)
    """Channels of the discriminator's first layer."""
    judge_layers: int = Field(2, ge=0, le=6)
    """Its halvings; 3 look at patches of 70 pixels."""
    averaged: bool = False
    """The codes of a vqgan are moving averages of their features instead of learning by gradients."""
    dead: float = Field(0.03, ge=0, lt=1)
    """Codes of a vqgan that are used less than this share of the average are put elsewhere; 0 keeps them."""
    kl_weight: float = Field(1e-6, ge=0)
    """Weight of the divergence of kl, in nats a pixel value."""
    logvar: bool = False
    """kl learns how much its pixels vary, which weighs the reconstruction."""
    temperature: float = Field(1 / 16, gt=0, le=1)
    """Last temperature of gumbel; the first is 1."""
    anneal: int = Field(30_000, ge=0)
    """Pictures over which it falls."""

    # Of the plan, what a laptop does in about half an hour.
    batch: int = Field(8, ge=1, le=65_536)
    """Items of one forward pass of one process."""
    images: int = Field(40_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(1e-4, ge=0)
    """AdamW's decay, on matrices and kernels only."""
    warmup: int = Field(1_000, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    ema_half_lives: tuple[int, ...] = Field((2_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(10_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainAutoencoder) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; sample sheets show pictures above what is left of them.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from.
    """
    if options.lora is not None:
        raise BadInput("Autoencoders are trained whole; leave --lora out.")
    data, held = yield from opened(options, options.image_size)
    made = recipe(options, data, held)
    title = f"Autoencoder ({options.kind}), factor {options.factor}, {options.image_size} px"
    limits = "Knows pictures like those it was trained on; small letters and faces blur."
    yield from train_recipe(options, started(options, made), data, title, limits, start=False)


def recipe(options: TrainAutoencoder, data: DataSet, held: DataSet) -> StageRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: they contradict each other or the data, or there is no such network of features.
    """
    from lienzo.autoencoders.stage_recipe import StageLosses, StageRecipe, StageTraining, stage_config
    from lienzo.tasks.perceptual import open_perceptual

    losses = StageLosses(
        l1=options.l1, mse=options.mse, perceptual=options.perceptual_weight, adversary=options.adversary,
        adversary_start=options.adversary_start, kl=options.kl_weight, logvar=options.logvar and options.kind == "kl",
        averaged=options.averaged, dead=options.dead, temperature=(1.0, options.temperature), anneal=options.anneal,
    )  # fmt: skip
    if not (losses.l1 or losses.mse or (losses.perceptual and options.perceptual != "none")):
        raise BadInput("Without --l1, --mse and --perceptual nothing tells the autoencoder what to keep; give one.")
    judge = {"ndf": options.judge_width, "n_layers": options.judge_layers, "use_actnorm": True}
    training = StageTraining(
        options.kind, losses, judge, options.batch, options.crop, options.flip, seed=options.seed
    )  # fmt: skip
    config = stage_config(
        options.kind, options.factor, options.channels, codes=options.codes, width=options.width,
        blocks=options.blocks, multiples=options.multiples or None, attention=options.attention,
        resolution=options.image_size,
    )  # fmt: skip
    return StageRecipe(data, held, config, training, open_perceptual(options.perceptual))


def started(options: TrainAutoencoder, made: StageRecipe) -> Recipe:
    """The recipe, from the weights of --from where there are any."""
    if not options.start_from:
        return made
    from lienzo.training.finetune import FineTune
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    state = load_model(resolve(options.start_from)).state_dict()
    return FineTune(made, {f"stage.{name}": value for name, value in state.items()})
