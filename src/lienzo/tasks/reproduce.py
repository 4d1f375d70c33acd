"""`lienzo reproduce`: make a picture again from its recipe and say whether it is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture
from lienzo.core.options import Options

if TYPE_CHECKING:
    from lienzo.tasks.create import Create

CLOSE = 35.0  # dB: above this the eye sees no difference


class Reproduce(Options):
    """Make a picture again from its recipe and compare: exact, close, or why not."""

    picture: Path = Field(json_schema_extra={"positional": True})
    """Picture that carries a recipe of Lienzo."""
    init: Path | None = None
    """The picture it started from, when it had one."""
    mask: Path | None = None
    """The mask it was painted under, when it had one."""
    image_prompt: tuple[str, ...] = ()
    """The pictures that CLIP guided towards, when there were some, as they were given to create."""
    model: str | None = None
    """Where its model is, when it is not among the installed ones."""
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
    from lienzo.tasks.easel import open_easel

    recipe = read_recipe(options.picture) or {}
    parts = (recipe.get(part) for part in ("options", "models", "inputs"))
    if recipe.get("task") != "create" or not all(isinstance(part, dict) for part in parts):
        raise BadInput(f"{options.picture.name} carries no recipe of Lienzo; there is nothing to follow.")
    create = followed(recipe, options)
    easel = open_easel(create)
    reasons = differences(recipe, easel.recipe(create.seed or 0))
    made: np.ndarray | None = None
    for event in easel.pictures():
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


def followed(recipe: dict[str, Any], options: Reproduce) -> Create:
    """The options that a recipe tells. It comes with a picture from anywhere, so that it may name models, no files.

    Raises:
        BadInput: the recipe does not fit, or a file that it started from is not given.
    """
    from lienzo.imaging.metadata import private
    from lienzo.tasks.create import Create
    from lienzo.tasks.easel import OUTSIDE

    given = {name: value for name, value in private(recipe["options"]).items() if name not in OUTSIDE}
    unknown = [name for name in given if name not in Create.model_fields]
    if unknown:
        raise BadInput(f"The recipe has the option '{unknown[0]}', which this version of Lienzo lacks.")
    for name in ("init", "mask", "image_prompt"):
        given[name] = getattr(options, name) or None
        if name in recipe["inputs"] and given[name] is None:
            flag = name.replace("_", "-")
            raise BadInput(f"This picture was made with --{flag}; give the same file to reproduce it.")
    given |= {"device": options.device, "model": options.model or given.get("model")}
    return Create.make(**{name: value for name, value in given.items() if value is not None})


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
    found = []
    for name, digest in old.get("models", {}).items():
        if new["models"].get(name) != digest:
            found.append(f"The file of {name} is not the one it was made with.")
    for name, digest in old.get("inputs", {}).items():
        if new["inputs"].get(name) != digest:
            found.append(f"The {name.replace('_', ' ')} picture is another one.")
    for name, word in (("behaviour", "behaviour version"), ("torch", "torch"), ("device", "device")):
        if old.get(name) != new[name]:
            found.append(f"It was made with {word} {old.get(name)}, this is {new[name]}.")
    return found
