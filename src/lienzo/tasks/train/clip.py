"""`lienzo train clip`: a CLIP on your captioned pictures, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.core.text import printable
from lienzo.tasks.train.base import TrainOptions

if TYPE_CHECKING:
    from lienzo.clip.clip_recipe import ClipRecipe, Teacher
    from lienzo.clip.objective import Objective
    from lienzo.data.sets import DataSet
    from lienzo.training.recipe import Recipe

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

    A large --batch teaches more, for each pair is told apart from all others of it; --chunk fits it into memory.
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
    crop: float = Field(0.9, gt=0, le=1)
    """Smallest share of a picture's area that random crops keep; 1 leaves pictures whole."""
    loss: Literal["clip", "siglip"] = "clip"
    """CLIP's softmax over the batch, or SigLIP's yes or no for each pair, which is kinder to small batches."""
    i2t_weight: float = Field(0.5, ge=0, le=1)
    """Weight of finding the text of a picture against finding the picture of a text; 0.5 is CLIP. Not for siglip."""
    cyclip_in_modal: float = Field(0.0, ge=0, le=100)
    """Weight of CyCLIP's first term: two pictures are as alike as their texts. The paper takes 0.25."""
    cyclip_cross_modal: float = Field(0.0, ge=0, le=100)
    """Weight of CyCLIP's second term: picture A fits text B as text A fits picture B. The paper takes 0.25."""
    chunk: int | None = Field(None, ge=1, le=65_536)
    """Pairs whose activations are in memory at once; the batch, a multiple, is still told apart as one. About a third
    more time. Batch norms of a resnet see a chunk."""
    lock_image: bool = False
    """With --from: keep the image tower as it is and teach only the text tower."""
    lock_text: bool = False
    """With --from: keep the text tower as it is and teach only the image tower."""
    teacher: str | None = None
    """A sentence encoder that the text tower imitates: the model `sentence` of Lienzo, or a folder of MiniLM."""
    teacher_weight: float = Field(1.0, gt=0, le=100)
    """Weight of imitating the teacher."""
    all_negatives: bool = True
    """With several processes, contrast with the pairs of all of them."""
    local_loss: bool = True
    """With several processes, each scores its own rows; without, all rows, at more memory and to the same end."""
    gather_with_grad: bool = True
    """With several processes, let gradients flow between them; without, they are only approximate (OpenCLIP)."""

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

    @model_validator(mode="after")
    def _parts_fit_each_other(self) -> Self:
        locked = self.lock_image or self.lock_text
        if self.lock_image and self.lock_text:
            raise ValueError("--lock-image and --lock-text together leave nothing to learn")
        if locked and not self.start_from:
            raise ValueError("a locked tower stays as it is in a model; name that with --from")
        if locked and self.lora is not None:
            raise ValueError("--lora keeps the weights of both towers already; leave --lock-image and --lock-text out")
        if self.lock_text and self.teacher is not None:
            raise ValueError("a locked text tower (--lock-text) cannot imitate a --teacher")
        if self.teacher is None and "teacher_weight" in self.model_fields_set:
            raise ValueError("--teacher-weight needs a --teacher")
        if self.chunk is not None and self.batch % self.chunk:
            raise ValueError(f"--chunk {self.chunk} does not divide --batch {self.batch}")
        if self.chunk is not None and self.compile:
            raise ValueError("--chunk computes embeddings twice, which --compile cannot do; leave one of them out")
        return self


def run(options: TrainClip) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; a sheet shows withheld captions below the pictures that they find first.

    Raises:
        BadInput: the options contradict each other, the data or the model of --from; there are no captions.
    """
    from lienzo.tasks.train.base import opened, train_recipe
    from lienzo.training.finetune import FineTune
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    config, goal = described(options), objective(options)
    if options.lora is not None and options.start_from is None:
        raise BadInput("--lora trains adapters of a model; name it with --from.")
    teacher = None if options.teacher is None else read_teacher(options.teacher)
    size = config["image_resolution"]
    data, held = yield from opened(options, size)
    made: Recipe = recipe(options, config, goal, teacher, data, held)
    if options.start_from:
        state = load_model(resolve(options.start_from)).state_dict()
        if goal.loss == "siglip":
            del state["logit_scale"]  # it belongs to the bias, which files do not have; SigLIP begins with its own
        new = ("logit_scale", "logit_bias", "imitate")  # learn whole, whatever has adapters
        made = FineTune(made, state, options.lora, () if goal.loss == "clip" and teacher is None else new)
    limits = "Knows pictures and words like those of its training data; counting, places and negation are weak."
    yield from train_recipe(options, made, data, f"CLIP, {size} px", limits, start=False)


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


def objective(options: TrainClip) -> Objective:
    """The loss that the options describe.

    Raises:
        BadInput: they contradict each other.
    """
    from lienzo.clip.objective import Objective

    return Objective(**{field.name: getattr(options, field.name) for field in fields(Objective)})


def read_teacher(name: str) -> Teacher:
    """A sentence encoder: a folder of MiniLM, or a model of Lienzo.

    Raises:
        BadInput: there is none of that name, or it reads no sentences.
    """
    from lienzo.clip.sentence import SentenceEncoder
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    if (Path(name) / "tokenizer.json").is_file():
        from lienzo.clip.minilm import MiniLM

        return MiniLM(Path(name))
    model = load_model(resolve(name))
    if not isinstance(model, SentenceEncoder):
        raise BadInput(f"'{printable(name)}' is a {type(model).__name__}; a --teacher is a sentence encoder.")
    return model


def recipe(
    options: TrainClip,
    config: dict[str, Any],
    goal: Objective,
    teacher: Teacher | None,
    data: DataSet,
    held: DataSet,
) -> ClipRecipe:
    """The recipe that the options describe.

    Raises:
        BadInput: the pictures have no captions.
    """
    from lienzo.clip.clip_recipe import ClipRecipe

    return ClipRecipe(
        data,
        held,
        config,
        objective=goal,
        batch_size=options.batch,
        chunk=options.chunk,
        crop=options.crop,
        locked=[tower for tower, locked in (("image", options.lock_image), ("text", options.lock_text)) if locked],
        teacher=teacher,
        seed=options.seed,
    )
