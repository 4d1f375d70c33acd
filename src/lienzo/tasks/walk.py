"""`lienzo walk`: a way through a model's space, from sentence to sentence and from seed to seed, as a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Preview, Progress
from lienzo.core.seeds import MAX_SEED
from lienzo.tasks.latent_options import LatentOptions

Said = Annotated[str, Field(min_length=1, max_length=2000)]
PLACES = ("prompts", "seed", "frames", "frame", "fps", "out", "ping_pong", "loop", "restart", "previews")
"""Options of the walk that `create` does not have, or has otherwise."""


def _said(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts or not all(text.strip() for text in texts):
        raise ValueError('give sentences, for example "a cow in a field" "a castle by the sea"')
    return texts


class Walk(LatentOptions):
    """Walk from sentence to sentence, or from seed to seed, through all pictures between.

    Frame by frame the sentences and the noise turn into the next ones. Each frame is on disk before the next is begun,
    so that a walk that was cut short goes on by the same command.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "draft": {"steps": 4, "refine": False, "frames": 16},
        "normal": {},
        "best": {"steps": 12, "frames": 120},
    }

    prompts: Annotated[tuple[Said, ...], AfterValidator(_said)] = Field(json_schema_extra={"positional": True})
    """What to paint on the way, in order. One sentence is kept all the way, from seed to seed."""
    seed: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...], Field(min_length=1)] = (0,)
    """Seeds of the places on the way: one for each sentence, or one for all."""
    frames: int = Field(60, ge=2, le=100_000)
    """Pictures on the way, both ends among them."""
    fps: float = Field(12.0, ge=0.1, le=240)
    """Frames a second."""
    out: Path = Path("walk.mp4")
    """The video: .mp4, .gif, .webp or .apng; a name without suffix is a folder for the frames alone."""
    ping_pong: bool = False
    """Go back again at the end, by the same frames."""
    loop: bool = False
    """Go on from the last place to the first, so that the video has no end."""
    restart: bool = False
    """Paint over the frames of another walk in the folder."""
    model: str = "painter"
    """As for create."""
    size: int = Field(256, ge=16, le=4096)
    """Side of the pictures in pixels; default for Stable Diffusion: 512."""
    width: int | None = Field(None, ge=16, le=4096)
    """Width in pixels, in place of --size."""
    height: int | None = Field(None, ge=16, le=4096)
    """Height in pixels, likewise."""
    style: str | None = None
    """Drawing style in place of those named in the sentences."""
    negative: str = Field("", max_length=2000)
    """What the pictures should not show."""
    steps: int | None = Field(None, ge=1, le=1000)
    """Denoising steps a frame; default: the model's, as for create."""
    sampler: str | None = None
    """Sampler; default: the model's. One without noise of its own, such as euler or dpmpp_2m, walks smoothest."""
    eta: float | None = Field(None, ge=0, le=1)
    """Noise put back in each step by samplers that know it."""
    guidance: float = Field(3.0, ge=0, le=30)
    """Classifier-free guidance; default for Stable Diffusion: 7.5."""
    clip_guidance: float = Field(0.0, ge=0, le=10)
    """Share of its size by which CLIP moves the picture each step; 0 is off."""
    clip: tuple[str, ...] = ("guide",)
    """CLIPs that guide: bundled names or files."""
    cutn: int = Field(16, ge=1, le=1024)
    """Cutouts a batch for CLIP guidance."""
    refine: bool = True
    """Clean the painter's drawing."""
    upscaler: str = "upscaler"
    """SwinIR that enlarges: bundled name, file, or none."""
    previews: int = Field(1, ge=0)
    """Frames between previews on the screen; 0 for none."""
    metadata: Literal["full", "parameters", "none"] = "full"
    """How much of its recipe each frame carries."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


class WalkFrame(Walk):
    """One frame of a walk, as its recipe tells it."""

    frame: int = Field(0, ge=0)
    """Its number, from 0."""


def run(options: Walk) -> Iterator[Event]:
    """Paint the frames that are not there yet, then write the video.

    A frame is a function of the options and of its number alone, so that a walk that was killed goes on to the same
    end.

    Yields:
        Progress and Preview for the frames, Notes.

    Raises:
        BadInput: something does not fit, or the folder holds the frames of another walk.
    """
    import time

    from lienzo.imaging.video import write_video
    from lienzo.tasks.painting_video import FrameFolder
    from lienzo.tasks.walking import Walker

    check(options)
    video = options.out if options.out.suffix else None
    frames = FrameFolder(options.out if video is None else options.out.with_suffix(".frames"))
    walker = Walker(options)
    for note in walker.notes:
        yield Note(note)
    done = frames.begin(walker.plan(), options.restart)
    if done:
        yield Note(f"{min(done, options.frames)} of {options.frames} frames are there already.")
    began = time.monotonic()
    for frame in range(done, options.frames):
        image = walker.frame(frame)
        frames.write(frame, image, walker.recipe(frame), options.metadata)
        yield Progress("walk", frame + 1 - done, options.frames - done, time.monotonic() - began, "frame")
        if options.previews and frame % options.previews == 0:
            yield Preview(frame, frame, image)
    yield from walker.remarks()
    if video is not None:
        write_video(video, map(frames.read, order(options)), options.fps)
        yield Note(f"Wrote {video.name}; its frames are in {frames.folder.name}.")


def check(options: Walk) -> None:
    """Refuse what cannot be, before any model is read.

    Raises:
        BadInput: one sentence about the first thing that does not fit.
    """
    from lienzo.imaging.video import check_video

    if options.out.suffix:
        check_video(options.out, options.fps)
    if not options.out.parent.is_dir():
        raise BadInput(f"The folder of --out '{options.out.name}' does not exist; create it or choose another --out.")
    if options.extend:
        raise BadInput("--extend is for pictures of create; leave it out of a walk.")
    if options.ping_pong and options.loop:
        raise BadInput("--ping-pong goes back and --loop goes round; choose one of them.")
    check_places(options)


def check_places(options: Walk) -> None:
    """Refuse sentences and seeds that make no way.

    Raises:
        BadInput: there are too few, or not as many of one as of the other.
    """
    texts, seeds = len(options.prompts), len(options.seed)
    if 1 not in (texts, seeds) and texts != seeds:
        raise BadInput(f"There are {texts} sentences and {seeds} seeds; give one seed, or one for each sentence.")
    if max(texts, seeds) < 2:
        raise BadInput("A walk needs two places; give a second sentence, or a second --seed.")


def places(options: Walk) -> list[tuple[str, int]]:
    """The sentence and the seed of each place on the way; the first again at the end of a loop."""
    count = max(len(options.prompts), len(options.seed))
    texts = options.prompts * count if len(options.prompts) == 1 else options.prompts
    seeds = options.seed * count if len(options.seed) == 1 else options.seed
    found = list(zip(texts, seeds, strict=False))[:count]
    return found + found[:1] if options.loop else found


def position(options: Walk, frame: int) -> tuple[int, float]:
    """Of a frame the place before it, and in [0, 1] how far on the way to the next."""
    legs = len(places(options)) - 1
    parts = options.frames if options.loop else options.frames - 1
    leg, rest = divmod(frame * legs, parts)
    return (leg - 1, 1.0) if leg == legs else (leg, rest / parts)


def order(options: Walk) -> list[int]:
    """The frames of the video in their order."""
    there = list(range(options.frames))
    return there + there[-2:0:-1] if options.ping_pong else there
