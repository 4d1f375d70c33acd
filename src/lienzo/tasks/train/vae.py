"""`lienzo train vae`: autoencoders of small pictures, all kinds of the family."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.events import Event
from lienzo.tasks.train.base import TrainOptions

if TYPE_CHECKING:
    from lienzo.autoencoders.vae_recipe import VaeRecipe
    from lienzo.data.sets import DataSet

Kind = Literal[
    "ae", "vae", "beta-vae", "disentangled-beta-vae", "beta-tc-vae", "iwae", "miwae", "ciwae", "wae-mmd", "info-vae",
    "vamp", "rae-l2", "rae-gp", "rae-sn", "vq-vae",
]  # fmt: skip


class TrainVae(TrainOptions):
    """Train an autoencoder of your pictures: digits, clothes, faces, a folder of anything.

    lienzo latents draws what it learned. Pictures that are all grey are learned in one channel.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            "network": "conv", "width": 64, "image_size": 64, "latent": 64, "batch": 512, "precision": "bf16",
            "images": 10_000_000, "warmup": 100_000, "ema_half_lives": (200_000,), "look_images": 500_000,
        },
    }  # fmt: skip

    kind: Kind = "vae"
    """ae, vae, beta-vae, disentangled-beta-vae (capacity), beta-tc-vae, iwae, miwae, ciwae, wae-mmd, info-vae, vamp
    (VampPrior), rae-l2, rae-gp, rae-sn (regularised by decay, gradient, spectral norm), or vq-vae."""
    latent: int = Field(16, ge=1, le=4096)
    """Numbers in a picture's code; a convolutional vq-vae has a map of codes instead."""
    loss: Literal["mse", "bce"] = "bce"
    """How reconstructions are compared: squared error or binary cross entropy, which suits dark on light."""
    sigma: float = Field(1.0, gt=0)
    """Standard deviation of the noise that mse assumes in pixels of [0, 1]; smaller is sharper, with a looser code."""
    network: Literal["mlp", "conv"] = "mlp"
    """Dense layers, which learn grey pictures of 28 pixels in a minute, or convolutional ones, for larger pictures."""
    image_size: int = Field(28, ge=5, le=512)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    width: int = Field(32, ge=8, le=1024, multiple_of=8)
    """Channels of the first convolutional level."""
    levels: int | None = Field(None, ge=1, le=8)
    """How often a convolutional network halves the picture; default: to 4 pixels, or twice for a vq-vae."""
    hidden: tuple[int, ...] = (512, 256)
    """Widths of the dense layers."""
    beta: float | None = Field(None, ge=0)
    """Weight of the divergence (beta-vae, disentangled-beta-vae), of the total correlation (beta-tc-vae), or of the
    plain bound (ciwae); default: the kind's own."""
    weight: float | None = Field(None, ge=0)
    """Weight of the penalty of wae-mmd, rae-l2 and rae-gp; default: the kind's own."""
    draws: int | None = Field(None, ge=1, le=1000)
    """Draws for each picture in iwae, miwae and ciwae; default: the kind's own."""
    codes: int = Field(128, ge=2, le=65_536)
    """Codes of a vq-vae."""
    code_length: int = Field(16, ge=1, le=1024)
    """Numbers in each of them."""
    reduction: Literal["mean", "pythae"] = "mean"
    """Scale of the losses: per pixel value, or sums as in pythae."""
    sampler: Literal["none", "normal", "mixture", "vamp", "flow"] = "none"
    """What is fitted to the codes and saved with the model, to draw new pictures from: a Gaussian, a mixture (extra
    `probe`), the kind vamp's own prior, or a flow (extra `flow`); none means N(0, I)."""
    components: int = Field(10, ge=1, le=1000)
    """Gaussians of the mixture."""

    # Of the plan, what two cores of a CPU do in some minutes.
    batch: int = Field(128, ge=1, le=65_536)
    """Items of one forward pass of one process."""
    images: int = Field(400_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(6_400, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    ema_half_lives: tuple[int, ...] = Field((10_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(100_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainVae) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sample sheet has pictures, their reconstructions, and two rows of new ones.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from; a library is not installed.
    """
    from lienzo.tasks.train.base import train

    size = options.image_size
    yield from train(
        options,
        size,
        partial(recipe, options),
        title=f"Autoencoder ({options.kind}), {size} px",
        limits=f"Knows pictures like those it was trained on, at {size} x {size} pixels; reconstructions lose detail.",
    )


def recipe(options: TrainVae, data: DataSet, held: DataSet) -> VaeRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: an option is of another kind, or a library for the sampler is not installed.
    """
    from lienzo.autoencoders.latent_samplers import require_sampler
    from lienzo.autoencoders.vae_recipe import VaeRecipe, VaeTraining

    require_sampler(options.sampler)
    training = VaeTraining(
        options.kind, loss_options(options), options.batch, options.seed, options.sampler, options.components
    )
    levels = 2 if options.kind == "vq-vae" and options.levels is None else options.levels
    config = {
        "latent": options.latent, "network": options.network, "hidden": list(options.hidden), "width": options.width,
        "levels": levels,
    }  # fmt: skip
    return VaeRecipe(data, held, config, training)


def loss_options(options: TrainVae) -> dict[str, Any]:
    """What the flags say of the kind's own options; what was not given is left to the kind."""
    given: dict[str, Any] = {"loss": options.loss, "sigma": options.sigma, "reduction": options.reduction}
    own = {"beta": options.beta, "weight": options.weight, "samples": options.draws}
    given |= {name: value for name, value in own.items() if value is not None}
    if options.kind == "vq-vae":
        given |= {"size": options.codes, "dim": options.code_length}
    return given
