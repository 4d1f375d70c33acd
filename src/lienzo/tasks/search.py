"""`lienzo search`: find the pictures of an index that fit a sentence, a picture, or a sum of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.search.answers import Match
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.query import Term

CAPTION = 60  # letters of a caption in the table


class Search(Options):
    """Find the pictures of an index that fit a sentence, a picture, or a sum of both: 2*dog + ./pool.jpg - fruit.

    A + or - stands alone between spaces; quotes keep a text with such signs together; 2* or 2: before a term is its
    weight. A term that begins with ./ ../ / or ~/, or names a picture file, is that picture. Nothing leaves this
    computer.
    """

    query: str | None = Field(None, json_schema_extra={"positional": True})
    """What to look for."""
    image: tuple[Path, ...] = ()
    """Pictures to add to the query."""
    plus: tuple[str, ...] = ()
    """Texts to add to the query, taken as they are."""
    minus: tuple[str, ...] = ()
    """Texts to subtract from the query, taken as they are."""
    filter: str = ""
    """Which pictures may be found: path:holiday/* root:… ext:jpg,png caption:dog after:2024-01-31 before:2025
    size>1MB width>=800 height<600; a minus before a part turns it round."""
    count: int = Field(10, ge=1, le=10_000, json_schema_extra={"short": "-k"})
    """Most pictures to show."""
    min_score: float | None = Field(None, ge=-1, le=1)
    """The least score, a cosine. CLIPs differ: a text scores 0.2 to 0.4 with pictures that fit it."""
    clip: str | None = None
    """CLIP that reads the query; the index needs vectors of it. Default: the bundled one."""
    index: Path | None = None
    """Folder of the index; default: `index` in your Lienzo folder."""
    store: str = "auto"
    """Where vectors are looked up: exact, ann, lancedb, qdrant; auto is exact, and ann above 300,000 pictures."""
    address: str | None = None
    """Where the vectors of --store qdrant or lancedb are: http://host:6333 of a server, a shared folder or bucket."""
    sheet: Path | None = None
    """Picture file (.png) for a sheet of thumbnails."""


def run(options: Search) -> Iterator[Event | Match]:
    """Search.

    Yields:
        A Match for each picture, best first; a Table of them; Notes about files that are gone and about the sheet.

    Raises:
        BadInput: the query, the filter or the index does not fit.
    """
    from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
    from lienzo.search.answers import find_matches, source_of, store_of, vector_of
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.filters import parse_filter
    from lienzo.tasks.index import folder_of
    from lienzo.tasks.outputs import check_output, spare_inputs, write_results

    terms = terms_of(options)
    condition = parse_filter(options.filter) if options.filter.strip() else None
    check_output("sheet", options.sheet, picture=True)
    with Catalogue.open(folder_of(options.index)) as catalogue:
        clip = options.clip or DEFAULT_CLIP
        embedder = open_embedder(clip, towers="text")
        source = source_of(catalogue, embedder, clip)
        if note := incomplete(catalogue, source.count(), clip):
            yield note
        allowed = None if condition is None else catalogue.ids(condition)
        matches = find_matches(
            catalogue,
            store_of(catalogue, source, options.store, options.address),
            vector_of(catalogue, embedder, terms),
            options.count,
            allowed=allowed,
            min_score=options.min_score,
        )
    spare_inputs("sheet", options.sheet, (Path(match.path) for match in matches))
    yield from matches
    title = shown_query(terms)
    if not matches:
        yield Note(nothing_found(options, allowed is not None and not len(allowed)), "warning")
        return
    yield table(title, matches)
    yield from notes(matches)
    if options.sheet is not None:
        there = [match for match in matches if not match.missing]
        if there:
            yield from write_results(options.sheet, title, there)
        else:
            yield Note("All files are gone, so that there is no sheet.", "warning")


def terms_of(options: Search) -> tuple[Term, ...]:
    """Everything that was asked for.

    Raises:
        BadInput: that is nothing, or it cannot be read.
    """
    from lienzo.search.query import Term, parse_query, picture_term

    terms = () if options.query is None else parse_query(options.query)
    terms += tuple(picture_term(path) for path in options.image)
    for weight, texts in ((1.0, options.plus), (-1.0, options.minus)):
        for text in texts:
            if not text.strip():
                raise BadInput(f"A text for --{'plus' if weight > 0 else 'minus'} is empty.")
            terms += (Term(weight, text.strip()),)
    if not terms:
        raise BadInput('There is nothing to search for; write it as lienzo search "a yellow submarine".')
    return terms


def incomplete(catalogue: Catalogue, vectors: int, clip: str) -> Note | None:
    """A warning where pictures of the index cannot be found because they have no vector of this CLIP."""
    missing = catalogue.count() - vectors
    if missing <= 0:
        return None
    return Note(
        f"{missing} pictures of the index have no vector of '{printable(clip, 100)}' and cannot be found; "
        f"add them with: lienzo index --index '{printable(str(catalogue.folder), 200)}' --clip {printable(clip, 100)}",
        "warning",
    )


def nothing_found(options: Search, filtered_out: bool) -> str:
    """Why there is no answer."""
    if filtered_out:
        return "No picture of the index fits the filter."
    if options.min_score is not None:
        return f"No picture scores {options.min_score:g} or more."
    return "No picture fits."


def shown_query(terms: Sequence[Term]) -> str:
    """The query as it was understood."""
    parts = [f"{'-' if term.weight < 0 else '+'} {str(term).removeprefix('-').removeprefix('1*')}" for term in terms]
    return " ".join(parts).removeprefix("+ ")


def table(title: str, matches: Sequence[Match]) -> Table:
    """Matches as rows of text."""
    from lienzo.search.answers import shown_path

    rows = tuple(
        (
            str(match.rank),
            f"{match.score:.3f}",
            shown_path(match.path) + ("  (missing)" if match.missing else ""),
            printable(match.caption.strip(), CAPTION),
        )
        for match in matches
    )
    return Table(title, ("rank", "score", "picture", "caption"), rows)


def notes(matches: Sequence[Match]) -> Iterator[Note]:
    """What to know about the matches."""
    missing = sum(match.missing for match in matches)
    if missing:
        are = "file is" if missing == 1 else "files are"
        yield Note(f"{missing} {are} no longer there; lienzo index brings the index up to date.", "warning")
