"""clip-retrieval's layout: what is written is read again, what is broken or hostile is refused, all or nothing."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

from vectors import unit  # noqa: E402

from lienzo.core.errors import BadInput  # noqa: E402
from lienzo.core.events import Note  # noqa: E402
from lienzo.search.catalogue import Catalogue, Entry  # noqa: E402
from lienzo.search.exchange import Batch, LayoutWriter, open_layout  # noqa: E402
from lienzo.tasks.index_exchange import ExportIndex, ImportIndex, run  # noqa: E402

DIM = 6


def rows(count: int, seed: int = 0, texts: bool = False) -> Batch:
    draws = np.random.default_rng(seed)
    names = [f"a/{seed}/{i} 🦊\n.png" for i in range(count)]
    words = unit(draws.standard_normal((count, DIM))) if texts else None
    return Batch(names, [f"picture {i}" for i in range(count)], unit(draws.standard_normal((count, DIM))), words)


def theirs(folder: Path, number: str = "0", **columns: list[object]) -> np.ndarray:
    """A folder as clip-retrieval leaves it: vectors of any length, more columns."""
    columns = columns or {"caption": ["x", None, "z"], "image_path": ["1.jpg", "2.jpg", "3.jpg"], "NSFW": [0, 1, 2]}
    vectors = np.random.default_rng(int(number)).standard_normal((3, DIM)).astype(np.float16) * 5
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors)
    pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{number}.parquet")
    return vectors


@pytest.mark.parametrize("texts", [False, True])
def test_round_trip_in_parts(tmp_path: Path, texts: bool) -> None:
    given = [rows(5, 1, texts), rows(4, 2, texts), rows(0, 3, texts)]
    with LayoutWriter(tmp_path / "out", DIM, part=4, facts={"tag": "t"}) as writer:
        for batch in given:
            writer.add(batch)
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out" / "img_emb").iterdir()) == [
        f"img_emb/img_emb_{i}.npy" for i in range(3)
    ]
    assert np.load(tmp_path / "out" / "img_emb" / "img_emb_2.npy").shape == (1, DIM)
    assert np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy").dtype == np.float16
    layout = open_layout(tmp_path / "out")
    assert (layout.count, layout.dim, layout.facts) == (9, DIM, {"tag": "t"})
    back = list(layout.batches(size=3))
    assert [name for batch in back for name in batch.paths] == [name for batch in given for name in batch.paths]
    assert [text for batch in back for text in batch.captions] == [text for batch in given for text in batch.captions]
    for field in ("vectors", "texts") if texts else ("vectors",):
        wanted = np.concatenate([getattr(batch, field) for batch in given])
        got = np.concatenate([getattr(batch, field) for batch in back])
        assert np.allclose(got, wanted, atol=1e-3)
        assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert texts or all(batch.texts is None for batch in back)


def test_reads_what_others_wrote(tmp_path: Path) -> None:
    first, second = theirs(tmp_path, "0000"), theirs(tmp_path, "0011")
    second[1] = 0
    np.save(tmp_path / "img_emb" / "img_emb_0011.npy", np.asfortranarray(second.astype(np.float32)))
    (tmp_path / "img_emb" / "notes.txt").write_text("not ours")
    batches = list(open_layout(tmp_path).batches())
    assert [batch.paths for batch in batches] == [["1.jpg", "2.jpg", "3.jpg"], ["1.jpg", "3.jpg"]]
    assert list(batches[0].captions) == ["x", "", "z"]
    assert np.allclose(batches[0].vectors, unit(first.astype(np.float32)), atol=1e-6)
    assert np.allclose(batches[1].vectors, unit(second[[0, 2]].astype(np.float32)), atol=1e-6)


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/lienzo-was-here",)


@pytest.mark.parametrize(
    "wrong", ["none", "short", "pickle", "objects", "ints", "one", "rows", "parquet", "gone", "names"]
)
def test_broken_or_hostile_files_are_one_sentence(tmp_path: Path, wrong: str) -> None:
    theirs(tmp_path)
    place = tmp_path / "img_emb" / "img_emb_0.npy"
    table = tmp_path / "metadata" / "metadata_0.parquet"
    if wrong == "none":
        place.unlink()
    elif wrong == "short":
        place.write_bytes(place.read_bytes()[:-1])
    elif wrong == "pickle":
        place.write_bytes(pickle.dumps(Boom()))
    elif wrong == "objects":
        np.save(place, np.array([[Boom()]] * 3, object), allow_pickle=True)
    elif wrong == "ints":
        np.save(place, np.zeros((3, DIM), np.int64))
    elif wrong == "one":
        np.save(place, np.zeros(3, np.float32))
    elif wrong == "rows":
        np.save(place, np.zeros((4, DIM), np.float32))
    elif wrong == "parquet":
        table.write_bytes(table.read_bytes()[:-9])
    elif wrong == "gone":
        table.unlink()
    else:
        theirs(tmp_path, "0", other=["a", "b", "c"])
    with pytest.raises(BadInput) as caught:
        open_layout(tmp_path)
    assert str(caught.value).endswith(".")
    assert not Path("/tmp/lienzo-was-here").exists()


def test_a_head_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    theirs(tmp_path)
    with (tmp_path / "img_emb" / "img_emb_0.npy").open("wb") as file:
        head = {"descr": "<f2", "fortran_order": False, "shape": (10**12, DIM)}
        np.lib.format.write_array_header_1_0(file, head)
    with pytest.raises(BadInput, match="not a whole"):
        open_layout(tmp_path)


def test_parts_of_different_lengths_are_refused(tmp_path: Path) -> None:
    theirs(tmp_path, "0")
    theirs(tmp_path, "1")
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", np.ones((3, DIM + 1), np.float16))
    with pytest.raises(BadInput, match="different lengths: 6, 7"):
        open_layout(tmp_path)


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stopped() -> None:
        with LayoutWriter(out, DIM) as writer:
            writer.add(rows(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="do not fit"), LayoutWriter(out, DIM) as writer:
        writer.add(rows(3)._replace(captions=["one"]))
    assert list(tmp_path.iterdir()) == []
    with LayoutWriter(out, DIM):
        pass
    assert open_layout(out).count == 0
    with pytest.raises(BadInput, match="new or an empty folder"), LayoutWriter(out, DIM):
        pass
    (tmp_path / "empty").mkdir()
    with LayoutWriter(tmp_path / "empty", DIM) as writer:
        writer.add(rows(2))
    assert open_layout(tmp_path / "empty").count == 2


# The verbs


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for i in range(5):
        Image.new("RGB", (10 + i, 20), (i * 40, 0, 0)).save(folder / "sub" / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def index(tmp_path: Path, pictures: Path) -> Path:
    place = tmp_path / "index"
    with Catalogue.open(place, create=True) as catalogue:
        root = catalogue.add_root(pictures)
        paths = [f"sub/{i}.png" for i in range(5)]
        entries = [Entry(root.id, os.fsencode(p), 1, 1, p.encode().ljust(32), 1, 1, f"c{p}", 0) for p in paths]
        catalogue.record("tag", DIM, entries, list(rows(5).vectors))
    return place


def note(events: Iterator[object]) -> Note:
    last = list(events)[-1]
    assert isinstance(last, Note)
    return last


def test_export_and_import_move_an_index(tmp_path: Path, pictures: Path, index: Path) -> None:
    out = tmp_path / "out"
    assert "5 vectors of 6 numbers" in note(run(ExportIndex(out=out, index=index, part=2))).text
    said = note(run(ImportIndex(source=out, pictures=pictures, index=tmp_path / "other")))
    assert said.text == "5 of 5 pictures are in the index."
    with Catalogue.open(index) as first, Catalogue.open(tmp_path / "other") as second:
        assert second.tags() == {"tag": 5}
        for item in second.items(second.ids()):
            twin = first.find(item.path)
            assert twin is not None
            assert item.caption == twin.caption
            assert (item.width, item.height) == (10 + int(item.path.stem), 20)
            assert item.size == item.path.stat().st_size
            mine, yours = second.vector(item.id, "tag"), first.vector(twin.id, "tag")
            assert mine is not None
            assert yours is not None
            assert np.allclose(mine, yours, atol=1e-3)


def test_import_takes_only_what_is_in_the_folder(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "outside.png").write_bytes((pictures / "sub" / "0.png").read_bytes())
    (pictures / "link.png").symlink_to(tmp_path / "outside.png")
    names = ["sub/1.png", "../outside.png", str(tmp_path / "outside.png"), "link.png", "gone.png", "a\0b", "broken.png"]
    names += ["x" * 5000, str(pictures / "sub" / "2.png")]
    given = Batch(names, names, np.ones((len(names), DIM)))
    with LayoutWriter(tmp_path / "in", DIM, facts={"tag": "t", "dim": DIM}) as writer:
        writer.add(given)
    said = note(run(ImportIndex(source=tmp_path / "in", pictures=pictures, index=tmp_path / "index")))
    assert said.text == "2 of 9 pictures are in the index; 6 are not in the folder; 1 cannot be read."
    with Catalogue.open(tmp_path / "index") as catalogue:
        assert {item.path.name for item in catalogue.items(catalogue.ids())} == {"1.png", "2.png"}


def test_import_must_know_the_model(tmp_path: Path, pictures: Path, index: Path) -> None:
    theirs(tmp_path / "in")
    with pytest.raises(BadInput, match="--clip"):
        note(run(ImportIndex(source=tmp_path / "in", pictures=pictures, index=index)))
    (tmp_path / "in" / "lienzo.json").write_text(json.dumps({"tag": "tag", "dim": DIM + 1}))
    with pytest.raises(BadInput, match="--clip"):
        note(run(ImportIndex(source=tmp_path / "in", pictures=pictures, index=index)))
    (tmp_path / "in" / "lienzo.json").write_text(json.dumps({"tag": "tag", "dim": DIM}))
    with pytest.raises(BadInput, match="does not exist"):
        note(run(ImportIndex(source=tmp_path / "in", pictures=tmp_path / "none", index=index)))


def test_export_must_know_which_model(tmp_path: Path, pictures: Path, index: Path) -> None:
    with Catalogue.open(index) as catalogue:
        root = catalogue.roots()[0]
        entry = Entry(root.id, b"sub/0.png", 1, 1, b"sub/0.png".ljust(32), 1, 1, "", 0)
        catalogue.record("second", DIM, [entry], list(rows(1).vectors))
    with pytest.raises(BadInput, match="2 models"):
        note(run(ExportIndex(out=tmp_path / "out", index=index)))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="nothing is swept there")
def test_what_a_killed_export_left_is_swept(tmp_path: Path) -> None:
    writing = (
        "import os, sys; from pathlib import Path; from lienzo.search.exchange import LayoutWriter\n"
        "LayoutWriter(Path(sys.argv[1]), 4).__enter__(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", writing, str(tmp_path / "killed")], check=False)
    (tmp_path / ".mine.part").mkdir()
    assert len(list(tmp_path.glob(".*.part"))) == 2
    with LayoutWriter(tmp_path / "one", DIM), LayoutWriter(tmp_path / "two", DIM):
        assert len(list(tmp_path.glob(".*.part"))) == 3, "two at work, and one that is not ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.part", "one", "two"]
