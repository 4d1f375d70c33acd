"""Every kind of data set through `open_data`, and what a person is told when something is wrong."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from drawn import centre, colour_of, encoded, plain, write

from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.data.opening import open_data, prepare_data
from lienzo.data.records import Record
from lienzo.data.shards import write_shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures in two folders, one of them hidden, and other files."""
    return write(
        tmp_path / "data",
        {
            "b.png": plain(2),
            "a.png": plain(1),
            "deep/er/c.png": plain(3),
            "deep/d.PNG": plain(4),
            ".hidden/x.png": plain(5),
            ".x.png": plain(6),
            "notes.md": "not a picture",
        },
    )


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_in_sorted_order_with_progress(folder: Path, tmp_path: Path, kept: bool) -> None:
    cache = tmp_path / "cache" if kept else None
    steps = prepare_data(str(folder), 8, cache=cache)
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            data = end.value
            break
    assert events[-1] == Progress("Reading pictures", 4, 4, events[-1].seconds, "picture")
    assert data.names == ("a.png", "b.png", "deep/d.PNG", "deep/er/c.png")
    assert [centre(data.images, row) for row in range(4)] == [list(colour_of(n)) for n in (1, 2, 4, 3)]
    assert data.images.shape == (4, 8, 8, 3)
    assert (data.captions, data.labels, data.label_names, data.problems) == ((), None, (), ())
    assert len(list(prepare_data(str(folder), 8, cache=cache))) == (0 if kept else 1)
    assert not kept or len(list((tmp_path / "cache").iterdir())) == 2


def test_what_changes_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    first = open_data(str(folder), 8).fingerprint
    shutil.copytree(folder, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "a.png", (5, 5))
    assert open_data(str(tmp_path / "copy"), 8).fingerprint == first  # neither place nor time
    seen = {first, open_data(str(folder), 9).fingerprint, open_data(str(folder), 8, crop="pad").fingerprint}
    write(folder, {"a.txt": "a caption"})
    seen.add(open_data(str(folder), 8).fingerprint)
    write(folder, {"z.png": plain(9)})
    seen.add(open_data(str(folder), 8).fingerprint)
    assert len(seen) == 5


def test_a_changed_picture_is_not_taken_from_the_cache(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert centre(open_data(str(folder), 8, cache=cache).images, 0) == list(colour_of(1))
    write(folder, {"a.png": plain(50)})
    os.utime(folder / "a.png", (7, 7))
    assert centre(open_data(str(folder), 8, cache=cache).images, 0) == list(colour_of(50))


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    grey = Image.new("L", (20, 30), 100)
    alpha = Image.new("RGBA", (16, 16), (200, 0, 0, 128))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (60, 20), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 30, 20))  # red above blue once it is turned upright
    write(
        tmp_path,
        {
            "alpha.png": encoded(alpha),
            "cmyk.jpg": encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95),
            "deep.png": encoded(Image.fromarray(np.full((16, 16), 257 * 100, np.uint16))),
            "grey.png": encoded(grey),
            "large.jpg": encoded(Image.new("RGB", (700, 500), (10, 120, 240)), "JPEG", quality=95),
            "palette.gif": encoded(Image.new("P", (16, 16), 3), "GIF"),
            "turned.jpg": encoded(wide, "JPEG", exif=exif, quality=95),
            "web.webp": encoded(Image.new("RGB", (16, 16), (7, 8, 9)), "WEBP", lossless=True),
        },
    )
    data = open_data(str(tmp_path), 16, crop="pad")
    shown = {name: centre(data.images, row) for row, name in enumerate(data.names)}
    assert shown["alpha.png"] == [227, 127, 127]
    assert shown["cmyk.jpg"][0] > 200
    assert max(shown["cmyk.jpg"][1:]) < 60
    assert shown["deep.png"] == shown["grey.png"] == [100] * 3
    assert np.abs(np.array(shown["large.jpg"]) - (10, 120, 240)).max() <= 3
    assert shown["web.webp"] == [7, 8, 9]
    turned = data.images[np.array([data.names.index("turned.jpg")])][0].astype(int)
    assert turned[1, 8, 0] > 200 > 60 > turned[1, 8, 2]
    assert turned[14, 8, 2] > 200 > 60 > turned[14, 8, 0]
    assert (turned[:, 1] == 255).all()  # the border beside an upright picture
    assert data.problems == ()


def test_small_pictures_are_enlarged_with_one_note(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": plain(1, 4, 40), "b.png": plain(2, 40, 40), "c.png": plain(3, 5, 5)})
    for _ in range(2):  # the second time from the cache
        data = open_data(str(tmp_path), 16, cache=tmp_path / ".cache")
        assert data.problems == ("2 pictures (the first: 'a.png') are smaller than 16 pixels and were enlarged.",)
    assert centre(data.images, 0) == list(colour_of(1))
    assert open_data(str(tmp_path), 4).problems == ()


def test_a_large_jpeg_is_as_good_as_decoded_whole(tmp_path: Path) -> None:
    y, x = np.mgrid[:512, :512] / 512
    waves = np.stack([np.sin(20 * x + 5 * y), np.cos(31 * x * y), np.sin(9 * (x - y) ** 2)], -1)
    image = Image.fromarray((127.5 + 127 * waves).astype(np.uint8))
    write(tmp_path, {"a.jpg": encoded(image, "JPEG", quality=95)})
    for size in (256, 100, 64):
        exact = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS), float)
        error = ((open_data(str(tmp_path), size).images[np.array([0])][0] - exact) ** 2).mean()
        assert 10 * np.log10(255**2 / error) > 33, size


def test_exact_copies_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": plain(1), "b.png": plain(2), "x/a again.png": plain(1)})
    data = open_data(str(tmp_path), 8)
    assert data.problems == ("1 picture ('x/a again.png') is an exact copy of another one.",)
    assert len(data) == 3


# -- captions and classes ----------------------------------------------------------------------------------------


def test_captions_beside_the_pictures(folder: Path) -> None:
    write(
        folder,
        {"a.txt": "\ufeffa red fox \n\n a  fox\x1b[2J at night\r\na red fox\n", "deep/d.txt": "", "alone.txt": "x"},
    )
    data = open_data(str(folder), 8)
    assert data.captions == (("a red fox", "a  fox[2J at night"), (), (), ())
    assert data.labels is None
    assert data.problems == (
        "1 text file ('alone.txt') has no picture beside it.",
        "3 pictures (the first: 'b.png') have no caption, while others have.",
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "other"])
def test_captions_in_a_table(folder: Path, kind: str) -> None:
    if kind == "csv":
        table = 'file_name,text,caption\na.png,"one, two",three\n./deep/d.PNG,"a\nb",\n'
        write(folder, {"metadata.csv": table + "b.png,four,\nb.png,five,\ngone.png,x,\n"})
    else:
        rows = [
            {"file_name": "a.png", "captions": ["one, two", "three"]},
            {"file_name": "deep/d.PNG", "text": "a\nb"},
            {"file_name": "b.png", "text": "four", "caption": "five"},
            {"file_name": "gone.png", "text": "x"},
        ]
        name = "metadata.jsonl" if kind == "jsonl" else "mine.jsonl"
        write(folder, {name: "\n".join(map(json.dumps, rows)) + "\n\n", "run.jsonl": '{"loss": 3}\nnot json'})
    data = open_data(str(folder), 8)
    assert data.captions == (("one, two", "three"), ("four", "five"), ("a b",), ())
    assert any("speaks of 1 picture ('gone.png') that cannot be found" in problem for problem in data.problems)
    write(folder, {"a.txt": "three\nbeside"})
    assert open_data(str(folder), 8).captions[0] == ("one, two", "three", "beside")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("metadata.csv", "name,text\na.png,x\n", "columns file_name and text"),
        ("metadata.csv", "file_name,size\na.png,3\n", "columns file_name and text"),
        ("metadata.csv", "", "columns file_name and text"),
        ("metadata.csv", b"file_name,text\na.png,\xff\xfe\n", "not UTF-8"),
        ("metadata.csv", "file_name,text\na.png," + "x" * 200_000, "Line 2 of 'metadata.csv'"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}\n{broken\n', "Line 2 of 'metadata.jsonl' is not JSON"),
        ("metadata.jsonl", '["a.png"]\n', "Line 1 of 'metadata.jsonl' needs the form"),
        ("metadata.jsonl", "[" * 100_000, "Line 1 of 'metadata.jsonl' is not JSON"),
    ],
)
def test_a_table_that_cannot_be_read(folder: Path, name: str, content: str | bytes, word: str) -> None:
    write(folder, {name: content})
    with pytest.raises(BadInput, match=word):
        open_data(str(folder), 8)


def test_folders_are_classes_only_where_there_are_no_captions(tmp_path: Path) -> None:
    write(tmp_path, {"dog/1.png": plain(1), "cat/2.png": plain(2), "cat/1.png": plain(3)})
    data = open_data(str(tmp_path), 8)
    assert data.label_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.labels.dtype == np.int64
    assert data.captions == ()
    write(tmp_path, {"dog/1.txt": "a dog"})
    assert open_data(str(tmp_path), 8).labels is None
    (tmp_path / "dog" / "1.txt").unlink()
    write(tmp_path, {"above.png": plain(4)})
    assert open_data(str(tmp_path), 8).labels is None


def test_splits_in_folders(tmp_path: Path) -> None:
    pictures = {"train/dog/1.png": 1, "train/cat/1.png": 2, "Validation/dog/2.png": 3, "train/ant/1.png": 4}
    write(tmp_path, {name: plain(number) for name, number in pictures.items()})
    data = open_data(str(tmp_path), 8)
    assert data.names == ("train/ant/1.png", "train/cat/1.png", "train/dog/1.png")
    assert data.labels.tolist() == [0, 1, 2]
    held = open_data(str(tmp_path), 8, split="val")
    assert (held.names, held.labels.tolist()) == (("Validation/dog/2.png",), [2])  # numbered as in training
    assert held.label_names == data.label_names
    assert len(open_data(str(tmp_path), 8, split="all")) == 4
    with pytest.raises(BadInput, match="no split 'test'; it has train, val"):
        open_data(str(tmp_path), 8, split="test")
    write(tmp_path, {"train/metadata.csv": "file_name,text\ndog/1.png,a dog\n"})
    assert open_data(str(tmp_path), 8).captions == ((), (), ("a dog",))
    with pytest.raises(BadInput, match="no split 'val'; it is not divided"):
        open_data(str(tmp_path / "train"), 8, split="val")


# -- what is wrong ------------------------------------------------------------------------------------------------


def test_broken_pictures_are_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = encoded(noise)
    write(folder, {"a.txt": "first", "b2.txt": "lost", "deep/d.txt": "fourth"})
    write(folder, {"b2.png": whole[: len(whole) // 2], "empty.jpg": b""})  # one breaks only when it is decoded
    (folder / "pipe.png").symlink_to("/dev/null")
    for _ in range(2):
        data = open_data(str(folder), 8, cache=tmp_path / "cache")
        assert data.names == ("a.png", "b.png", "deep/d.PNG", "deep/er/c.png")
        assert data.captions == (("first",), (), ("fourth",), ())
        assert [centre(data.images, row) for row in range(4)] == [list(colour_of(n)) for n in (1, 2, 4, 3)]
        assert [problem for problem in data.problems if problem.startswith(("b2.png: The", "empty.jpg: The"))]
        assert sum("broken or cut off" in problem or "is empty" in problem for problem in data.problems) == 2


def test_more_than_half_broken(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": b"x", "b.png": plain(1)})
    assert len(open_data(str(tmp_path), 8)) == 1
    write(tmp_path, {"c.png": b"y"})
    with pytest.raises(BadInput, match=r"2 of the 3 pictures in .* cannot be read \('a\.png': The picture"):
        open_data(str(tmp_path), 8)


def test_a_hundred_broken_pictures_are_named(tmp_path: Path) -> None:
    write(tmp_path, {f"{n:03}.png": b"x" if n % 2 else plain(n) for n in range(250)})
    problems = open_data(str(tmp_path), 8).problems
    assert len([p for p in problems if ": The picture" in p]) == 100
    assert "25 more pictures cannot be read." in problems


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("absent", "no data at"),
        ("", "no data at"),
        ("a\0b", "no data at"),
        ("x" * 5000, "no data at"),
        ("~nobody-of-this-name/x", "no data at"),
        ("{dir}/empty", "holds no pictures"),
        ("{dir}/file.bin", "not a folder, a .zip or a .tar"),
        ("{dir}/broken.zip", "not a zip archive"),
        ("{dir}/absent.tar", "no shard"),
        ("{dir}/a-{{000..001}}.tar", "no shard"),
    ],
)
def test_one_clear_sentence(tmp_path: Path, spec: str, word: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, {"file.bin": b"x", "broken.zip": b"PK"})
    with pytest.raises(BadInput, match=word) as caught:
        open_data(spec.replace("{dir}", str(tmp_path)).replace("{{", "{").replace("}}", "}"), 8)
    assert len(str(caught.value)) < 500
    for size in (0, 5000):
        with pytest.raises(BadInput, match="size"):
            open_data(str(tmp_path), size)


def test_links_in_circles_and_twice(folder: Path) -> None:
    (folder / "deep" / "round").symlink_to(folder)
    (folder / "zz").symlink_to(folder / "deep")
    (folder / "nowhere.png").symlink_to(folder / "absent")
    (folder / "linked.png").symlink_to(folder / "a.png")
    data = open_data(str(folder), 8)
    assert data.names == ("a.png", "b.png", "deep/d.PNG", "deep/er/c.png", "linked.png")


def test_odd_names(tmp_path: Path) -> None:
    names = ["ñandú 🦤.png", "new\nline.png", "{1..3}.png", os.fsdecode(b"\xff\xfe.png")]
    write(tmp_path, {name: plain(number) for number, name in enumerate(names)})
    data = open_data(str(tmp_path), 8)
    assert len(data) == 4
    for name in data.names:
        name.encode()
    write(tmp_path, {"bad\nname.png": b"x"})
    assert "bad name.png: The picture" in open_data(str(tmp_path), 8).problems[0]


def test_too_large_for_the_cache_is_decoded_when_read(folder: Path, tmp_path: Path) -> None:
    write(folder, {"broken.png": b"x"})
    data = open_data(str(folder), 8, cache=tmp_path / "cache", cache_limit=100)
    assert [centre(data.images, row) for row in range(4)] == [list(colour_of(n)) for n in (1, 2, 4, 3)]
    assert any("none are kept" in problem for problem in data.problems)
    (folder / "a.png").unlink()
    with pytest.raises(BadInput, match=r"'a\.png' could be read when the data were opened"):
        data.images[np.array([0])]


# -- the built corpus ---------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    def items():
        for number, split in enumerate(["train", "val", "train", "test", "train"]):
            style = ["flat", "blob"][number % 2]
            captions = {"en": [f"thing {number}", "tag"], "es": ["cosa"]}
            record = Record(f"s_{number}", f"c{number}", f"n{number}", captions, style, "s", "MIT", True, "A", split)
            yield f"s_{number}.json", json.dumps(record.to_json()).encode()
            yield f"s_{number}.png", plain(number, 64, 64)

    write_shard(tmp_path / "shards" / "64" / "s-00000.tar", items())
    return write(tmp_path, {"manifest.json": '{"build": "abc"}'})


def test_a_corpus(corpus: Path) -> None:
    data = open_data(str(corpus), 64)
    assert data.names == ("s_0", "s_2", "s_4")
    assert data.captions[1] == ("thing 2", "tag")
    assert data.label_names == ("blob", "flat")
    assert data.labels.tolist() == [1, 1, 1]
    assert centre(data.images, 2) == list(colour_of(4))
    held = open_data(str(corpus), 32, split="val")
    assert (held.names, held.labels.tolist(), held.label_names) == (("s_1",), [0], ("blob", "flat"))
    assert held.images[np.array([0])].shape == (1, 32, 32, 3)
    assert centre(held.images, 0) == list(colour_of(1))
    assert len(open_data(str(corpus), 20, split="all")) == 5
    assert data.fingerprint != open_data(str(corpus), 32).fingerprint
    with pytest.raises(BadInput, match="up to 256"):
        open_data(str(corpus), 300)
    with pytest.raises(BadInput, match="no shards of 128"):
        open_data(str(corpus), 100)
    shutil.copytree(corpus / "shards" / "64", corpus / "shards" / "256")
    with pytest.raises(BadInput, match="not 256 x 256"):  # where 128 is missing, 256 is taken
        open_data(str(corpus), 100)
