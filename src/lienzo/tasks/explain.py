"""`lienzo explain`: where in a picture a CLIP sees what a sentence says."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.events import Event, Note, Progress, Table
from lienzo.core.options import Options

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from lienzo.clip.embedder import Embedder
    from lienzo.clip.picture_settings import PictureSettings

MAX_PROMPTS = 12
Method = Literal["occlusion", "gradient"]


class Explain(Options):
    """Show where in a picture a CLIP sees what a sentence says, as a map of warmth over the picture.

    With several sentences each map shows what speaks for one rather than for the others. A map explains the CLIP and
    not the world: where the CLIP is wrong, it shows what misled it.
    """

    picture: Path = Field(json_schema_extra={"positional": True})
    """Picture to look at."""
    prompts: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """What to look for; several are compared."""
    against: str | None = None
    """What else it could be: maps show what speaks for the prompt rather than for this."""
    method: Method = "occlusion"
    """Occlusion covers parts and watches the cosine fall: slower, and true of any CLIP. Gradient reads it off the
    network: attention in transformers, the last fine feature map in convolutional towers."""
    clip: str | None = None
    """CLIP by name or file; default: the one that comes with Lienzo."""
    out: Path | None = None
    """Picture file for the maps; default: the picture's name with -explained."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Explain) -> Iterator[Event]:
    """Make the maps.

    Yields:
        Progress, a Table with each prompt's cosine and where its map lies, a Note with the file.

    Raises:
        BadInput: there is no prompt, the picture cannot be read, or the method does not fit the CLIP.
    """
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.imaging.reading import open_picture
    from lienzo.tasks.devices import pick_device

    prompts, out = checked(options)
    picture = open_picture(options.picture)
    name, device = options.clip or DEFAULT_CLIP, pick_device(options.device)
    embedder = open_embedder(name, device)
    seen = embedder.prepare(picture)  # (S, S, 3)
    words = embedder.texts([*prompts, *([options.against] if options.against else [])])  # (P or P + 1, D)
    towards = directions(words)[: len(prompts)]
    if options.method == "gradient":
        maps, method = by_gradient(name, str(device), seen, towards, getattr(embedder, "settings", None))
    else:
        maps, method = (yield from by_occlusion(embedder, seen, towards)), "occlusion"
    yield told(prompts, (words @ embedder.pictures(seen[None])[0]).tolist(), maps)
    draw(out, as_seen(embedder, picture), prompts, maps)
    yield Note(f"The maps are in {out} ({method}; brightest is the largest of all).")


def checked(options: Explain) -> tuple[list[str], Path]:
    """The prompts and the file to write.

    Raises:
        BadInput: there are none or too many, or the file cannot be written.
    """
    from lienzo.tasks.outputs import check_output, spare_inputs

    prompts = [prompt.strip() for prompt in options.prompts]
    if not prompts or not all(prompts):
        raise BadInput("Say what to look for, as lienzo explain photo.jpg 'a dog'.")
    if len(prompts) > MAX_PROMPTS:
        raise BadInput(f"{len(prompts)} prompts are too many for one picture; give at most {MAX_PROMPTS}.")
    if len(set(prompts)) < len(prompts):
        raise BadInput("A prompt is there twice; maps show what speaks for one rather than the others.")
    if options.against is not None and (not options.against.strip() or options.against.strip() in prompts):
        raise BadInput("--against needs words that are no prompt.")
    out = options.out or options.picture.with_name(f"{options.picture.stem}-explained.png")
    check_output("out", out, picture=True)
    spare_inputs("out", out, [options.picture])
    return prompts, out


def directions(words: np.ndarray) -> np.ndarray:
    """Each text's vector less the mean of the others', (P, D); a lone text's vector as it is."""
    if len(words) == 1:
        return words
    others = (words.sum(axis=0, keepdims=True) - words) / (len(words) - 1)
    return words - others


def by_occlusion(embedder: Embedder, seen: np.ndarray, towards: np.ndarray) -> Generator[Event, None, np.ndarray]:
    """Maps (P, S, S) of how far the score falls when a place is covered."""
    from lienzo.clip.attribution import occlusion

    began = time.monotonic()
    yield Progress("cover", 0, 1, 0.0, "picture")
    maps = occlusion(lambda pictures: embedder.pictures(pictures) @ towards.T, seen)
    yield Progress("cover", 1, 1, time.monotonic() - began, "picture")
    return maps


def by_gradient(
    name: str, device: str, seen: np.ndarray, towards: np.ndarray, settings: PictureSettings | None
) -> tuple[np.ndarray, str]:
    """Maps (P, h, w) by the method that fits the tower, and its name; `settings` are those of a CLIP that has some."""
    import torch

    from lienzo.clip.attribution import gradient_maps
    from lienzo.imaging.reading import to_tensor
    from lienzo.weights.models import load_model
    from lienzo.weights.places import resolve

    try:
        model = load_model(resolve(name), torch.device(device)).requires_grad_(False)
    except BadWeights as error:
        raise BadInput(f"Gradients cannot explain this CLIP; choose --method occlusion. {error}") from error
    channels = () if settings is None else (settings.mean, settings.std)
    towards_ = torch.from_numpy(towards).float().to(device)
    maps, method = gradient_maps(model, to_tensor(seen).to(device), towards_, *channels)
    return maps.cpu().numpy(), method


def as_seen(embedder: Embedder, picture: Image) -> np.ndarray:
    """What of a picture the CLIP looks at, at the picture's own size, uint8 (H, W, 3): maps lie over it.

    That is the square in its middle, all of it, or all of it on a white square.
    """
    import numpy as np
    from PIL import Image

    if embedder.prepare.shape == "squash":
        return np.array(picture)
    side = min(picture.size) if embedder.prepare.shape == "crop" else max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.array(square)


def told(prompts: list[str], cosines: list[float], maps: np.ndarray) -> Table:
    """Each prompt's cosine, and the share of its map's warmth in each half of the picture."""
    import numpy as np

    rows = []
    for prompt, cosine, heat in zip(prompts, cosines, maps):
        warm = np.clip(heat, 0, None)
        total = float(warm.sum()) or 1.0
        left, top = float(warm[:, : warm.shape[1] // 2].sum()) / total, float(warm[: warm.shape[0] // 2].sum()) / total
        rows.append((prompt, f"{cosine:.4f}", f"{left:.2f}", f"{top:.2f}"))
    return Table("Maps", ("prompt", "cosine", "left half", "upper half"), tuple(rows))


def draw(out: Path, picture: np.ndarray, prompts: list[str], maps: np.ndarray) -> None:
    """The picture and its maps side by side, all maps on one scale."""
    import numpy as np
    from PIL import Image

    from lienzo.imaging.grids import contact_sheet
    from lienzo.imaging.heat import STRIP, heat_overlay
    from lienzo.imaging.writing import save_picture

    largest = float(np.nanmax(maps))
    panels = [heat_overlay(picture, heat, largest=largest) for heat in maps]
    height, width = panels[0].shape[:2]
    plain = Image.new("RGB", (width, height), "white")
    plain.paste(Image.fromarray(picture).resize((width, height - STRIP), Image.Resampling.LANCZOS))
    columns = min(len(panels) + 1, 4)
    save_picture(contact_sheet([np.array(plain), *panels], ["", *prompts], columns=columns), out, exist_ok=True)
