"""`lienzo train diffusion`: an ADM / Improved DDPM U-Net on your pictures, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.core.text import printable
from lienzo.tasks.train.base import TrainOptions
from lienzo.tasks.train.starting import DIFFUSION, network_name, network_of

if TYPE_CHECKING:
    from lienzo.data.sets import DataSet
    from lienzo.diffusion.adm_flags import DiffusionSettings
    from lienzo.diffusion.adm_recipe import AdmRecipe
    from lienzo.tasks.train.painter import TrainPainter

NETWORK = {
    "image_size": "image_size",
    "num_channels": "model_channels",
    "num_res_blocks": "num_res_blocks",
    "num_heads": "num_heads",
    "num_head_channels": "num_head_channels",
    "num_heads_upsample": "num_heads_upsample",
    "attention_resolutions": "attention_resolutions",
    "channel_mult": "channel_mult",
    "dropout": "dropout",
    "class_cond": "num_classes",
    "use_scale_shift_norm": "use_scale_shift_norm",
    "resblock_updown": "resblock_updown",
    "use_new_attention_order": "use_new_attention_order",
}
PAINTERS = ("painter", "code-painter")  # networks that `lienzo train painter` trains on
KEPT_DROPOUT = 0.1  # label dropout where a model that knows "no class" is trained on

# What guided-diffusion and improved-diffusion do where nothing is said; they do not clip gradients.
_ORIGINAL: dict[str, Any] = {
    "num_channels": 128, "num_res_blocks": 2, "num_heads": 4, "num_head_channels": -1, "channel_mult": "",
    "attention_resolutions": "16,8", "noise_schedule": "linear", "predict_v": False, "learning_rate": 1e-4,
    "schedule": "constant", "warmup": 0, "weight_decay": 0.0, "beta2": 0.999, "clip": 1e9,
}  # fmt: skip


class TrainDiffusion(TrainOptions):
    """Train a diffusion model (the U-Net of ADM and Improved DDPM) on your pictures.

    Options are named as in guided-diffusion: its --lr is --learning-rate here, --batch_size --batch, --microbatch
    --accumulate, --use_checkpoint --checkpointing, --use_fp16 --precision fp16. With --from the network and its
    diffusion are those of the model, and --lora trains adapters only. Paint with: lienzo create --model OUT.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            **_ORIGINAL, "image_size": 64, "num_head_channels": 64, "attention_resolutions": "32,16,8",
            "resblock_updown": True, "noise_schedule": "cosine", "learn_sigma": True, "rescale_learned_sigmas": True,
            "batch": 128, "precision": "bf16", "learning_rate": 2e-4, "warmup": 100_000, "clip": 1.0,
            "images": 20_000_000, "ema_half_lives": (500_000,), "look_images": 1_000_000,
        },
        "improved": {
            **_ORIGINAL, "image_size": 64, "num_res_blocks": 3, "learn_sigma": True, "diffusion_steps": 4000,
            "noise_schedule": "cosine", "rescale_timesteps": True, "rescale_learned_sigmas": True, "batch": 128,
            "images": 192_000_000, "ema_half_lives": (887_000,), "look_images": 1_280_000,
        },
        "adm-64": {
            **_ORIGINAL, "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "num_head_channels": 64,
            "attention_resolutions": "32,16,8", "resblock_updown": True, "use_new_attention_order": True,
            "dropout": 0.1, "class_cond": True, "learn_sigma": True, "noise_schedule": "cosine", "precision": "fp16",
            "batch": 64, "accumulate": 32, "learning_rate": 3e-4, "images": 1_105_920_000,
            "ema_half_lives": (14_195_000,), "look_images": 20_480_000,
        },
        "cda": {
            **_ORIGINAL, "image_size": 256, "num_heads": 1, "attention_resolutions": "16", "learn_sigma": True,
            "use_scale_shift_norm": False, "rescale_timesteps": True, "rescale_learned_sigmas": True, "batch": 16,
            "learning_rate": 5e-6, "precision": "fp16", "checkpointing": True, "ema_half_lives": (110_900,),
            "look_images": 50_000,
        },
    }  # fmt: skip

    image_size: int = Field(32, ge=8, le=1024)
    """Width and height in pixels; the pictures are scaled and cropped to it."""
    num_channels: int = Field(32, ge=32, le=1024)
    """Width of the network at full size, a multiple of 32."""
    num_res_blocks: int = Field(1, ge=1, le=16)
    """Residual blocks a level."""
    channel_mult: str = "1,2,4"
    """Width of each level as multiples of --num-channels, fractions too; empty for the usual ones of the size."""
    attention_resolutions: str = "8"
    """Sizes in pixels at which there is attention."""
    num_heads: int = Field(4, ge=1, le=64)
    """Attention heads, where --num-head-channels is -1."""
    num_head_channels: int = Field(32, ge=-1)
    """Channels of one attention head; -1 uses --num-heads."""
    num_heads_upsample: int = Field(-1, ge=-1)
    """Heads in the ascending half; -1 for as many as in the other."""
    use_scale_shift_norm: bool = True
    """The timestep scales and shifts the norms instead of being added."""
    resblock_updown: bool = False
    """Resample inside residual blocks, as ADM does."""
    use_new_attention_order: bool = False
    """The other order of channels in attention; only for compatibility."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of features dropped; 0.1 to 0.3 for small sets of pictures."""
    class_cond: bool = False
    """Learn the classes of the pictures, so that a class can be asked for."""
    label_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of labels hidden in training; 0.1 makes classifier-free guidance possible."""
    diffusion_steps: int = Field(1000, ge=1, le=100_000)
    """Timesteps."""
    noise_schedule: str = "cosine"
    """linear, cosine, sigmoid, ldm_linear, ldm_sqrt_linear, ldm_sqrt or stable_diffusion."""
    learn_sigma: bool = False
    """Learn the variance too (Improved DDPM's hybrid loss)."""
    use_kl: bool = False
    """Minimise the variational bound alone; best with --learn-sigma and --schedule-sampler loss-second-moment."""
    predict_xstart: bool = False
    """Predict the clean picture instead of the noise."""
    predict_v: bool = True
    """Predict v, a mix of noise and picture that learns fastest; switch it off to predict the noise."""
    rescale_timesteps: bool = False
    """Tell the network timesteps of 0 to 1000 whatever --diffusion-steps is."""
    rescale_learned_sigmas: bool = False
    """Weight the variational part of the hybrid loss by steps / 1000, as Improved DDPM does."""
    schedule_sampler: Literal["uniform", "loss-second-moment"] = "uniform"
    """Which timesteps are trained: all alike, or those with large losses more often."""
    random_flip: bool = False
    """Mirror every other picture. The original always does; here it is off, as it turns letters around."""
    bpd: int = Field(0, ge=0, le=1000)
    """Withheld pictures whose bits/dim is measured at each look; slow: one pass a timestep."""

    # Of the plan, what two cores of a CPU do in about ten minutes: the network learns from 34 pictures a second on one
    # core. bf16 makes it 50 where the CPU has instructions for it, but is slow elsewhere, so it is not the default.
    images: int = Field(40_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(2_000, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    ema_half_lives: tuple[int, ...] = Field((2_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(10_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""


def run(options: TrainDiffusion) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; sample sheets hold sixteen pictures, with --class-cond one class a column.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from.
    """
    from lienzo.tasks.train import painter
    from lienzo.tasks.train.base import train

    if options.start_from and network_name(options.start_from) in PAINTERS:
        yield from painter.run(as_painter(options))
        return
    config, settings = described(options)
    size = config["image_size"]
    by = "by class" if config["num_classes"] is not None else "and reads no sentences"
    yield from train(
        options,
        size,
        partial(recipe, options, config, settings),
        title=f"ADM diffusion model, {size} px",
        limits=f"Draws what its training pictures show, {by}; made for {size} x {size} pixels.",
    )


def as_painter(options: TrainDiffusion) -> TrainPainter:
    """The options of `lienzo train painter` for one who names a painter in --from: that trains it on.

    Raises:
        BadInput: an option was given that painters lack.
    """
    from lienzo.tasks.train.painter import TrainPainter

    given = {name: getattr(options, name) for name in options.model_fields_set}
    if strange := [name for name in given if name not in TrainPainter.model_fields]:
        raise BadInput(
            f"'{printable(str(options.start_from))}' is a painter, which has no --{strange[0].replace('_', '-')}; "
            "see lienzo train painter --help."
        )
    return TrainPainter.make(**given)


def described(options: TrainDiffusion) -> tuple[dict[str, Any], DiffusionSettings]:
    """The arguments of the network and its diffusion: the model's of --from, else those of the options.

    Raises:
        BadInput: they do not fit together.
    """
    from lienzo.diffusion.adm import Adm
    from lienzo.diffusion.adm_flags import from_flags

    names = {**NETWORK, **DIFFUSION}
    if options.start_from:
        return network_of(options, options.start_from, names, Adm)
    flags = {name: getattr(options, name) for name in names}
    if options.predict_xstart and "predict_v" not in options.model_fields_set:
        flags["predict_v"] = False  # our default gives way
    made = from_flags(flags)
    return made.config, made.diffusion


def recipe(
    options: TrainDiffusion, config: dict[str, Any], settings: DiffusionSettings, data: DataSet, held: DataSet
) -> AdmRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: classes are wanted and the pictures have none.
    """
    from lienzo.diffusion.adm_recipe import AdmRecipe, AdmTraining

    label_dropout = options.label_dropout
    if options.start_from and config["classes"] and "label_dropout" not in options.model_fields_set:
        label_dropout = KEPT_DROPOUT * (config["num_classes"] > len(config["classes"]))
    training = AdmTraining(
        batch_size=options.batch,
        seed=options.seed,
        class_cond=config["num_classes"] is not None,
        label_dropout=label_dropout,
        random_flip=options.random_flip,
        schedule_sampler=options.schedule_sampler.replace("-", "_"),
        bpd=options.bpd,
    )
    return AdmRecipe(data, held, config, settings, training)
