"""The recipes of `lienzo train painter`: a painter from nothing, or tuned on a base; and the look at what it copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from lienzo.clip.compact import CompactClip
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note
from lienzo.core.text import printable
from lienzo.data.phrases import things
from lienzo.data.sets import DataSet
from lienzo.diffusion.code_painter import CodePainter, widen, wider_config
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.drawing import draw_codes
from lienzo.diffusion.linear_code import LinearCode, extend_linear_code, fit_linear_code
from lienzo.diffusion.own_painter import OwnPainter, joined
from lienzo.diffusion.own_painter_recipe import GUIDANCE, Beside, OwnPainterRecipe, Shown, pixels
from lienzo.imaging.writing import save_picture
from lienzo.metrics.memorisation import memorised
from lienzo.tasks import painter_sets as sets
from lienzo.tasks.painter_sets import Base, Captioned, Read, some
from lienzo.tasks.train.outcome import measured
from lienzo.training.finetune import FineTune, save_adapter
from lienzo.training.recipe import Recipe
from lienzo.training.state import trained
from lienzo.weights.models import Card, Measured, load_model, read_record, save_model
from lienzo.weights.reading import read_weights
from lienzo.weights.store import RUN_MODEL, resolve

if TYPE_CHECKING:
    from lienzo.tasks.train.painter import TrainPainter

WHOLE = ("painter.enter", "painter.leave", "painter.style")  # learn beside adapters: they hold what is new
KNOWN = 256  # captions that a file names as what it can draw
SHOWN = 12  # pictures of a sample sheet, a third of them withheld ones
FEWEST = 17  # pictures without which there is no code
ENERGY = 0.9  # share of what the old code loses that the new components bring back
FITTED = 2000  # pictures to which a code is extended


@dataclass(frozen=True)
class Made:
    """A recipe to train.

    Attributes:
        recipe: as the loop wants it.
        painter: the painter's recipe in it.
        styles: names of the styles that are learned.
        sources: uint8 pictures, views of which are learned.
    """

    recipe: Recipe
    painter: OwnPainterRecipe
    styles: list[str]


def open_base(name: str) -> Base:
    """The painter to start from.

    Raises:
        BadInput: the model is no painter.
    """
    model = load_model(resolve(name))
    if isinstance(model, OwnPainter):
        return Base(model.painter, model.code, model.config["known"] or things())
    if not isinstance(model, CodePainter):
        kind = type(model).__name__
        raise BadInput(f"'{printable(name)}' is a {kind}, no painter; start from painter or from the run of one.")
    code = load_model(resolve("code"))
    if not isinstance(code, LinearCode) or code.config["length"] != model.config["length"]:
        raise BadInput("The model 'code' is not the linear code of the painter.")
    return Base(model, code, things())


def reader() -> Read:
    """The bundled sentence encoder."""
    return load_model(resolve("sentence"))


def from_nothing(options: TrainPainter, train: DataSet, held: DataSet) -> Made:
    """A painter that will know these pictures alone.

    Raises:
        BadInput: there are too few.
    """
    if len(train) < FEWEST:
        raise BadInput(f"{len(train)} pictures are too few to learn from alone; add --from painter.")
    read = reader()
    styles, index = sets.styles_of([train, held], options.style, options.data)
    captions = sets.captions_of_set(train, styles)
    length = min(options.code_length, (len(train) - 1) // 16 * 16)
    code = fit_linear_code(train.images, length, options.seed)
    anything = tuple(things()) if not any(captions) else ()  # then every word draws what there is
    own = sets.coded(Captioned(train.images, [c or anything for c in captions], index[0]), code, read)
    withheld = sets.coded(Captioned(held.images, sets.captions_of_set(held, styles), index[1]), code, read)
    config = {"length": length, "width": options.width, "hidden": options.hidden, "blocks": options.blocks,
              "text_dim": own.vectors.shape[1], "styles": styles}  # fmt: skip
    recipe = OwnPainterRecipe(
        own, config, withheld, code, batch_size=options.batch, seed=options.seed,
        shown=shown([(pictures(train, size=code.size), own), (pictures(held, size=code.size), withheld)]),
        known=some([c[0] for c in captions if c], KNOWN),
    )  # fmt: skip
    return Made(recipe, recipe, styles)


def tuned(options: TrainPainter, base: Base, train: DataSet, held: DataSet) -> Made:
    """A painter that learns these pictures, which are of twice its size, besides what it knows."""
    read, size, known = reader(), base.code.size, base.painter.config["styles"]
    styles, index = sets.styles_of([train, held], options.style, options.data)
    new = [style for style in styles if style not in known]
    index = [np.array([[*known, *new].index(style) for style in styles], dtype=np.int64)[i] for i in index]
    captions = sets.captions_of_set(train, styles)
    views = sets.cropped(Captioned(train.images, captions, index[0]), size, options.crops, options.seed)
    withheld = sets.cropped(Captioned(held.images, sets.captions_of_set(held, styles), index[1]), size, 1, options.seed)
    words, mixed = sets.with_words(base.known), []
    if options.repaint:
        first = Captioned(views.array[:: options.crops], captions, index[0])
        drawings = sets.in_palettes(base, first, words, read, options.repaints, options.seed)
        mixed.append((options.repaint, drawings))
    code = base.code
    for part in [*(part for _, part in mixed), views]:  # one after the other, or the many would outvote the few
        chosen = np.random.default_rng(options.seed).permutation(len(part.images))[:FITTED]
        left = options.added - (code.config["length"] - base.code.config["length"])
        code = extend_linear_code(code, part.array[np.sort(chosen)], left, energy=ENERGY)
    beside = [Beside(share, sets.coded(part, code, read)) for share, part in mixed]
    if options.prior:
        old = [*words, *(text for own in captions for text in own)]
        prior = sets.drawn_by(base, old, read, 2, options.seed)
        prior.codes = F.pad(prior.codes, (0, code.config["length"] - prior.codes.shape[1]))
        beside.append(Beside(options.prior, prior, base.painter))
    own, unseen = sets.coded(views, code, read), sets.coded(withheld, code, read)
    recipe = OwnPainterRecipe(
        own, wider_config(base.painter.config, code.config["length"] - base.code.config["length"], new), unseen, code,
        batch_size=options.batch, seed=options.seed, beside=beside,
        shown=shown([(views.array, own), (withheld.array, unseen)]),
        known=[*some([c[0] for c in captions if c], KNOWN // 2), *some(base.known, KNOWN // 2)],
    )  # fmt: skip
    return Made(with_weights(options, base, recipe, new), recipe, styles)


def with_weights(options: TrainPainter, base: Base, recipe: OwnPainterRecipe, new: Sequence[str]) -> FineTune:
    """The recipe with the base's weights, widened: it draws what the base draws until the first step."""
    known = len(base.painter.config["styles"])
    rows = [np.flatnonzero(recipe.data.style.numpy() == known + i)[:512] for i in range(len(new))]
    if options.repaint:
        like = [sets.beside_clearest(base, options.seed + i) for i in range(len(new))]
    else:
        like = [sets.nearest_style(base, recipe.data, own, options.seed) for own in rows]
    added = recipe.config["length"] - base.painter.config["length"]
    painter = widen(base.painter, added, new, torch.stack(like) if like else None)
    return FineTune(recipe, joined(painter, recipe.code).state_dict(), options.lora, WHOLE)


def pictures(data: DataSet, size: int, most: int = SHOWN) -> np.ndarray:
    """The first pictures of a set: uint8 (N, size, size, 3)."""
    return np.asarray(data.images[np.arange(min(len(data), most))]).reshape(-1, size, size, 3)


def shown(parts: Sequence[tuple[np.ndarray, CodedPictures]]) -> Shown:
    """What the sample sheets show: pictures of the first part, then up to four of the second."""
    (images, own), (unseen_images, unseen) = parts
    vectors, style, real = [], [], []
    last = min(len(unseen_images), SHOWN // 3)
    first = np.linspace(0, len(images) - 1, min(len(images), SHOWN - last)).astype(int)
    for data, source, rows in ((own, images, first), (unseen, unseen_images, range(last))):
        for row in rows:
            captions = data.caption_rows[row]
            vectors.append(data.vectors[captions[0] if len(captions) else 0])
            style.append(data.style[row])
            real.append(source[row])
    return Shown(torch.stack(vectors).float(), torch.stack(style), np.stack(real))


def looked_over(options: TrainPainter, made: Made, train: DataSet) -> Iterator[Event]:
    """After training: the adapter's own file, and how many samples are copies of training pictures."""
    model = trained(made.recipe, options.out)
    if isinstance(made.recipe, FineTune) and made.recipe.lora is not None:
        path = save_adapter(model, options.out / "adapter", WHOLE)
        yield Note(f"What was learned beside the frozen weights is {path.parent}.")
    if not options.copies:
        return
    data, length = made.painter.data, made.painter.config["length"]
    rows = np.linspace(0, len(data.codes) - 1, min(options.copies, len(data.codes))).astype(int)
    captions = [data.caption_rows[row] for row in rows]
    text = torch.stack([data.vectors[own[0] if len(own) else 0] for own in captions]).float()
    seeds = [options.seed + i for i in range(len(rows))]
    codes = draw_codes(model, text, data.style[rows], seeds, length=length, guidance=GUIDANCE)
    samples = pixels(made.painter.code, codes)
    found = memorised(samples, train.images, features())
    yield from (Metric(name, value) for name, value in found.figures().items())
    add_figures(options.out / RUN_MODEL, found.figures())
    sheet = options.out / "copies.png"
    save_picture(found.sheet(samples, train.images), sheet, exist_ok=True)
    count = int(found.pixels.copied.sum())
    yield Note(
        f"{count} of {len(samples)} samples for training captions are copies of training pictures (nearer to one than "
        f"it is to itself moved by 2 pixels); {sheet} shows each beside the nearest."
    )


def add_figures(path: Path, figures: Mapping[str, float]) -> None:
    """Write figures into the card of a finished model, in place of those of the same name and protocol."""
    record, weights = read_record(path), read_weights(path)
    card = Card(**record["card"])
    new = [measured(name, value) for name, value in figures.items()]
    same = {(figure.name, figure.protocol) for figure in new}
    old = [figure for figure in card.metrics if isinstance(figure, Measured)]
    kept = [figure for figure in old if (figure.name, figure.protocol) not in same]
    card = card.model_copy(update={"metrics": [*kept, *new]})
    save_model(path, record["network"], record["config"], weights.tensors, card)


def features() -> Any:
    """The guide CLIP's features of pictures in [0, 1], or None where it is another CLIP."""
    guide = load_model(resolve("guide"))
    return guide.encode_image if isinstance(guide, CompactClip) else None
