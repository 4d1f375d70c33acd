import io
import json
import tarfile

import pytest

from lienzo.core.errors import BadInput
from lienzo.data import shards
from lienzo.data.shards import expand, read_members, read_shards, write_shard


def test_what_is_written_is_read_back(tmp_path) -> None:
    path = tmp_path / "new" / "a-00000.tar"
    write_shard(
        path,
        [("cat_1.json", b'{"name": "cat"}'), ("cat_1.png", b"pixels"), ("dog.txt", b" a dog \n"), ("dog.cls", b"7")],
    )
    cat, dog = read_shards(str(path), decode=lambda data: data.decode().upper())
    assert cat == {"key": "cat_1", "image": "PIXELS", "json": {"name": "cat"}, "caption": "cat"}
    assert dog == {"key": "dog", "caption": "a dog", "label": 7}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_same_items_give_the_same_bytes_and_a_crash_leaves_nothing(tmp_path) -> None:
    def broken():
        yield "a.txt", b"1"
        raise RuntimeError("cut off")

    for name in ("one.tar", "two.tar"):
        write_shard(tmp_path / name, [("a.txt", b"1"), ("b.txt", b"2")])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "three.tar", broken())
    assert not (tmp_path / "three.tar").exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{00009..00011}.tar", ["a-00009.tar", "a-00010.tar", "a-00011.tar"]),
        ("{noto,tux}-{0..1}.tar", ["noto-0.tar", "tux-0.tar", "noto-1.tar", "tux-1.tar"]),
        ("a.tar::b-{0..1}.tar", ["a.tar", "b-0.tar", "b-1.tar"]),
    ],
)
def test_expand(spec: str, expected: list[str]) -> None:
    assert sorted(path.name for path in expand(spec)) == sorted(expected)


@pytest.mark.parametrize("spec", ["", "::", "a-{5..3}.tar", "a-{0..999999999}.tar", "{0..999}{0..999}{0..999}.tar"])
def test_specs_that_name_nothing_or_far_too_much_are_refused(spec: str) -> None:
    with pytest.raises(BadInput):
        expand(spec)


def hostile_tar(path) -> None:
    with tarfile.open(path, "w") as tar:
        for name in ("../up.txt", "/etc/out.txt", "a/../../b.txt", "..\\c.txt", ".hidden", "noextension"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo(f"k{kind.decode()}.txt")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("sub/good.v2.txt")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))


def test_a_hostile_tar_gives_its_honest_file_and_writes_nothing(tmp_path) -> None:
    path = tmp_path / "evil.tar"
    hostile_tar(path)
    assert list(read_members(path)) == [("sub/good", "v2.txt", b"ok")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.tar"]


def test_a_member_that_is_too_large_is_refused(tmp_path, monkeypatch) -> None:
    write_shard(tmp_path / "a.tar", [("a.txt", b"12345")])
    monkeypatch.setattr(shards, "MAX_MEMBER", 4)
    with pytest.raises(BadInput, match="5 bytes"):
        list(read_shards(str(tmp_path / "a.tar")))


def test_missing_cut_off_and_foreign_files_are_one_sentence(tmp_path) -> None:
    with pytest.raises(BadInput, match="no shard"):
        list(read_shards(str(tmp_path / "none.tar")))
    write_shard(tmp_path / "a.tar", [("a.txt", b"x" * 5000)])
    (tmp_path / "cut.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:2000])
    (tmp_path / "text.tar").write_text("hello")
    for name in ("cut.tar", "text.tar"):
        with pytest.raises(BadInput, match=name):
            list(read_shards(str(tmp_path / name)))


def test_a_bad_item_is_reported_or_raised(tmp_path) -> None:
    items = [("a.json", b"{"), ("b.cls", b"seven"), ("c.json", json.dumps({"caption": "sea"}).encode())]
    write_shard(tmp_path / "a.tar", items)
    bad: list[str] = []
    found = list(read_shards(str(tmp_path / "a.tar"), on_bad=lambda key, error: bad.append(key)))
    assert [item["caption"] for item in found] == ["sea"]
    assert bad == ["a", "b"]
    with pytest.raises(BadInput, match="'a'"):
        list(read_shards(str(tmp_path / "a.tar")))
