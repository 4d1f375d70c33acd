"""What a training leaves behind: sample sheets and one self-describing model file with its card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from lienzo.core.events import Picture
from lienzo.data.sets import DataSet
from lienzo.imaging.writing import save_picture
from lienzo.training.checkpoints import newest_items
from lienzo.training.recipe import Recipe
from lienzo.training.state import trained
from lienzo.weights.models import Card, Measured, TrainingData, save_model

SHEET = 512  # pixels that a sheet of small pictures is enlarged to, so that a person sees something


class Outcome:
    """The files of a run besides its checkpoints: `samples/ITEMS.png` and `model.safetensors`."""

    def __init__(self, folder: Path, recipe: Recipe, data: DataSet, *, title: str, limits: str, licence: str):
        self.folder, self.recipe, self.data = folder, recipe, data
        self.title, self.limits, self.licence = title, limits, licence

    def keep(self, event: Picture) -> Picture:
        """Save a sample sheet, each pixel as a square where there are few of them, and tell its path."""
        path = self.folder / "samples" / f"{event.index:012d}.png"
        path.parent.mkdir(exist_ok=True)
        times = max(1, SHEET // max(event.image.shape[:2]))
        save_picture(event.image.repeat(times, 0).repeat(times, 1), path, exist_ok=True)
        return replace(event, path=str(path))

    def export(self) -> Path:
        """Write the averaged weights of the newest checkpoint as the run's model, with its newest figures."""
        model = self.recipe.export(trained(self.recipe, self.folder))
        seen = newest_items(self.folder / "checkpoints")
        about = f"{len(self.data)} pictures, fingerprint {self.data.fingerprint[:16]}"
        card = Card(
            title=self.title,
            description=f"Trained by the recipe '{self.recipe.name}' on {seen} items.",
            licence=self.licence,
            training_data=[TrainingData(name=about, licence="not stated")],
            metrics=[measured(name, value) for name, value in newest_figures(self.folder).items()],
            limits=self.limits,
        )
        path = self.folder / "model.safetensors"
        save_model(path, self.recipe.network, model.config, model.state_dict(), card, half=True)  # type: ignore[arg-type]
        return path


def newest_figures(folder: Path) -> dict[str, float]:
    """The last value of each figure on withheld data (they have a protocol in brackets) in a run's log."""
    figures: dict[str, float] = {}
    path = folder / "metrics.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        found = json.loads(line)
        figures |= {name: value for name, value in found.items() if "[" in name and value is not None}
    return figures


def measured(figure: str, value: float) -> Measured:
    """A figure of a run, e.g. ``psnr[rgb,n=6]``, as a card's entry."""
    name, _, protocol = figure.partition("[")
    return Measured(name=name, value=round(value, 5), protocol=protocol.rstrip("]") or "training run")
