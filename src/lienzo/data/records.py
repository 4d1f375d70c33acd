"""What the corpus says about a picture, before it is drawn (`Drawing`) and after (`Record`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lienzo.core.errors import BadInput

PERMISSIVE = frozenset({"Apache-2.0", "MIT", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "LicenseRef-public-domain"})


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture as its package holds it.

    `data` is an SVG text (`kind` "svg") or a PNG, JPEG or WebP file ("raster"). `fit` says how it becomes a square:
    "whole" centres the alpha box on white, "fill" crops the longer side. `captions[language][0]` is the name, the
    rest are other names and tags. `concept` is an id shared by all drawings of one thing in whatever style.
    """

    slug: str
    concept: str
    name: str
    captions: dict[str, list[str]]
    style: str
    source: str
    licence: str
    author: str
    data: bytes = field(repr=False)
    kind: str = "svg"
    fit: str = "whole"


@dataclass(frozen=True, slots=True)
class Record:
    """One item of the built corpus: the JSON beside the picture."""

    key: str
    concept: str
    name: str
    captions: dict[str, list[str]]
    style: str
    source: str
    licence: str
    permissive: bool
    author: str
    split: str = ""
    withheld_pair: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        """The record in a JSON object; unknown fields are left out.

        Raises:
            BadInput: a field is missing.
        """
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as error:
            raise BadInput(f"A record of the corpus is incomplete: {error}.") from error


def record_of(drawing: Drawing) -> Record:
    """The record of a drawing, not yet in a split.

    The key is source and slug with an underscore between, which neither holds: so slugs that are unique within a
    source make keys that are unique in the corpus.
    """
    return Record(
        key=f"{drawing.source}_{drawing.slug}",
        concept=drawing.concept,
        name=drawing.name,
        captions=drawing.captions,
        style=drawing.style,
        source=drawing.source,
        licence=drawing.licence,
        permissive=drawing.licence in PERMISSIVE,
        author=drawing.author,
    )
