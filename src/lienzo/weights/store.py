"""The models that there are, with their cards; where they lie is in `places`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.text import printable
from lienzo.weights import places
from lienzo.weights.models import KEY, Card, matches_card, read_card
from lienzo.weights.places import BUNDLED, RUN_MODEL, home, model_paths, models_folder, resolve, sha256
from lienzo.weights.reading import read_weights

__all__ = [
    "BUNDLED",
    "RUN_MODEL",
    "Stored",
    "home",
    "list_models",
    "models_folder",
    "resolve",
    "sha256",
    "verify",
]


@dataclass(frozen=True)
class Stored:
    """A model of the store. A file that cannot be read has no card but says why in `problem`."""

    name: str
    path: Path
    bundled: bool
    size: int
    """In bytes."""
    card: Card | None
    problem: str = ""


def list_models() -> list[Stored]:
    """All models of the store, by name. One broken file does not hide the others."""
    return [_stored(name, path) for name, path in sorted(model_paths().items())]


def verify(path: str | Path) -> bool:
    """Whether a model's network, configuration and tensors are those that its card was written for.

    Raises:
        BadWeights: the file cannot be read.
        BadInput: it is no model of Lienzo and so has no card to compare with.
    """
    weights = read_weights(path)
    if KEY not in weights.metadata:
        raise BadInput(f"'{printable(Path(path).name)}' has no card to verify: it was not saved by Lienzo.")
    return matches_card(weights)


def _stored(name: str, path: Path) -> Stored:
    size, bundled = path.stat().st_size, path.parent == places.BUNDLED
    if path.suffix.lower() != ".safetensors":
        return Stored(name, path, bundled, size, None, "a file of torch; convert it to read its card")
    try:
        return Stored(name, path, bundled, size, read_card(path))
    except LienzoError as error:
        return Stored(name, path, bundled, size, None, str(error))
