"""What a training leaves behind: sample sheets and one self-describing model file with its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lienzo.core.events import Picture
from lienzo.data.sets import DataSet
from lienzo.imaging.writing import save_picture
from lienzo.training.recipe import Recipe
from lienzo.training.state import trained
from lienzo.weights.models import Card, Measured, TrainingData, save_model


class Outcome:
    """The files of a run besides its checkpoints: `samples/ITEMS.png` and `model.safetensors`.

    Attributes:
        figures: the newest figures by name; they go into the card.
        exported: whether the model was written by this command.
    """

    def __init__(self, folder: Path, recipe: Recipe, data: DataSet, *, title: str, limits: str, licence: str):
        self.folder, self.recipe, self.data = folder, recipe, data
        self.title, self.limits, self.licence = title, limits, licence
        self.figures: dict[str, float] = {}
        self.exported = False

    def keep(self, event: Picture) -> Picture:
        """Save a sample sheet and tell its path."""
        path = self.folder / "samples" / f"{event.index:012d}.png"
        path.parent.mkdir(exist_ok=True)
        save_picture(event.image, path, exist_ok=True)
        return replace(event, path=str(path))

    def export(self, images_seen: int) -> Path:
        """Write the averaged weights of the newest checkpoint as the run's model."""
        model = self.recipe.export(trained(self.recipe, self.folder))
        about = f"{len(self.data)} pictures, fingerprint {self.data.fingerprint[:16]}"
        card = Card(
            title=self.title,
            description=f"Trained by the recipe '{self.recipe.name}' on {images_seen} items.",
            licence=self.licence,
            training_data=[TrainingData(name=about, licence="not stated")],
            metrics=[measured(name, value) for name, value in self.figures.items()],
            limits=self.limits,
        )
        path = self.folder / "model.safetensors"
        save_model(path, self.recipe.network, model.config, model.state_dict(), card, half=True)  # type: ignore[arg-type]
        self.exported = True
        return path


def measured(figure: str, value: float) -> Measured:
    """A figure of a run, e.g. ``psnr[rgb,n=6]``, as a card's entry."""
    name, _, protocol = figure.partition("[")
    return Measured(name=name, value=round(value, 5), protocol=protocol.rstrip("]") or "training run")
