"""What every `lienzo train RECIPE` shares: its options, its data, and the run around the loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Checkpoint, Event, Note, Picture, Table
from lienzo.data.sets import DataSet
from lienzo.training.plan import Training

if TYPE_CHECKING:
    from lienzo.training.recipe import Recipe

SHOWN = 5  # problems of the data that are told one by one


class TrainOptions(Training):
    """Where the data are and where the run goes; the plan of the training itself is inherited."""

    group: ClassVar[str] = "Data and run"

    data: str
    """Training pictures: a folder, a .zip, shards (brace lists, joined by ::), an IDX folder or a built corpus."""
    out: Path = Path("runs/model")
    """Folder of the run: checkpoints, metrics.jsonl, sample sheets, model.safetensors. The same command resumes it."""
    held: float = Field(0.05, ge=0, lt=1)
    """Share of the items withheld for evaluation, chosen by a hash of each item's name."""
    start_from: str | None = Field(None, json_schema_extra={"flag": "from"})
    """Model (name, file or run folder) whose weights training starts from."""
    lora: int | None = Field(None, ge=1)
    """Train low-rank adapters of this rank instead of all weights (with --from; extra `lora`)."""
    licence: str = "not stated"
    """Licence of the trained weights, for the model's card."""
    dry_run: bool = False
    """Print the resolved configuration, parameters, predicted memory and time, and stop."""
    batch: int = Field(32, ge=1, le=65_536)
    """Items of one forward pass of one process."""


MakeRecipe = Callable[[DataSet, DataSet], "Recipe"]


def train(options: TrainOptions, size: int, make: MakeRecipe, title: str, limits: str) -> Iterator[Event]:
    """Open the data at `size` pixels, make the recipe, train it, and keep `out/model.safetensors` up to date.

    Args:
        options: what to train on and how.
        size: side of the training pictures in pixels.
        make: from training and withheld data to the recipe.
        title: of the model's card.
        limits: what the card says the model cannot do.

    Yields:
        The loop's events; a Note for data passed over, for resuming, and for the finished model.

    Raises:
        BadInput: adapters are wanted of no model; the data, the model of --from or the run's folder do not fit.
    """
    if options.lora is not None and options.start_from is None:
        raise BadInput("--lora trains adapters of a model; name it with --from.")
    data, held = yield from opened(options, size)
    yield from train_recipe(options, make(data, held), data, title, limits)


def opened(options: TrainOptions, size: int) -> Generator[Event, None, tuple[DataSet, DataSet]]:
    """The pictures to train on and those withheld; divided data withhold their own."""
    from lienzo.data.opening import is_divided, prepare_data
    from lienzo.data.sets import split_held
    from lienzo.weights.store import home

    cache = None if options.dry_run else home() / "cache"
    data = yield from prepare_data(options.data, size, cache=cache)
    yield from told(data)
    if is_divided(options.data) and options.held:
        return data, (yield from prepare_data(options.data, size, "val", cache))
    return split_held(data, options.held)


def train_recipe(
    options: TrainOptions, recipe: Recipe, data: DataSet, title: str, limits: str, *, start: bool = True
) -> Iterator[Event]:
    """Train a recipe that is made already; `start` False if it takes care of `--from` itself."""
    from lienzo.tasks.train.outcome import Outcome
    from lienzo.training.loop import fit

    if options.start_from and start:
        from lienzo.training.finetune import FineTune
        from lienzo.weights.models import load_model
        from lienzo.weights.store import resolve

        state = load_model(resolve(options.start_from)).state_dict()
        recipe = FineTune(recipe, state, options.lora)
    plan = Training(**{name: getattr(options, name) for name in Training.model_fields})
    if options.dry_run:
        yield from dry_run(options, recipe, plan, data)
        return
    outcome = Outcome(options.out, recipe, data, title=title, limits=limits, licence=options.licence)
    path, speaks = None, False
    for event in fit(recipe, plan, options.out):
        speaks = True
        yield outcome.keep(event) if isinstance(event, Picture) else event
        if isinstance(event, Checkpoint):
            path = outcome.export()
    if speaks:  # of several processes one
        yield Note(f"The model is {path or outcome.export()}.")


def told(data: DataSet) -> Iterator[Event]:
    """What was found, and the first problems of the data."""
    named = f", {len(data.label_names)} classes" if data.label_names else ""
    worded = sum(map(bool, data.captions))
    plural = "" if len(data) == 1 else "s"
    yield Note(f"{len(data)} picture{plural}{named}{f', {worded} with captions' if worded else ''}.")
    yield from (Note(problem, "warning") for problem in data.problems[:SHOWN])
    if len(data.problems) > SHOWN:
        yield Note(f"There are {len(data.problems) - SHOWN} more remarks of this kind.", "warning")


def dry_run(options: TrainOptions, recipe: Recipe, plan: Training, data: DataSet) -> Iterator[Event]:
    """The resolved options and what the run would cost."""
    from lienzo.training.forecast import forecast

    values = {**options.model_dump(mode="json", exclude={"dry_run"}), **recipe.facts()}
    yield Table("Configuration", ("option", "value"), tuple((name, str(value)) for name, value in values.items()))
    cost = forecast(recipe, plan)
    memory = [f"{size / 2**30:.2f}" for size in (cost.weights + cost.activations, cost.weights, cost.activations)]
    rows = (
        ("parameters", f"{cost.parameters:,} ({cost.trained:,} of them learn)"),
        ("memory", f"{memory[0]} GiB ({memory[1]} for weights, {memory[2]} for a batch)"),
        ("items", f"{plan.images:,} ({plan.images / max(len(data), 1):.1f} epochs of {len(data):,})"),
        ("time here", f"{cost.seconds / 60:.1f} minutes ({plan.images / cost.seconds:.1f} images/s)"),
    )
    yield Table("Forecast, from one measured step", ("what", "how much"), rows)
