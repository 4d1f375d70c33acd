"""`lienzo paint`: a canvas is optimised until a CLIP sees the sentence in it; a picture, or a video of many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture, Preview
from lienzo.core.options import Options
from lienzo.core.seeds import MAX_SEED

SMALLEST, LARGEST = 16, 4096
SVG = ".svg"

Share = Annotated[float, Field(ge=0, le=1)]
Some = Annotated[str, Field(min_length=1, max_length=2000)]


def _keyframes(text: str) -> str:
    from lienzo.guidance.keyframes import parse_keyframes

    try:
        parse_keyframes(text)
    except BadInput as error:
        raise ValueError(str(error).rstrip(".")) from error
    return text


KeyframeText = Annotated[str, AfterValidator(_keyframes)]
"""Text that `parse_keyframes` reads: ``1.02``, ``0:(1), 30:(1.05)`` or ``1 + 0.02*sin(t/10)``."""


class Camera(Options):
    """What makes a video of a painting."""

    group: ClassVar[str] = "Video"

    frames: int = Field(0, ge=0, le=100_000)
    """Pictures of a video; 0 paints one picture. A video that was cut short goes on by the same command."""
    frame_iterations: int = Field(15, ge=1, le=10_000)
    """Steps of the optimiser for each frame but the first of a chapter, which has --iterations."""
    fps: float = Field(12.0, ge=0.1, le=240)
    """Frames a second."""
    zoom: KeyframeText = "1"
    """Zoom before each frame, as a number or key frames: "1.02", "0:(1), 30:(1.05)", "1+0.02*sin(t/10)"."""
    rotate: KeyframeText = "0"
    """Degrees clockwise before each frame, likewise."""
    shift_x: KeyframeText = "0"
    """Pixels to the right before each frame, likewise."""
    shift_y: KeyframeText = "0"
    """Pixels down before each frame, likewise."""
    restart: bool = False
    """Paint over the frames of another video in the folder beside --out."""


class Paint(Camera):
    """Paint on a canvas until CLIP sees the sentence in it.

    Where create samples from a trained model, paint changes a picture step by step: pixels, a spectrum, tiles, brush
    strokes or the codes of a VQGAN. Prompts have weights and stops ("a castle:2 | fog:-0.5"), a story has chapters
    ("a seed ^ a tree"), and --frames makes a video with a moving camera.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "draft": {"iterations": 50, "cuts": 8, "size": 128},
        "normal": {},
        "better": {"iterations": 200, "cuts": 24, "size": 256},
        "best": {"iterations": 300, "cuts": 32, "size": 320},
        "supreme": {"iterations": 400, "cuts": 32, "size": 448},
    }

    prompt: str = Field("", max_length=2000, json_schema_extra={"positional": True})
    """What to paint: "a fox | watercolor:0.5 | text:-0.3" pulls all at once, "a seed ^ a tree" one after the other."""
    canvas: str = Field("hex", min_length=1, max_length=300)
    """What is painted on: pixels, fourier, wavelet, siren, rect, rectshift, hex, tri, diamond, knit, strokes, sketch or
    vqgan, with settings as in "hex; cells=40"."""
    vqgan: str | None = None
    """VQGAN of --canvas vqgan: taming's checkpoint, or a bundled name."""
    iterations: int = Field(120, ge=1, le=100_000)
    """Steps of the optimiser."""
    size: int = Field(192, ge=SMALLEST, le=LARGEST)
    """Longer side of the picture in pixels."""
    aspect: str = Field("square", max_length=20)
    """Shape: square, widescreen (16:9), portrait (4:5), init (that of --init), or any as in 3:2."""
    width: int | None = Field(None, ge=SMALLEST, le=LARGEST)
    """Width in pixels, in place of --size and --aspect."""
    height: int | None = Field(None, ge=SMALLEST, le=LARGEST)
    """Height in pixels, likewise."""
    image_prompt: tuple[Some, ...] = ()
    """Pictures whose content to paint towards, as FILE or FILE:WEIGHT."""
    noise_prompt: tuple[Some, ...] = ()
    """Random directions to paint towards, as SEED or SEED:WEIGHT."""
    spot: tuple[Some, ...] = ()
    """Prompts of one part of the picture; each has its --spot-mask."""
    spot_mask: tuple[Path, ...] = ()
    """Pictures that are white where the spot is, one for each --spot."""
    begin: Literal["plain", "shapes", "drawing"] = "shapes"
    """What a painting without --init begins from: plain (grey or noise), a few soft shapes on paper, found by trial,
    or the drawing that create makes of the sentence. With --spot or --target it is plain. If not plain, each further
    chapter of a story begins from shapes on the faded picture of the one before."""
    init: Path | None = None
    """Picture to start from."""
    init_weight: float = Field(0.0, ge=0, le=1000)
    """Strength of staying near --init."""
    mask: Path | None = None
    """With --init: white is painted anew, black stays."""
    target: Path | None = None
    """Picture to come near to in colours and layout."""
    target_weight: float = Field(1.0, ge=0, le=1000)
    """Strength of --target."""
    loss: tuple[Some, ...] = ()
    """More to watch, each as NAME or NAME:WEIGHT with settings: symmetry, contrast:0.5, "palette:2; colours=red->gold",
    "style; picture=FILE". Names: aesthetic, colourfulness, contrast, edge, palette, pigment, smoothness, style,
    symmetry."""
    clip: tuple[Some, ...] = ("guide",)
    """CLIPs that guide: bundled names or files."""
    judge: str = "judge"
    """CLIP that scores the result and does not guide; none leaves it out."""
    cuts: int = Field(16, ge=1, le=1024)
    """Cutouts that each CLIP looks at in a step."""
    cut_batches: int = Field(1, ge=1, le=256)
    """Times that a step does so; the gradients are averaged."""
    cutouts: Literal["random", "disco", "whole", "paper"] = "paper"
    """How the picture is cut: random squares in a black frame, overviews and inner crops, the whole picture changed at
    random, or the whole picture on paper that goes on beyond it."""
    augment: bool = True
    """Turn, shift and tilt the cutouts at random, so that the picture holds from every side."""
    distance: Literal["spherical", "cos_spherical", "cosine"] = "spherical"
    """Distance between cutouts and prompts."""
    veil: float = Field(2.0, ge=0, le=10)
    """Noise, over the signal, through which a CLIP that knows of noise looks at first; it falls to a quarter. Through
    noise shapes are seen, and textures that nobody asked for do not grow. The bundled guide knows of it; 0 for none.
    A sketch, whose lines would be lost in noise, has none."""
    pigment: float = Field(1.0, ge=0, le=1000)
    """Strength of keeping a colour that a sentence names as bright as its paint; the bundled CLIPs hardly mind whether
    a red apple is dark. 0 leaves it to them."""
    smooth: float = Field(1.0, ge=0, le=1000)
    """Strength against grain."""
    optimiser: str = Field("adam", max_length=40)
    """adam, adamw, radam, nadam, adamax, adagrad, rmsprop or sgd."""
    lr: float | None = Field(None, gt=0, le=1e6)
    """Learning rate in the canvas's own units; default: the canvas's."""
    drops: tuple[Share, ...] = (0.75,)
    """Shares of the run, or of each chapter of a story, after which the learning rate becomes a tenth. --canvas vqgan
    paints smaller first, has its first drop when that is over, and comes to rest from then on."""
    auto_stop: int = Field(0, ge=0)
    """Stop when that many steps have made it no better; 0 never does."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """Fixes the picture; drawn at random and shown when not given."""
    out: Path | None = None
    """Where to save: .png, .jpg or .webp; a video .mp4, .gif, .webp or .apng. Default: painting.png or painting.mp4.
    A name in .svg keeps the strokes of --canvas strokes or sketch as curves, and the picture beside it as .png."""
    overwrite: bool = True
    """Replace a file that exists already."""
    previews: int = Field(20, ge=0)
    """Steps between previews beside --out and, where it can, in the terminal; 0 for none."""
    metadata: Literal["full", "parameters", "none"] = "full"
    """How much of the recipe the file carries."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Paint) -> Iterator[Event]:
    """Paint.

    Yields:
        Progress (with s/step and time left), Preview, Notes, losses as Metrics, and the saved Picture with the
        judge's score; for a video, one Preview a frame.

    Raises:
        BadInput: something does not fit, before anything is written.
    """
    import secrets

    check(options)
    if options.frames:
        from lienzo.tasks.painting_video import paint_video

        yield from paint_video(options)
        return
    if options.seed is None:
        options = options.model_copy(update={"seed": secrets.randbelow(2**31)})
    yield from paint_picture(options)


def paint_picture(options: Paint) -> Iterator[Event]:
    """One still picture, its preview beside it while it grows; strokes are written as curves too, where asked for."""
    from lienzo.core.files import replacing
    from lienzo.imaging.writing import save_picture
    from lienzo.tasks.create import preview_path
    from lienzo.tasks.painting import open_painting

    path, drawing = picture_of(target(options)), target(options)
    painting = open_painting(options)
    for note in painting.notes:
        yield Note(note)
    preview = preview_path(path)
    try:
        for event in painting.pictures():
            if isinstance(event, Preview):
                save_picture(event.image, preview, exist_ok=True)
            if isinstance(event, Picture):
                if drawing != path:
                    with replacing(drawing, exist_ok=options.overwrite) as work:
                        work.write_text(painting.svg(), "utf-8")
                save_picture(
                    event.image, path, metadata=event.recipe, level=options.metadata, exist_ok=options.overwrite
                )
                event = replace(event, path=str(path))
            yield event
    finally:
        preview.unlink(missing_ok=True)
    if drawing != path:
        yield Note(f"{drawing.name} has the strokes as curves; {path.name} is the picture with its recipe.")


def target(options: Paint) -> Path:
    """The file that is written."""
    return options.out or Path("painting.mp4" if options.frames else "painting.png")


def picture_of(path: Path) -> Path:
    """The file of pixels: that of --out, or the one beside a drawing in curves."""
    return path.with_suffix(".png") if path.suffix.lower() == SVG else path


def check_strokes(options: Paint) -> None:
    """Refuse to write as curves what has none.

    Raises:
        BadInput: the canvas has no strokes, or more than strokes is in the picture.
    """
    from lienzo.guidance.canvas import CANVASES
    from lienzo.guidance.settings import parse_choice

    name = parse_choice(options.canvas).name
    drawn = [each for each in CANVASES if hasattr(CANVASES.load(each), "svg")]
    if (name in CANVASES and name not in drawn) or name == "vqgan":
        raise BadInput(
            f"The canvas '{name}' has no strokes to write as SVG; choose --canvas {' or '.join(drawn)}, "
            "or an --out that ends in .png."
        )
    if options.mask:
        raise BadInput("--mask keeps a part of --init, which SVG strokes cannot hold; choose an --out in .png.")


def check(options: Paint) -> None:
    """Refuse what cannot be, before any model is read.

    Raises:
        BadInput: one sentence about the first thing that does not fit.
    """
    from lienzo.imaging.video import check_video
    from lienzo.tasks.outputs import check_output

    goals = (options.image_prompt, options.noise_prompt, options.spot, options.target)
    if not options.prompt.strip() and (options.prompt or not any(goals)):
        raise BadInput('Say what to paint, for example "a red apple | watercolor".')
    if len(options.spot) != len(options.spot_mask):
        raise BadInput(f"There are {len(options.spot)} --spot and {len(options.spot_mask)} --spot-mask; pair them.")
    if options.mask and not options.init:
        raise BadInput("--mask says which part of --init is painted anew; give --init too.")
    if options.mask and options.frames:
        raise BadInput("--mask keeps a part of a still picture; a video moves all of it, so leave --mask out.")
    if options.init_weight and not options.init:
        raise BadInput("--init-weight keeps the painting near --init; give --init too.")
    path = target(options)
    if options.frames:
        check_video(path, options.fps)
    files = dict.fromkeys([path, path if options.frames else picture_of(path)])
    for file in files:
        check_output("out", file, picture=not options.frames and file.suffix.lower() != SVG)
        if file.exists() and not options.overwrite:
            raise BadInput(f"'{file.name}' exists already; choose another --out.")
    if len(files) > 1:
        check_strokes(options)
