"""`lienzo reproduce`: make a picture again from its recipe and say whether it is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture
from lienzo.core.options import Options
from lienzo.core.text import printable

CLOSE = 35.0  # dB: above this the eye sees no difference


class Maker(Protocol):
    """What makes a picture again."""

    def recipe(self, seed: int) -> dict[str, Any]: ...

    def pictures(self) -> Iterator[Event]: ...


class Way(NamedTuple):
    """How pictures of one task are made again.

    `options` is the task's class; `outside` those that change no picture, `files` those that name files, `model` that
    of the model; `make` opens what makes the picture; `clean` takes files out of other options of a recipe.
    """

    options: type[Options]
    outside: tuple[str, ...]
    files: tuple[str, ...]
    model: str
    make: Callable[[Any], Maker]
    clean: Callable[[dict[str, Any]], dict[str, Any]] = dict


class Reproduce(Options):
    """Make a picture again from its recipe and compare: exact, close, or why not."""

    picture: Path = Field(json_schema_extra={"positional": True})
    """Picture that carries a recipe of Lienzo."""
    init: Path | None = None
    """The picture it started from, when it had one."""
    mask: Path | None = None
    """The mask it was painted under, when it had one."""
    image_prompt: tuple[str, ...] = ()
    """The pictures that CLIP guided towards, when there were some, as they were given to create or paint."""
    lora: tuple[str, ...] = ()
    """The LoRA files, when there were some, as they were given to create."""
    embedding: tuple[str, ...] = ()
    """The files of textual inversion, when there were some, as they were given to create."""
    vae: Path | None = None
    """The file of the other autoencoder, when there was one."""
    target: Path | None = None
    """The picture that paint came near to, when there was one."""
    spot_mask: tuple[Path, ...] = ()
    """The masks of paint's spots, when there were some."""
    loss: tuple[str, ...] = ()
    """The losses, when one of them reads a file, as they were given."""
    model: str | None = None
    """Where its model is, when it is not among the installed ones; for paint its VQGAN."""
    out: Path | None = None
    """Keep the new picture there."""
    device: str = "auto"
    """Where to compute."""


def run(options: Reproduce) -> Iterator[Event]:
    """Yields the events of painting, then the PSNR and one Note: exact, close, or why not."""
    import numpy as np

    from lienzo.imaging.metadata import read_recipe
    from lienzo.imaging.reading import load_picture
    from lienzo.imaging.writing import save_picture

    recipe = read_recipe(options.picture) or {}
    parts = (recipe.get(part) for part in ("options", "models", "inputs"))
    way = way_of(recipe.get("task"))
    if way is None or not all(isinstance(part, dict) for part in parts):
        raise BadInput(f"{options.picture.name} carries no recipe of Lienzo; there is nothing to follow.")
    given = followed(recipe, options, way)
    maker = way.make(given)
    reasons = differences(recipe, maker.recipe(given.seed or 0))  # type: ignore[attr-defined]
    made: np.ndarray | None = None
    for event in maker.pictures():
        if isinstance(event, Picture):
            made = event.image
            if options.out is not None:
                save_picture(made, options.out, metadata=event.recipe, exist_ok=True)
        else:
            yield event
    original = load_picture(options.picture)
    if made is None or made.shape != original.shape:
        yield Note(f"Not the same: another size. {' '.join(reasons)}".strip(), "warning")
        return
    error = float(((made.astype(np.float64) - original) ** 2).mean())
    psnr = 10 * np.log10(255**2 / error) if error else float("inf")
    yield Metric("psnr", psnr, "rgb,8bit")
    yield verdict(error, psnr, options.picture, reasons)


def way_of(task: object) -> Way | None:
    """How to make pictures of that task again, or None."""
    if task == "create":
        from lienzo.tasks.bench import OUTSIDE
        from lienzo.tasks.create import Create
        from lienzo.tasks.easel import open_easel
        from lienzo.tasks.loss_files import without_loss_files

        files = ("init", "mask", "image_prompt", "lora", "embedding", "vae", "loss")
        return Way(Create, OUTSIDE, files, "model", open_easel, without_loss_files)
    if task == "paint":
        from lienzo.tasks import painting
        from lienzo.tasks.loss_files import without_loss_files
        from lienzo.tasks.paint import Paint

        return Way(Paint, painting.OUTSIDE, painting.FILES, "vqgan", painting.open_painting, without_loss_files)
    if task == "walk":
        from lienzo.tasks import walking
        from lienzo.tasks.walk import WalkFrame

        return Way(WalkFrame, walking.OUTSIDE, ("lora", "embedding", "vae"), "model", walking.FrameMaker)
    return None


def followed(recipe: dict[str, Any], options: Reproduce, way: Way) -> Options:
    """The options that a recipe tells. It comes with a picture from anywhere, so that it may name models, no files.

    Raises:
        BadInput: the recipe does not fit, or a file that it started from is not given.
    """
    from lienzo.imaging.metadata import private

    told = way.clean(private(recipe["options"]))
    given = {name: value for name, value in told.items() if name not in way.outside}
    unknown = [name for name in given if name not in way.options.model_fields]
    if unknown:
        raise BadInput(f"The recipe has the option '{unknown[0]}', which this version of Lienzo lacks.")
    for name in way.files:
        here = getattr(options, name) or None
        if name in recipe["inputs"] and here is None:
            flag = name.replace("_", "-")
            raise BadInput(f"This picture was made with --{flag}; give the same file to reproduce it.")
        if here is not None or name != "loss":
            given[name] = here
    given |= {"device": options.device, way.model: options.model or given.get(way.model)}
    refuse_unknown_models({**given, way.model: None} if options.model else given, "diffusers" in recipe)
    return way.options.make(**{name: value for name, value in given.items() if value is not None})


def refuse_unknown_models(given: dict[str, Any], pipeline: bool) -> None:
    """A picture from anywhere may not make this machine download what its user never asked for.

    Args:
        given: options of a recipe.
        pipeline: whether it says that a pipeline of diffusers made it.

    Raises:
        BadInput: one of them names a model of the hub that is not in the cache, or a pipeline that is nowhere.
    """
    from lienzo.tasks.hub_pipelines import find_pipeline
    from lienzo.weights.hub import is_kept
    from lienzo.weights.places import HUB

    named = [value for option, value in given.items() if option not in ("prompt", "prompts", "negative", "style")]
    texts = [each for value in named for each in (value if isinstance(value, list) else [value])]
    for name in texts:
        if isinstance(name, str) and name.startswith(HUB) and not is_kept(name.removeprefix(HUB)):
            shown = printable(name, 150)
            raise BadInput(f"It was made with '{shown}', which is not on this machine; fetch it first with create.")
    model = given.get("model")
    if pipeline and isinstance(model, str) and not model.startswith(HUB) and find_pipeline(model) is None:
        shown = printable(model, 100)
        raise BadInput(f"It was made by '{shown}', a pipeline of diffusers; say where it is with --model.")


def verdict(error: float, psnr: float, path: Path, reasons: list[str]) -> Note:
    """The sentence about how alike the two pictures are."""
    why = " ".join(reasons)
    if error == 0:
        return Note(f"Exact: every pixel is the same. {why}".strip())
    if psnr >= CLOSE:
        lossy = "" if path.suffix.lower() == ".png" else "The file is compressed with loss. "
        return Note(f"Close: {psnr:.1f} dB. {lossy}{why}".strip())
    return Note(f"Not the same: {psnr:.1f} dB. {why or 'Nothing in the recipe says why.'}", "warning")


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What is not as it was: models, inputs, versions, device."""
    models = old.get("models", {})
    other = [name for name in {**models, **new["models"]} if new["models"].get(name) != models.get(name)]
    found = [f"The file of {name} is not the one it was made with." for name in other]
    for name, digest in old.get("inputs", {}).items():
        if new["inputs"].get(name) != digest:
            kind = "file" if name in ("lora", "embedding", "vae") else "picture"
            found.append(f"The {name.replace('_', ' ')} {kind} is another one.")
    for name, word in (
        ("behaviour", "behaviour version"),
        ("torch", "torch"),
        ("device", "device"),
        ("diffusers", "diffusers"),
    ):
        if old.get(name) != new.get(name):
            found.append(f"It was made with {word} {old.get(name)}, this is {new.get(name)}.")
    return found
