"""`lienzo upscale`: enlarge or restore pictures with SwinIR."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Picture
from lienzo.core.options import Options


class Upscale(Options):
    """Enlarge pictures with the bundled x4 SwinIR, or restore them with any SwinIR checkpoint."""

    pictures: tuple[Path, ...] = Field(json_schema_extra={"positional": True}, min_length=1)
    """Pictures to enlarge."""
    out: Path | None = None
    """New file, or a folder for several; default: NAME-x4.png beside each picture."""
    model: str = "upscaler"
    """Bundled name, or SwinIR file of any of its seven tasks."""
    tile: int = Field(128, ge=16, le=4096)
    """Side of the tiles in pixels; memory grows with it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Upscale) -> Iterator[Event]:
    """Yields progress and one Picture (saved) for each input."""
    from lienzo.imaging.reading import load_picture, to_tensor
    from lienzo.imaging.writing import save_picture
    from lienzo.tasks.bench import to_bytes
    from lienzo.tasks.devices import pick_device
    from lienzo.tasks.upscalers import open_upscaler

    if options.model == "none":
        raise BadInput("Name a SwinIR with --model.")
    sources = [(path, load_picture(path)) for path in options.pictures]
    upscaler = open_upscaler(options.model, pick_device(options.device))
    assert upscaler is not None
    targets = [target(options, path, upscaler.scale) for path in options.pictures]
    for path in targets:
        if path.exists() or targets.count(path) > 1:
            raise BadInput(
                f"'{path.name}' {'exists already' if path.exists() else 'would be written twice'}; use --out."
            )
    for index, ((_, array), path) in enumerate(zip(sources, targets, strict=True)):
        large = yield from upscaler.enlarge(to_tensor(array) * 2 - 1, tile=options.tile)
        image = to_bytes(large[0])
        save_picture(image, path)
        yield Picture(index, 0, image, path=str(path))


def target(options: Upscale, source: Path, scale: int) -> Path:
    """Where the enlarged `source` goes."""
    name = f"{source.stem}-x{scale}.png"
    if options.out is None:
        return source.with_name(name)
    if options.out.is_dir():
        return options.out / name
    if len(options.pictures) > 1:
        raise BadInput(f"'{options.out}' is no folder; several pictures need one.")
    return options.out
