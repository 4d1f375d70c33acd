"""`train classes`: from options to a recipe, and from a folder of classes to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Picture
from lienzo.data.sets import DataSet
from lienzo.diffusion.classcond_unet import ClassCondUnet
from lienzo.diffusion.classes_recipe import DiTRecipe, NotebookRecipe, ShuffleRecipe
from lienzo.tasks.create import Create
from lienzo.tasks.engines import engine_for
from lienzo.tasks.train.classes import TrainClasses, config, recipe, run
from lienzo.weights.models import load_model, read_record

FAST: dict[str, Any] = {"image_size": 8, "width": 16, "depth": 1, "batch": 4, "images": 8, "save_seconds": 1e-9}


def blank(size: int = 28, colour: int = 0) -> DataSet:
    images = np.zeros((4, size, size, 3), np.uint8)
    images[..., 0] += np.uint8(colour)
    return DataSet(images, ("a", "b", "c", "d"), labels=np.array([0, 1, 0, 1]), label_names=("x", "y"))


def folders(root: Path) -> Path:
    """Eight grey squares in each of two folders."""
    for index, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            grey = np.full((8, 8), 40 + 150 * index + number, np.uint8)
            Image.fromarray(grey).save(root / name / f"{number}.png")
    return root


def test_the_notebooks_preset_is_its_network_and_procedure() -> None:
    given = TrainClasses.make("notebook", data="x")
    made = recipe(given, blank(), blank())
    assert isinstance(made, NotebookRecipe)
    with torch.device("meta"):
        model, notebook = made.build(), ClassCondUnet(num_classes=2)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in notebook.state_dict().items()}
    procedure = (given.learning_rate, given.weight_decay, given.batch, given.schedule, given.warmup, given.beta2)
    assert procedure == (1e-3, 0, 128, "constant", 0, 0.999)
    assert (made.batch_size, made.training.label_dropout) == (128, 0)


@pytest.mark.parametrize("preset", TrainClasses.presets)
def test_every_preset_makes_a_network(preset: str) -> None:
    made = recipe(TrainClasses.make(preset, data="x"), blank(), blank())
    with torch.device("meta"):
        made.build()


def test_options_choose_the_network() -> None:
    for name, kind in (("shuffle", ShuffleRecipe), ("dit", DiTRecipe), ("unet", NotebookRecipe)):
        given = TrainClasses.make(data="x", network=name, width=64, image_size=32, batch=7, seed=5, label_dropout=0.2)
        made = recipe(given, blank(32, 9), blank(32))
        assert type(made) is kind
        assert (made.batch_size, made.training.seed, made.training.label_dropout, made.channels) == (7, 5, 0.2, 3)
        with torch.device("meta"):
            made.build()


def test_larger_pictures_get_one_more_level() -> None:
    small, large = (config(TrainClasses.make(data="x", image_size=size)) for size in (28, 64))
    assert (small["widths"], small["depths"]) == ([32, 64], [1, 2])
    assert (large["widths"], large["depths"]) == ([32, 64, 96], [1, 1, 2])


@pytest.mark.parametrize(
    ("given", "multiple"),
    [({"image_size": 30}, 4), ({"image_size": 52}, 8), ({"image_size": 30, "network": "unet"}, 4),
     ({"image_size": 30, "network": "dit"}, 4)],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(given: dict[str, Any], multiple: int) -> None:
    with pytest.raises(BadInput, match=f"multiple of {multiple}; {given['image_size']} is not"):
        config(TrainClasses.make(data="x", **given))


@pytest.mark.parametrize("network", ["shuffle", "dit"])
def test_a_folder_of_classes_becomes_a_model_that_paints_them(network: str, tmp_path: Path) -> None:
    given = TrainClasses.make(
        data=str(folders(tmp_path / "squares")), out=tmp_path / "run", network=network, held=0.3, **FAST
    )
    events = list(run(given))
    sheets = [event for event in events if isinstance(event, Picture)]
    assert sheets
    assert sheets[-1].image.shape == (2 * 8, 8 * 8, 3)
    assert any(isinstance(event, Metric) and event.name.startswith("loss[withheld") for event in events)
    assert any(isinstance(event, Note) and "model.safetensors" in event.text for event in events)
    record = read_record(tmp_path / "run" / "model.safetensors")
    assert record["config"]["classes"] == ["dark", "light"]
    engine = engine_for(
        load_model(tmp_path / "run" / "model.safetensors"), Create.make(prompt="light"), torch.device("cpu")
    )
    assert engine.latents.shape == (1, 8, 8)
    assert engine.classes == ["dark", "light"]  # type: ignore[attr-defined]
