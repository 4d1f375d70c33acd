"""A video of `paint`: frame after frame under a moving camera, each on disk before the next is begun."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Event, Note, Preview, Progress
from lienzo.core.files import replacing
from lienzo.core.seeds import derived_seed
from lienzo.core.text import printable
from lienzo.guidance.canvas import Canvas
from lienzo.guidance.motion import Motion
from lienzo.imaging.metadata import Level
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.imaging.video import write_video
from lienzo.imaging.writing import save_picture
from lienzo.tasks.paint import Paint, target
from lienzo.tasks.painting import VIDEO, Painting, open_painting

PLAN = "painting.json"
MOVING = tuple(name for name in VIDEO if name not in ("frames", "fps", "restart"))  # options that change frames
ANEW = 0.12  # mean difference from which a canvas does not follow the frame before
MAX_PLAN = 1 << 20  # bytes


def paint_video(options: Paint) -> Iterator[Event]:
    """Paint the frames that are not there yet, then write the video.

    A frame is a function of the one before as its file has it, so that a video that was killed goes on to the same
    end. More frames, another pace or another format take the frames that there are.

    Yields:
        Progress and a Preview for each frame, Notes.

    Raises:
        BadInput: something does not fit, or the folder holds the frames of another video.
    """
    motion = Motion.parse(options.zoom, options.rotate, options.shift_x, options.shift_y)
    motion.check(options.frames)
    path = target(options)
    frames = FrameFolder(path.with_suffix(".frames"))
    painting = open_painting(options.model_copy(update={"seed": frames.seed(options)}))
    for note in painting.notes:
        yield Note(note)
    done = frames.begin(plan(painting), options.restart)
    if done:
        yield Note(f"{min(done, options.frames)} of {options.frames} frames are there already.")
    began = time.monotonic()
    for frame in range(done, options.frames):
        yield from paint_frame(painting, motion, frames, frame)
        yield Progress("video", frame + 1 - done, options.frames - done, time.monotonic() - began, "frame")
    write_video(path, map(frames.read, range(options.frames)), options.fps, exist_ok=options.overwrite)
    yield Note(f"Wrote {printable(str(path))}; its frames are in {printable(str(frames.folder))}.")
    score = painting.score(frames.read(options.frames - 1))
    if score:
        yield Note(f"The judge sees the prompt in the last frame with {score['judge']:.3f}.")


def paint_frame(painting: Painting, motion: Motion, frames: FrameFolder, frame: int) -> Iterator[Event]:
    """Paint one frame and put it on disk."""
    options = painting.options
    seed = options.seed or 0
    start: Tensor | None = painting.init
    if frame:
        seed = derived_seed(seed, "frame", frame)
        start = motion.apply(to_tensor(frames.read(frame - 1)), frame).to(painting.device)
    chapters = painting.guides(seed)
    chapter, since = divmod(frame * len(chapters), options.frames)
    begins = since < len(chapters)  # the first frame of a chapter
    if begins and start is not None and frame:
        start = painting.turned(start, chapters[chapter], seed)
    canvas = painting.canvas(seed, start)
    if frame == 1 and start is not None and far(painting, canvas, start):
        yield Note("This canvas draws every frame anew; for a smooth camera choose hex, pixels, fourier or vqgan.")
    steps = options.iterations if begins else options.frame_iterations
    for event in painting.strokes(canvas, [chapters[chapter]], steps):
        if isinstance(event, Note) or (frame == 0 and isinstance(event, Progress)):
            yield event
    image = painting.look(canvas)
    frames.write(frame, image)
    yield Preview(frame, frame, image)


def far(painting: Painting, canvas: Canvas, start: Tensor) -> bool:
    """Whether a canvas that was to start from a picture shows another one."""
    return float((to_tensor(painting.look(canvas)) - start.cpu()).abs().mean()) > ANEW


def plan(painting: Painting) -> dict[str, Any]:
    """What decides the frames, as JSON has it."""
    recipe = painting.recipe(painting.options.seed or 0)
    made = {name: recipe[name] for name in ("options", "models", "inputs", "behaviour")}
    made["motion"] = {name: getattr(painting.options, name) for name in MOVING}
    if len(painting.goals.chapters) > 1:
        made["frames"] = painting.options.frames  # the chapters share them
    return json.loads(json.dumps(made))


class FrameFolder:
    """The frames of a video as numbered PNG files, with the plan that they were made by."""

    def __init__(self, folder: Path):
        self.folder = folder

    def seed(self, options: Paint) -> int:
        """The seed given, else that of the frames that are there, else a new one."""
        import secrets

        if options.seed is not None:
            return options.seed
        kept = None if options.restart else self._kept().get("options", {}).get("seed")
        return kept if isinstance(kept, int) and not isinstance(kept, bool) and kept >= 0 else secrets.randbelow(2**31)

    def begin(self, wanted: dict[str, Any], restart: bool) -> int:
        """Make or check the folder; returns how many frames are there from the first on.

        Raises:
            BadInput: it holds the frames of another video and `restart` was not asked for, or cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput(f"'{printable(self.folder.name)}' is needed as a folder for the frames, and is a file.")
        kept = self._kept()
        if kept and kept != wanted and not restart:
            raise BadInput(
                f"The folder '{printable(self.folder.name)}' holds frames made with another {difference(kept, wanted)};"
                " choose another --out, or paint over them with --restart."
            )
        if not kept and self._files() and not restart:
            raise BadInput(f"The folder '{printable(self.folder.name)}' holds other pictures; choose another --out.")
        if kept != wanted:
            for file in self._files():
                file.unlink()
        self.folder.mkdir(exist_ok=True)
        with replacing(self.folder / PLAN) as temporary:
            temporary.write_text(json.dumps(wanted, ensure_ascii=False, indent=1), encoding="utf-8")
        done = 0
        while self.file(done).is_file() and self._whole(done):
            done += 1
        return done

    def file(self, frame: int) -> Path:
        """The file of a frame."""
        return self.folder / f"{frame:05d}.png"

    def write(self, frame: int, image: np.ndarray, recipe: dict[str, Any] | None = None, level: Level = "full") -> None:
        """Put a frame on disk with its recipe, whole or not at all."""
        save_picture(image, self.file(frame), metadata=recipe, level=level, exist_ok=True)

    def read(self, frame: int) -> np.ndarray:
        """A frame, uint8 (H, W, 3)."""
        return load_picture(self.file(frame))

    def _whole(self, frame: int) -> bool:
        try:
            self.read(frame)
        except BadPicture:
            return False
        return True

    def _files(self) -> list[Path]:
        return [file for file in self.folder.glob("*.png") if file.stem.isdigit()] if self.folder.is_dir() else []

    def _kept(self) -> dict[str, Any]:
        """The plan in the folder; empty where there is none."""
        path = self.folder / PLAN
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_PLAN else ""
            kept = json.loads(text)
        except (OSError, ValueError, RecursionError):
            return {}
        return kept if isinstance(kept, dict) and isinstance(kept.get("options"), dict) else {}


def difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first thing in which two plans differ, as a person would call it."""
    for part in ("options", "motion", "models", "inputs"):
        before, after = kept.get(part), wanted.get(part)
        if isinstance(before, dict) and isinstance(after, dict) and before != after:
            name = next(name for name in [*before, *after] if before.get(name) != after.get(name))
            return printable(name if part == "models" else f"--{name.replace('_', '-')}", 60)
    return "number of --frames" if kept.get("frames") != wanted.get("frames") else "version of Lienzo"
