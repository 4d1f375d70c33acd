"""From a query to matches, over a real catalogue and the exact store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colour_clip import ColourClip, paint

from lienzo.core.errors import BadInput
from lienzo.core.events import to_json
from lienzo.search.answers import find_matches, shown_path, source_of, store_of, vector_of
from lienzo.search.catalogue import Catalogue
from lienzo.search.indexing import index_folders
from lienzo.search.query import parse_query

CLIP = ColourClip()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "pictures" / colour, colour, 3)
    return tmp_path / "pictures"


@pytest.fixture
def catalogue(tmp_path: Path, pictures: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "index", create=True) as made:
        list(index_folders(made, CLIP, [pictures]))
        yield made


def folders(catalogue: Catalogue, query: str, count: int = 3, **options: object) -> list[str]:
    store = store_of(catalogue, source_of(catalogue, CLIP, "colours"))
    vector = vector_of(catalogue, CLIP, parse_query(query))
    return [Path(match.path).parent.name for match in find_matches(catalogue, store, vector, count, **options)]  # type: ignore[arg-type]


def test_texts_pictures_and_sums_find_what_they_should(catalogue: Catalogue, pictures: Path) -> None:
    assert folders(catalogue, "red") == ["red"] * 3
    assert folders(catalogue, f"{pictures}/blue/00.png") == ["blue"] * 3
    assert folders(catalogue, f"red + 3*green - {pictures}/red/01.png") == ["green"] * 3
    assert folders(catalogue, "grey - red - green") == ["blue"] * 3


def test_matches_tell_rank_score_and_size(catalogue: Catalogue) -> None:
    store = store_of(catalogue, source_of(catalogue, CLIP, "colours"))
    found = find_matches(catalogue, store, vector_of(catalogue, CLIP, parse_query("red")), 4)
    assert [match.rank for match in found] == [1, 2, 3, 4]
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    assert (found[0].width, found[0].height) == (24, 20)
    least = found[2].score
    assert len(find_matches(catalogue, store, vector_of(catalogue, CLIP, parse_query("red")), 9, min_score=least)) == 3


def test_only_allowed_pictures_are_found(catalogue: Catalogue) -> None:
    allowed = np.array([item.id for item in catalogue.items(catalogue.ids()) if item.path.parent.name == "blue"])
    assert folders(catalogue, "red", 9, allowed=np.sort(allowed)) == ["blue"] * 3
    assert folders(catalogue, "red", 9, allowed=np.array([], np.int64)) == []


def test_an_indexed_picture_is_not_embedded_again(catalogue: Catalogue, pictures: Path) -> None:
    class NoTower(ColourClip):
        def pictures(self, batch: np.ndarray) -> np.ndarray:
            raise AssertionError("embedded")

    path = pictures / "red" / "00.png"
    assert vector_of(catalogue, NoTower(), parse_query(str(path))).shape == (3,)
    os.utime(path, (1, 1))  # changed since, as far as one can tell
    with pytest.raises(AssertionError, match="embedded"):
        vector_of(catalogue, NoTower(), parse_query(str(path)))


def test_files_that_are_gone_are_marked(catalogue: Catalogue, pictures: Path) -> None:
    (pictures / "red" / "01.png").unlink()
    store = store_of(catalogue, source_of(catalogue, CLIP, "colours"))
    found = find_matches(catalogue, store, vector_of(catalogue, CLIP, parse_query("red")), 9)
    assert [Path(match.path).name for match in found if match.missing] == ["01.png"]


def test_an_index_of_another_clip_is_refused_in_a_sentence(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no vectors of 'mine'; .* lienzo index --index '.*index' --clip mine"):
        source_of(catalogue, ColourClip(tag="other"), "mine")
    with Catalogue.open(tmp_path / "empty", create=True) as empty, pytest.raises(BadInput, match="has no pictures yet"):
        source_of(empty, CLIP, "colours")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_names_that_are_no_text_survive(catalogue: Catalogue, pictures: Path) -> None:
    name = os.fsdecode(b"caf\xe9\nx.png")
    (pictures / "red" / "00.png").rename(pictures / "red" / name)
    list(index_folders(catalogue, CLIP, [pictures]))
    store = store_of(catalogue, source_of(catalogue, CLIP, "colours"))
    found = find_matches(catalogue, store, vector_of(catalogue, CLIP, parse_query("red")), 3)
    (match,) = [match for match in found if match.path.endswith("x.png")]
    line = to_json(match)  # type: ignore[arg-type]
    assert line["event"] == "match"
    assert os.fsencode(line["path"]).endswith(b"caf\xe9\nx.png")
    assert not match.missing
    assert shown_path(match.path).endswith("red/caf\\xe9 x.png")


def test_nothing_here_loads_torch() -> None:
    code = (
        "import sys, lienzo.search.answers, lienzo.search.query, lienzo.search.filters, lienzo.search.duplicates, "
        "lienzo.imaging.result_sheet, lienzo.clip.embedder; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
