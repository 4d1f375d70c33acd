"""`lienzo data pack CORPUS OUT`: the art corpus in a few megabytes, to train where there is no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from lienzo.core.events import Event
from lienzo.core.options import Options


class PackCorpus(Options):
    """Pack the art corpus small: every picture under a permissive licence at 64 px, a share of them at 256 px.

    What is written is itself a corpus, which `lienzo train bundled` takes.
    """

    corpus: Path = Field(json_schema_extra={"positional": True})
    """Folder of the art corpus (`lienzo data build art`)."""
    out: Path = Field(json_schema_extra={"positional": True})
    """Folder to write the pack into: a new one, or an older pack."""
    megabytes: float = Field(40, gt=0, le=10_000)
    """Limit of the whole pack, in millions of bytes."""


def run(options: PackCorpus) -> Iterator[Event]:
    """Write the pack.

    Yields:
        Progress by picture, and a Table of what was packed.

    Raises:
        BadInput: there is no corpus, the folder holds other files, or the limit is too low.
    """
    from lienzo.data.packing import pack_corpus

    yield from pack_corpus(options.corpus, options.out, options.megabytes)
