"""`lienzo reproduce`: make a picture again from its recipe and say whether it is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture
from lienzo.core.options import Options

CLOSE = 35.0  # dB: above this the eye sees no difference


class Reproduce(Options):
    """Make a picture again from its recipe and compare: exact, close, or why not."""

    picture: Path = Field(json_schema_extra={"positional": True})
    """Picture that carries a recipe of Lienzo."""
    init: Path | None = None
    """The picture it started from, when it had one."""
    mask: Path | None = None
    """The mask it was painted under, when it had one."""
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
    from lienzo.tasks.create import Create
    from lienzo.tasks.easel import open_easel

    recipe = read_recipe(options.picture)
    if recipe is None or recipe.get("task") != "create" or not isinstance(recipe.get("options"), dict):
        raise BadInput(f"{options.picture.name} carries no recipe of Lienzo; there is nothing to follow.")
    given = {key: value for key, value in recipe["options"].items() if value is not None}
    given |= {"device": options.device, "init": options.init, "mask": options.mask}
    if options.model is not None:
        given["model"] = options.model
    for name in ("init", "mask"):
        if name in recipe.get("inputs", {}) and given[name] is None:
            raise BadInput(f"This picture was made with --{name}; give the same file to reproduce it.")
    create = Create.make(**{key: value for key, value in given.items() if value is not None})
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
            found.append(f"The {name} picture is another one.")
    for name, word in (("behaviour", "behaviour version"), ("torch", "torch"), ("device", "device")):
        if old.get(name) != new[name]:
            found.append(f"It was made with {word} {old.get(name)}, this is {new[name]}.")
    return found
