"""`lienzo models`: list, show, convert and verify weight files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options


class ListModels(Options):
    """List the models that are at hand: those that come with Lienzo and your own."""


class ShowModel(Options):
    """Show a model's card; of any other weight file, what network it holds and its largest tensors."""

    model: str = Field(json_schema_extra={"positional": True})
    """Name or file."""


class ConvertModel(Options):
    """Turn any known checkpoint (.pt, .pth, .ckpt, TorchScript, safetensors) into one safe, self-describing file."""

    source: Path = Field(json_schema_extra={"positional": True})
    """Checkpoint to read; nothing in it is executed."""
    out: Path | None = None
    """New file; default: the checkpoint's name in your models folder."""
    half: bool = True
    """Store numbers in half precision."""
    licence: str = "unknown"
    """Licence of the weights, for the card."""


class VerifyModels(Options):
    """Check that model files are whole and are what their cards say."""

    models: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """Names or files; default: every model at hand."""


def run(options: Options) -> Iterator[Event]:
    """Run whichever of the four was asked for."""
    if isinstance(options, ShowModel):
        yield from show(options)
    elif isinstance(options, ConvertModel):
        yield from convert(options)
    elif isinstance(options, VerifyModels):
        yield from check(options)
    else:
        yield from list_all()


def list_all() -> Iterator[Event]:
    """A Table of every model with size, licence and title."""
    from lienzo.weights.store import list_models

    rows = tuple(
        (
            model.name,
            f"{model.size / 1e6:.1f} MB",
            "comes with Lienzo" if model.bundled else "yours",
            model.card.licence if model.card else "",
            model.card.title if model.card else model.problem or "no card",
        )
        for model in list_models()
    )
    yield Table("", ("name", "size", "origin", "licence", "what it is"), rows)


def show(options: ShowModel) -> Iterator[Event]:
    """A Table of the card, or of what the file holds."""
    from lienzo.weights.detection import identify
    from lienzo.weights.models import KEY, read_card
    from lienzo.weights.reading import read_metadata, read_weights
    from lienzo.weights.store import resolve, sha256

    path = resolve(options.model)
    rows: list[tuple[str, str]] = [("file", path.name), ("sha256", sha256(path))]
    if path.suffix == ".safetensors" and KEY in read_metadata(path):
        card = read_card(path)
        rows += [
            (name, str(getattr(card, name))) for name in ("title", "description", "licence", "limits", "made_with")
        ]
        if isinstance(card.training_data, str):
            rows.append(("training data", card.training_data))
        else:
            rows += [("training data", f"{source.name} ({source.licence})") for source in card.training_data]
        if isinstance(card.metrics, dict):
            rows += [(name, f"{value:g}") for name, value in card.metrics.items()]
        else:
            rows += [(figure.name, f"{figure.value:g} [{figure.protocol}]") for figure in card.metrics]
    else:
        weights = read_weights(path)
        network, _ = identify(weights.tensors)
        numbers = sum(tensor.numel() for tensor in weights.tensors.values())
        rows += [("network", network), ("format", weights.format), ("tensors", str(len(weights.tensors)))]
        rows += [("numbers", f"{numbers / 1e6:.1f} million")]
        largest = sorted(weights.tensors.items(), key=lambda item: -item[1].numel())[:5]
        rows += [(key, str(tuple(value.shape))) for key, value in largest]
    yield Table(path.name, ("field", "value"), tuple(rows))


def convert(options: ConvertModel) -> Iterator[Event]:
    """Read a checkpoint as data, recognise it, save it as one safe file."""
    from lienzo.weights.detection import identify
    from lienzo.weights.models import Card, load_model, save_model
    from lienzo.weights.reading import read_weights
    from lienzo.weights.store import list_models, models_folder

    if not options.source.is_file():
        raise BadInput(f"The checkpoint '{options.source.name}' does not exist.")
    weights = read_weights(options.source)
    network, _ = identify(weights.tensors)
    model = load_model(options.source)
    out = options.out or models_folder() / f"{options.source.stem}.safetensors"
    if options.out is None:
        out.parent.mkdir(parents=True, exist_ok=True)
    card = Card(title=options.source.stem, description=f"Converted from {weights.format}.", licence=options.licence)
    config: dict[str, Any] = model.config  # type: ignore[assignment]
    save_model(out, network, config, model.state_dict(), card, half=options.half)
    named = any(stored.path == out for stored in list_models())
    yield Note(f"{options.source.name} is a {network}; saved as {out}. Use it as --model {out.stem if named else out}.")


def check(options: VerifyModels) -> Iterator[Event]:
    """A Table of models and whether their content is what the card says.

    Raises:
        BadInput: at the end, when one is damaged.
    """
    from lienzo.core.errors import LienzoError
    from lienzo.weights.store import list_models, resolve, verify

    ours = (model.name for model in list_models() if model.path.suffix == ".safetensors")
    names = options.models or tuple(ours)
    rows = []
    for name in names:
        try:
            rows.append((name, "whole" if verify(resolve(name)) else "changed since its card was written"))
        except LienzoError as error:
            rows.append((name, str(error)))
    yield Table("", ("model", "state"), tuple(rows))
    bad = [name for name, state in rows if state != "whole"]
    if bad:
        raise BadInput(f"{len(bad)} of {len(rows)} models are not whole: {', '.join(bad)}.")
