"""`lienzo train painter`: an artist's own text-to-picture model, from nothing or on from a painter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from lienzo.core.events import Event, Note
from lienzo.tasks.train.base import TrainOptions, opened, train_recipe

TUNING: dict[str, Any] = {
    "batch": 256, "images": 700_000, "learning_rate": 1e-3, "warmup": 10_000, "fall": 0.6, "held": 0.0,
    "ema_half_lives": (20_000,), "look_images": 350_000,
}  # fmt: skip
"""What differs with --from, where nothing else is asked for."""
LIMITS = (
    "Draws what its training pictures show under the words of their captions, and mixes of that; a few pictures are "
    "learned by heart, see the figures 'copies'."
)


class TrainPainter(TrainOptions):
    """Train a painter on your pictures, for: lienzo create --model OUT "...".

    Captions are read from the files beside the pictures; where there are none, the names of their folders are what
    they show. With --from painter the bundled painter learns your style on top of what it can draw: then a few
    pictures are enough, and prompts name the style, as in "a bridge in the style of NAME"; all of them are learned
    (--held 0) and 700 000 items seen in batches of 256 unless you say otherwise.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "laptop": {},
        "gpu": {
            "width": 768, "hidden": 3072, "blocks": 8, "batch": 2048, "images": 60_000_000, "warmup": 400_000,
            "ema_half_lives": (1_000_000,), "look_images": 6_000_000,
        },
    }  # fmt: skip

    size: int = Field(64, ge=16, le=128, multiple_of=8)
    """Side of the pictures in pixels that the painter learns; create enlarges them. With --from it is the model's."""
    code_length: int = Field(512, ge=16, le=2048)
    """Numbers in a picture's code, where there are pictures enough. With --from it is the model's and --added."""
    width: int = Field(448, ge=16, le=4096)
    """Width of the network."""
    hidden: int = Field(1264, ge=16, le=16384)
    """Width of its hidden layers."""
    blocks: int = Field(6, ge=1, le=64)
    """Its depth."""
    style: str | None = Field(None, max_length=60)
    """Name of the style of all pictures; default: that of each folder where captioned pictures are in several, else
    that of the data's folder."""
    prior: float = Field(0.3, ge=0, le=0.9)
    """With --from: share of each batch in which the model practises what it could draw before."""
    repaint: float = Field(0.55, ge=0, le=0.9)
    """With --from: share of each batch that are its own drawings in the palette of your pictures."""
    repaints: int = Field(3000, ge=1, le=20_000)
    """With --from: number of such drawings, over all new styles."""
    crops: int = Field(16, ge=1, le=256)
    """With --from: views of each of your pictures, moved and cropped a little."""
    added: int = Field(128, ge=0, le=1024)
    """With --from: numbers that may be added to the code for what your pictures show and the model cannot."""
    copies: int = Field(32, ge=0, le=1000)
    """Samples that are compared with the training pictures at the end, to see what was learned by heart; 0: none."""

    # Of the plan, what suits a laptop.
    batch: int = Field(512, ge=1, le=65_536)
    """Pictures of one forward pass of one process."""
    images: int = Field(2_000_000, ge=1)
    """Pictures to see in all."""
    learning_rate: float = Field(1.5e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup: int = Field(50_000, ge=0)
    """Pictures over which the rate rises linearly from 0."""
    fall: float = Field(0.5, ge=0, le=1)
    """Last share of the run over which the rate falls to 0."""
    ema_half_lives: tuple[int, ...] = Field((100_000,), min_length=1)
    """Pictures after which a weight's share in each moving average has halved; the first average is the model."""
    look_images: int = Field(500_000, ge=0)
    """Pictures between evaluations and sample sheets; 0 means only at the end."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Number type of the forward pass; fp16 needs CUDA."""


def run(options: TrainPainter) -> Iterator[Event]:
    """Train, resume, or fine-tune.

    Yields:
        The loop's events; sample sheets show real pictures above drawn ones, the withheld ones at the right. At the
        end, how many samples are copies of training pictures, and a sheet of them.

    Raises:
        BadInput: the data or the model of --from do not fit.
    """
    from lienzo.core.errors import BadInput
    from lienzo.tasks import painter_recipes as recipes

    if options.start_from is None and options.lora is not None:
        raise BadInput("--lora trains adapters of a model; name it with --from.")
    base = recipes.open_base(options.start_from) if options.start_from else None
    if base is not None:
        unset = {name: value for name, value in TUNING.items() if name not in options.model_fields_set}
        options = options.model_copy(update=unset)
    size = options.size if base is None else 2 * base.code.size  # crops are taken from larger pictures
    data, held = yield from opened(options, size)
    made = recipes.from_nothing(options, data, held) if base is None else recipes.tuned(options, base, data, held)
    yield Note(f"{made.painter.config['length']} numbers a picture; styles learned: {', '.join(made.styles)}.")
    title = f"Painter of {', '.join(made.styles)}, {made.painter.code.size} px"
    yield from train_recipe(options, made.recipe, data, title, LIMITS, start=False)
    if not options.dry_run:
        yield from recipes.looked_over(options, made, data)


def is_painter(name: str) -> bool:
    """Whether a model is of the painters' family, by its description alone."""
    from lienzo.core.errors import BadInput
    from lienzo.weights.models import read_record
    from lienzo.weights.store import resolve

    try:
        return read_record(resolve(name))["network"] in ("painter", "code-painter")
    except BadInput:
        return False


def as_painter(options: TrainOptions) -> TrainPainter:
    """The options of another verb that was given a painter to start from: what both verbs share and was given."""
    shared = [name for name in TrainOptions.model_fields if name in options.model_fields_set]
    return TrainPainter(**{name: getattr(options, name) for name in shared})
