"""`lienzo create`: a sentence becomes pictures: denoise, refine, enlarge, filter, judge, save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture, Preview, Progress
from lienzo.core.seeds import MAX_SEED, picture_seed
from lienzo.core.text import printable
from lienzo.guidance.options import GuidanceOptions
from lienzo.tasks.latent_options import LatentOptions

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError('say what to paint, for example "a red apple, watercolor"')
    return text


def _suffix(path: Path) -> Path:
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the picture's name should end in {', '.join(SUFFIXES)}, and '{path.name}' does not")
    return path


class Create(LatentOptions, GuidanceOptions):
    """Paint pictures for a sentence.

    The sentence may be English, Spanish or Russian and may name a style: "a red fox, watercolor". Everything runs
    offline with the models that come with Lienzo; --model takes any checkpoint of Stable Diffusion 1 or 2, any ADM
    diffusion checkpoint, guided by a CLIP, or any text-to-image pipeline of diffusers.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "draft": {"steps": 4, "refine": False, "candidates": 1},
        "normal": {},
        "best": {"steps": 12, "candidates": 8},
    }

    prompt: Annotated[str, AfterValidator(_said)] = Field(max_length=2000, json_schema_extra={"positional": True})
    """What to paint. Several prompts with weights are split by | and :, as "a castle:2 | fog:-0.5"."""
    n: int = Field(1, ge=1, le=256)
    """Pictures to make; picture i has seed + i."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """Fixes the pictures; drawn at random and shown when not given."""
    size: int = Field(256, ge=16, le=4096)
    """Side of the pictures in pixels; default for Stable Diffusion: 512."""
    width: int | None = Field(None, ge=16, le=4096)
    """Width in pixels, in place of --size; models that draw squares only are cut to it."""
    height: int | None = Field(None, ge=16, le=4096)
    """Height in pixels, likewise."""
    out: Annotated[Path, AfterValidator(_suffix)] = Path("picture.png")
    """Where to save; with --n above 1 the names get -0, -1 ... and a grid is added."""
    overwrite: bool = True
    """Replace files that exist already."""
    model: str = "painter"
    """Bundled name, file of a diffusion checkpoint (Stable Diffusion, ADM), or a text-to-image pipeline of diffusers:
    its folder, or hub:org/name. A pipeline has its own defaults of size, steps and guidance."""
    style: str | None = None
    """Drawing style in place of one named in the sentence."""
    negative: str = Field("", max_length=2000)
    """What the pictures should not show."""
    steps: int | None = Field(None, ge=1, le=1000)
    """Denoising steps; default: 6 for the painter, 30 for Stable Diffusion, 50 for ADM checkpoints."""
    sampler: str | None = None
    """Sampler; default: euler for the painter, dpmpp_2m for Stable Diffusion, ddim for ADM checkpoints."""
    eta: float | None = Field(None, ge=0, le=1)
    """Noise put back in each step by samplers that know it."""
    guidance: float = Field(3.0, ge=0, le=30)
    """Classifier-free guidance: how literally the sentence is taken; default for Stable Diffusion: 7.5."""
    candidates: int | None = Field(None, ge=1, le=64)
    """Pictures tried for each one that is kept, the best by CLIP; default: 4 for a single thing by the painter, which
    CLIP does not guide, else 1."""
    clip_guidance: float = Field(0.0, ge=0, le=10)
    """Share of its size by which CLIP moves the picture each step; 0 is off. 0.1 to 0.6 for the painter."""
    clip: tuple[str, ...] = ("guide",)
    """CLIPs that guide and rank: bundled names or files."""
    image_prompt: tuple[str, ...] = ()
    """Pictures whose content CLIP guides towards, as FILE or FILE:WEIGHT."""
    clip_step: Literal["share", "original"] = "share"
    """Size of CLIP's step: a share of the picture's own size, or, as in the original procedure, what the scales and the
    clamp make of the gradient, times --clip-guidance (there 1)."""
    secondary: str | None = None
    """Small network for --mode secondary (disco-diffusion's secondary_model_imagenet_2)."""
    cutn: int = Field(16, ge=1, le=1024)
    """Cutouts a batch for CLIP guidance (30 in clip-diffusion-art)."""
    cutn_batches: int = Field(1, ge=1, le=256)
    """Batches of cutouts a step, whose gradients are averaged (4 in clip-diffusion-art)."""
    off_share: float = Field(0.3, ge=0, le=1)
    """Share of the run, at its end, that CLIP does not guide."""
    relative_step: float = Field(0.0, ge=0, le=10, json_schema_extra={"hidden": True})
    """Set from --clip-guidance."""
    init: Path | None = None
    """Picture to start from."""
    skip: float = Field(0.5, ge=0, lt=1)
    """Share of the steps skipped with --init: 0 ignores the picture's detail, 0.9 hardly changes it."""
    strength: float | None = Field(None, ge=0, le=1)
    """With --init, in place of --skip: share of the steps that are taken; 1 takes all, 0 none."""
    mask: Path | None = None
    """With --init: white is painted anew, black stays."""
    mask_convention: Literal["white", "black", "alpha"] = "white"
    """What --mask paints anew: what is white, black, or transparent."""
    compose: bool = True
    """Draw the things of a sentence like "a fox left of a house" each by itself, in places of their own; for the
    bundled painter, which draws single things."""
    refine: bool = True
    """Clean the painter's drawing."""
    upright: bool = False
    """The bundled painter's drawings stand straight and fill the sheet, as it learned them; else each seed turns, moves
    and shrinks its drawing a little."""
    upscaler: str = "upscaler"
    """SwinIR that enlarges: bundled name, file, or none."""
    batch: int = Field(1, ge=1, le=256)
    """Pictures denoised at once; 1 makes each picture exactly repeatable."""
    previews: int | None = Field(None, ge=0)
    """Steps between previews beside --out and, where it can, in the terminal; default: none for the painter, which is
    done at once, 5 for Stable Diffusion, 10 for ADM checkpoints."""
    metadata: Literal["full", "parameters", "none"] = "full"
    """How much of the recipe the file carries."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Create) -> Iterator[Event]:
    """Make the pictures.

    Yields:
        Progress (with s/step and time left), Preview, one Picture each (saved), Notes.

    Raises:
        BadInput: something does not fit, before anything is written.
    """
    import secrets

    from lienzo.tasks.easel import open_easel

    if options.seed is None:
        options = options.model_copy(update={"seed": secrets.randbelow(2**31)})
    check_target(options)
    easel = open_easel(options)
    for note in easel.notes:
        yield Note(note)
    done: list[Picture] = []
    preview = preview_path(options.out) if easel.previews else None
    try:
        for event in easel.pictures():
            if isinstance(event, Preview) and preview is not None:
                save_preview(event, preview)
            if isinstance(event, Picture):
                event = save(event, options)
                done.append(event)
            yield event
    finally:
        if preview is not None:
            preview.unlink(missing_ok=True)
    if len(done) > 1:
        yield from save_grid(done, options)


def check_pairs(options: Create) -> None:
    """Refuse an option that lacks the one it needs."""
    if options.mask and not options.init:
        raise BadInput("--mask says which part of --init is painted anew; give --init too.")
    if options.strength is not None and not options.init:
        raise BadInput("--strength says how much of --init is painted anew; give --init too.")
    if options.extend and not options.init:
        raise BadInput("--extend paints on beyond the edges of --init; give --init too.")
    if options.mode == "secondary" and not options.secondary:
        raise BadInput("--mode secondary needs the small network; name its file with --secondary.")


def check_target(options: Create) -> None:
    """Refuse an impossible target before any work is done."""
    parent = options.out.parent
    if not parent.is_dir():
        raise BadInput(f"The folder '{printable(str(parent))}' does not exist; create it or choose another --out.")
    if not options.overwrite:
        grid = [grid_path(options)] if options.n > 1 else []
        for path in [*(target(options, i) for i in range(options.n)), *grid]:
            if path.exists():
                raise BadInput(f"'{path.name}' exists already; choose another --out.")


def target(options: Create, index: int) -> Path:
    """File of picture `index`."""
    if options.n == 1:
        return options.out
    return options.out.with_stem(f"{options.out.stem}-{index}")


def grid_path(options: Create) -> Path:
    """File of the contact sheet."""
    return options.out.with_stem(f"{options.out.stem}-grid")


def preview_path(out: Path) -> Path:
    """The preview's file: beside the picture, replaced as it grows, removed at the end."""
    return out.with_name(f"{out.stem}.preview.png")


def save_preview(event: Preview, path: Path) -> None:
    """Write the newest preview in place of the one before."""
    from lienzo.imaging.writing import save_picture

    save_picture(event.image, path, exist_ok=True)


def save(picture: Picture, options: Create) -> Picture:
    """Write the picture with its recipe; returns the event with its path."""
    from dataclasses import replace

    from lienzo.imaging.writing import save_picture

    path = target(options, picture.index)
    save_picture(picture.image, path, metadata=picture.recipe, level=options.metadata, exist_ok=options.overwrite)
    return replace(picture, path=str(path))


def save_grid(pictures: list[Picture], options: Create) -> Iterator[Event]:
    """A contact sheet of all pictures, best first, and which one CLIP likes best."""
    from lienzo.imaging.grids import contact_sheet
    from lienzo.imaging.writing import save_picture

    ranked = sorted(pictures, key=lambda p: -p.scores.get("clip", 0.0))
    labels = [f"seed {p.seed}" for p in ranked]
    sheet = contact_sheet([p.image for p in ranked], labels=labels)
    path = grid_path(options)
    save_picture(sheet, path, exist_ok=options.overwrite)
    yield Progress("save", len(pictures), len(pictures), unit="picture")
    yield Note(f"{path.name} shows all {len(pictures)}, the best by CLIP first (seed {ranked[0].seed}).")


def seeds_of(options: Create) -> list[int]:
    """The seed of every picture."""
    return [picture_seed(options.seed or 0, i) for i in range(options.n)]
