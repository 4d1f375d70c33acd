"""Where figures go: metrics.jsonl always, TensorBoard and Weights & Biases when asked for."""

from __future__ import annotations

import json
import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing


class Log:
    """`folder/metrics.jsonl` and the plan's trackers; one line a moment, in order of items seen.

    A resumed run first drops the lines after the checkpoint that it starts from: they will be written again.
    """

    def __init__(self, folder: Path, trackers: tuple[str, ...], settings: dict[str, Any], images_seen: int):
        self.path = folder / "metrics.jsonl"
        self._drop_after(images_seen)
        self.trackers = [_open(name, folder, settings) for name in trackers]

    def _drop_after(self, images_seen: int) -> None:
        if not self.path.is_file():
            return
        lines = self.path.read_text("utf-8", "replace").splitlines()
        kept = [line for line in lines if _seen(line) <= images_seen]
        if len(kept) < len(lines):
            with replacing(self.path) as work:
                work.write_text("".join(line + "\n" for line in kept), "utf-8")

    def figures(self, images_seen: int, values: dict[str, float]) -> None:
        """Write one moment's numbers; what is no number is null, as JSON has no other word for it.

        Raises:
            BadInput: the disk refuses.
        """
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"images_seen": images_seen, **finite}) + "\n")
        except OSError as error:
            raise BadInput(f"'{self.path}' cannot be written: {error.strerror or error}.") from error
        for tracker in self.trackers:
            tracker.log(values, step=images_seen)

    def picture(self, images_seen: int, image: np.ndarray) -> None:
        """Send a sample sheet (H, W, 3) uint8 to the trackers that show pictures."""
        for tracker in self.trackers:
            shape = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"samples": image[None]}, step=images_seen, **shape)

    def close(self) -> None:
        """End the trackers."""
        for tracker in self.trackers:
            tracker.finish()


def _seen(line: str) -> int:
    """Items seen at a line's moment; a line cut off by a kill counts as beyond any checkpoint."""
    try:
        return int(json.loads(line)["images_seen"])
    except (ValueError, KeyError, TypeError):
        return 2**63


def require_trackers(names: tuple[str, ...]) -> None:
    """Pass where the packages of all trackers are there.

    Raises:
        BadInput: one is missing; the sentence says how to get it.
    """
    for name in names:
        if find_spec(name) is None:
            raise BadInput(f"The tracker '{name}' is not installed; install it with: pip install 'lienzo[track]'.")


def _open(name: str, folder: Path, settings: dict[str, Any]) -> Any:
    """A tracker of accelerate. Weights & Biases stays offline unless WANDB_MODE says otherwise."""
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    if name == "tensorboard":
        tracker: Any = TensorBoardTracker("tensorboard", logging_dir=folder)
    else:
        os.environ.setdefault("WANDB_MODE", "offline")
        tracker = WandBTracker("lienzo", dir=str(folder), name=folder.name)
    tracker.start()
    tracker.store_init_configuration(
        {k: v if isinstance(v, int | float | str) else str(v) for k, v in settings.items()}
    )
    return tracker
