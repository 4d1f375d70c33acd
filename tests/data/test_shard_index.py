import bz2
import gzip
import io
import lzma
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drawn import centre, colour_of, plain

from lienzo.core.errors import BadInput
from lienzo.data import shard_index
from lienzo.data.opening import open_data
from lienzo.data.shards import write_shard


def make_shards(folder: Path) -> str:
    write_shard(
        folder / "a-00.tar",
        [
            ("x/1.png", plain(1)),
            ("x/1.txt", b"one\nuno\n"),
            ("x/1.json", b'{"caption": "not this"}'),
            ("x/1.cls", b"1"),
            ("2.cls", b" 0 \n"),
            ("2.json", b'{"captions": ["two", "dos"], "name": "no"}'),
            ("2.jpg", plain(2, kind="JPEG", quality=100, subsampling=0)),
            ("2.seg.png", b"another kind of file"),
        ],
    )
    write_shard(
        folder / "a-01.tar",
        [("1.webp", plain(3, kind="WEBP", lossless=True)), ("1.json", b'{"name": "three"}'), ("1.cls", b"3")],
    )
    return f"{folder}/a-{{00..01}}.tar"


@pytest.mark.parametrize("how", ["range", "list", "folder"])
def test_shards(tmp_path: Path, how: str) -> None:
    spec = make_shards(tmp_path / "s")
    spec = {"range": spec, "list": "::".join(f"{tmp_path}/s/a-0{n}.tar" for n in (0, 1)), "folder": f"{tmp_path}/s"}[
        how
    ]
    data = open_data(spec, 8, cache=tmp_path / "cache")
    assert data.names == ("a-00.tar/x/1", "a-00.tar/2", "a-01.tar/1")
    assert data.captions == (("one", "uno"), ("two", "dos"), ("three",))
    assert data.labels.tolist() == [1, 0, 3]
    assert data.label_names == ("0", "1", "2", "3")
    for row, number in enumerate((1, 2, 3)):
        assert max(abs(a - b) for a, b in zip(centre(data.images, row), colour_of(number))) <= 3
    assert data.problems == ()
    with pytest.raises(BadInput, match="not divided"):
        open_data(spec, 8, split="test")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_shard(
        path,
        [
            ("1.png", plain(1)),
            ("1.json", b"{broken"),
            ("1.cls", b"cat"),
            ("2.png", plain(2)),
            ("2.cls", b"0"),
            ("3.txt", b"no picture"),
            ("1.png", plain(3)),
            ("4.png", b"not a picture"),
            ("4.json", b"[1]"),
        ],
    )
    data = open_data(str(path), 8)
    assert data.names == ("a.tar/1", "a.tar/2")
    assert centre(data.images, 0) == list(colour_of(1))
    assert (data.labels, data.label_names, data.captions) == (None, (), ())
    text = "\n".join(data.problems)
    for sentence in (
        "1 item ('a.tar/3') has no picture.",
        "1 key ('a.tar/1') is twice in one shard; the first is used.",
        "a.tar/1: its .json is not JSON, so it has no caption.",
        "a.tar/1: its .cls is not a class number.",
        "2 of 3 pictures have no class, so none is used.",
        "a.tar/4: The picture is not a picture",
    ):
        assert sentence in text


def test_hostile_members_are_passed_over_and_large_ones_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("../up.png", "/abs.png", "in/../../up.png", ".hidden.png", "right.png"):
            member = tarfile.TarInfo(name)
            member.size = len(plain(1))
            tar.addfile(member, io.BytesIO(plain(1)))
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("device.png", tarfile.CHRTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    assert open_data(str(path), 8).names == ("a.tar/right",)
    monkeypatch.setattr(shard_index, "MAX_MEMBER", 50)
    with pytest.raises(BadInput, match="are allowed"):
        open_data(str(path), 8)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_shards_are_held_in_memory(tmp_path: Path, kind: str, monkeypatch) -> None:
    spec = make_shards(tmp_path)
    plainly = open_data(spec, 8)
    for path in tmp_path.glob("*.tar"):
        packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](path.read_bytes())
        path.write_bytes(packed)
    data = open_data(spec, 8)
    rows = np.arange(3)
    assert np.array_equal(data.images[rows], plainly.images[rows])
    assert (data.names, data.captions, data.fingerprint) == (plainly.names, plainly.captions, plainly.fingerprint)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        open_data(spec, 8)
    path.write_bytes(packed)
    monkeypatch.setattr(shard_index, "_MAX_UNPACKED", 10)
    with pytest.raises(BadInput, match="uncompress them"):
        open_data(spec, 8)


def test_what_is_not_a_whole_tar_or_has_no_pictures(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "b.tar").write_bytes((tmp_path / "a-00.tar").read_bytes()[:700])
    with pytest.raises(BadInput, match=r"b\.tar"):
        open_data(f"{tmp_path}/b.tar", 8)
    write_shard(tmp_path / "c.tar", [("a.txt", b"only text")])
    with pytest.raises(BadInput, match="holds no pictures"):
        open_data(f"{tmp_path}/c.tar", 8)


def test_a_shard_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    spec = make_shards(tmp_path / "s")
    data = open_data(spec, 8, cache=tmp_path / "cache", cache_limit=1)
    (tmp_path / "s" / "a-00.tar").write_bytes(b"short")
    with pytest.raises(BadInput, match="ends before the picture does"):
        data.images[[0]]
