import stat
import struct
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drawn import centre, colour_of, plain

from lienzo.core.errors import BadInput
from lienzo.data import zipped
from lienzo.data.opening import open_data
from lienzo.data.zipped import zip_tree


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


@pytest.mark.parametrize("top", ["", "photos/", "a/b/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_is_like_the_folder_in_it(tmp_path: Path, top: str, compression: int) -> None:
    files = {"dog/1.png": plain(1), "cat/1.png": plain(2), "cat/2.png": plain(3)}
    spec = make_zip(tmp_path / "a.zip", {top + name: content for name, content in files.items()}, compression)
    data = open_data(spec, 8, cache=tmp_path / "cache")
    assert data.names == ("cat/1.png", "cat/2.png", "dog/1.png")
    assert data.label_names == ("cat", "dog")
    assert [centre(data.images, row) for row in range(3)] == [list(colour_of(n)) for n in (2, 3, 1)]
    table = {f"{top}metadata.csv": b"file_name,text\ncat/1.png,a cat\n"}
    spec = make_zip(tmp_path / "b.zip", {**{top + name: content for name, content in files.items()}, **table})
    assert open_data(spec, 8).captions == (("a cat",), (), ())


def test_what_would_leave_the_folder_or_is_no_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../up.png", "/root.png", "x/../../up.png", "C:/x.png", "__MACOSX/._a.png", ".h/a.png", "x/"):
            archive.writestr(name, plain(9))
        archive.writestr("./right.png", plain(1))
        archive.writestr("back\\slash.png", plain(2))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    data = open_data(str(path), 8)
    assert data.names == ("back/slash.png", "right.png")
    assert data.problems == ()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_and_a_broken_member(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in (1, 2):
            archive.writestr("a.png", plain(number))
        archive.writestr("b.png", plain(3))
        archive.writestr("c.png", plain(4))
    content = bytearray(path.read_bytes())
    place = content.index(plain(3))
    content[place + 20] ^= 255
    path.write_bytes(content)
    data = open_data(str(path), 8)
    assert data.names == ("a.png", "c.png")
    assert centre(data.images, 0) == list(colour_of(1))
    assert data.problems[0] == f"1 file ('a.png') is twice in '{path}'; the first is used."
    assert data.problems[1].startswith("b.png: The picture cannot be unpacked (Bad CRC-32")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = bytes(30_000_000)
    spec = make_zip(
        tmp_path / "a.zip", {f"{n}.png": zeros for n in range(3)} | {f"{n}.jpg": plain(n) for n in range(4)}
    )
    assert len(open_data(spec, 8)) == 4
    monkeypatch.setattr(zipped, "_FREE", 10**6)
    with pytest.raises(BadInput, match=r"unpack to 0\.0838 GiB"):
        open_data(spec, 8)
    monkeypatch.setattr(zipped, "MAX_ENTRIES", 3)
    with pytest.raises(BadInput, match="lists 7 files"):
        open_data(spec, 8)


def test_a_member_that_is_longer_than_announced_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = Path(make_zip(tmp_path / "a.zip", {"a.png": bytes(50_000_000), "b.png": plain(1)}))
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        start = content.index(signature)
        content[start + place : start + place + 4] = struct.pack("<L", 100)
    path.write_bytes(content)
    tree = zip_tree(path)
    with pytest.raises(BadInput, match="The picture"):
        tree.read("a.png", 10**9)
    with pytest.raises(BadInput, match="larger than"):
        tree.read("b.png", 10)


def test_a_table_of_contents_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    large = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 10**9, 10**9, 46 * 10**9, 0)
    end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(large + b"PK\6\7" + struct.pack("<LQL", 0, 0, 1) + end)
    with pytest.raises(BadInput, match="lists 1000000000 files"):
        zip_tree(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6", b"PK\5\6" + b"\xff" * 18, b"x" * 100_000])
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="archive"):
        open_data(str(path), 8)


def test_threads_read_it_together(tmp_path: Path) -> None:
    spec = make_zip(tmp_path / "a.zip", {f"{n:02}.png": plain(n) for n in range(60)})
    tree = zip_tree(Path(spec))
    wrong = []

    def read(start: int) -> None:
        numbers = np.roll(np.arange(60), start).tolist()
        wrong.extend(n for n in numbers if tree.read(f"{n:02}.png", 10**6) != plain(n))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(0, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
