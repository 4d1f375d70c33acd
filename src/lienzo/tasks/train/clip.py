"""`lienzo train clip`: a CLIP on your captioned pictures, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.core.text import printable
from lienzo.tasks.train.base import TrainOptions

if TYPE_CHECKING:
    from lienzo.clip.clip_recipe import ClipRecipe
    from lienzo.data.sets import DataSet

NETWORK = {
    "size": "image_resolution",
    "tower": "vision_patch_size",
    "layers": "vision_layers",
    "width": "vision_width",
    "patch": "vision_patch_size",
    "embed_dim": "embed_dim",
    "text_width": "transformer_width",
    "text_layers": "transformer_layers",
    "context_length": "context_length",
}
"""Fields that describe the network, each with the argument of `CLIP` that it sets."""

_OPENAI: dict[str, Any] = {
    "size": 224, "tower": "vit", "layers": (12,), "width": 768, "patch": 32, "embed_dim": 512, "text_width": 512,
    "text_layers": 12, "context_length": 77,
}  # fmt: skip


class TrainClip(TrainOptions):
    """Train a CLIP, both towers, on pictures with captions; class names serve where there are none.

    With --from (a CLIP of OpenAI, OpenCLIP, Hugging Face or Lienzo) the network is that of the file; take a low
    --learning-rate then, such as 1e-5. Guide and rank with the result: lienzo create --clip RUN/model.safetensors.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            **_OPENAI, "batch": 256, "precision": "bf16", "learning_rate": 5e-4, "warmup": 2_560_000,
            "images": 100_000_000, "ema_half_lives": (1_000_000,), "look_images": 2_000_000,
        },
    }  # fmt: skip

    size: int = Field(64, ge=16, le=1024)
    """Width and height in pixels; the pictures are scaled and cropped to it. A resnet needs 32 or more."""
    tower: Literal["resnet", "vit"] = "resnet"
    """What reads pictures: CLIP's ResNet, which learns from fewer pictures, or a vision transformer."""
    layers: tuple[int, ...] = (1, 1, 1, 1)
    """Blocks of the four stages of a resnet, or one number for a vit."""
    width: int = Field(16, ge=2, le=4096)
    """Width of a resnet's first stage (its features are 32 times as wide), or of a vit."""
    patch: int = Field(8, ge=1, le=256)
    """Side of a vit's patches in pixels."""
    embed_dim: int = Field(128, ge=1, le=4096)
    """Width of the space that pictures and texts share."""
    text_width: int = Field(128, ge=1, le=4096)
    """Width of the text transformer."""
    text_layers: int = Field(2, ge=1, le=64)
    """Its depth."""
    context_length: int = Field(32, ge=3, le=1024)
    """Tokens of a caption, two of which are marks; longer captions are cut."""
    i2t_weight: float = Field(0.5, ge=0, le=1)
    """Weight of finding the text of a picture against finding the picture of a text; 0.5 is CLIP."""
    crop: float = Field(0.9, gt=0, le=1)
    """Smallest share of a picture's area that random crops keep; 1 leaves pictures whole."""
    all_negatives: bool = True
    """With several processes, contrast with the pairs of all of them."""

    # Of the plan, what suits a laptop.
    batch: int = Field(128, ge=2, le=65_536)
    """Pairs of one forward pass of one process; each is told apart from all others of it."""
    images: int = Field(100_000, ge=1)
    """Pairs to see in all."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """How the rate falls at the end of the run: linearly, along a cosine, or not at all."""
    warmup: int = Field(10_000, ge=0)
    """Pairs over which the rate rises linearly from 0."""
    fall: float = Field(1.0, ge=0, le=1)
    """Last share of the run over which the rate falls to 0."""
    weight_decay: float = Field(0.2, ge=0)
    """AdamW's decay, on matrices and kernels only."""
    beta2: float = Field(0.98, gt=0, lt=1)
    """AdamW's second momentum."""
    ema_half_lives: tuple[int, ...] = Field((10_000,), min_length=1)
    """Pairs after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(25_000, ge=0)
    """Pairs between evaluations and sample sheets; 0 means only at the end."""

    @model_validator(mode="after")
    def _layers_fit_the_tower(self) -> Self:
        wanted = 4 if self.tower == "resnet" else 1
        if len(self.layers) != wanted or min(self.layers) < 1:
            plural = "four positive numbers" if wanted == 4 else "one positive number"
            raise ValueError(f"--layers should be {plural} for a {self.tower}, not {self.layers}")
        return self


def run(options: TrainClip) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sheet shows withheld captions below the pictures that they find first.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from; there are no captions.
    """
    from lienzo.tasks.train.base import train

    config = described(options)
    size = config["image_resolution"]
    yield from train(
        options,
        size,
        partial(recipe, options, config),
        title=f"CLIP, {size} px",
        limits="Knows pictures and words like those of its training data; counting, places and negation are weak.",
    )


def described(options: TrainClip) -> dict[str, Any]:
    """The arguments of `CLIP`: those of the options, or of the model of --from.

    Raises:
        BadInput: a given option contradicts the model, or the model is no CLIP.
    """
    vit = options.tower == "vit"
    made = {
        "embed_dim": options.embed_dim,
        "image_resolution": options.size,
        "vision_layers": options.layers[0] if vit else list(options.layers),
        "vision_width": options.width,
        "vision_patch_size": options.patch if vit else None,
        "context_length": options.context_length,
        "transformer_width": options.text_width,
        "transformer_layers": options.text_layers,
    }
    if not options.start_from:
        return made
    from lienzo.clip.model import CLIP
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    model = load_model(resolve(options.start_from))
    name = printable(options.start_from)
    if not isinstance(model, CLIP):
        raise BadInput(f"'{name}' is a {type(model).__name__}; this training needs a CLIP.")
    for field, key in NETWORK.items():
        mine, there = made[key], model.config[key]
        other = (mine is None) != (there is None) if field == "tower" else mine != there
        if field in options.model_fields_set and other:
            flag = field.replace("_", "-")
            raise BadInput(f"'{name}' does not fit --{flag}: its {key} is {there}; leave the option out.")
    return model.config


def recipe(options: TrainClip, config: dict[str, Any], data: DataSet, held: DataSet) -> ClipRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: the pictures have no captions.
    """
    from lienzo.clip.clip_recipe import ClipRecipe

    return ClipRecipe(
        data,
        held,
        config,
        batch_size=options.batch,
        i2t_weight=options.i2t_weight,
        crop=options.crop,
        all_negatives=options.all_negatives,
        seed=options.seed,
    )
