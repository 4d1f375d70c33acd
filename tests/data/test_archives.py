import io
import lzma
import tarfile

import pytest

from lienzo.core.errors import BadInput
from lienzo.data import archives
from lienzo.data.archives import read_package


def everything(name: str) -> bool:
    return True


def test_npm_and_debian_packages_give_the_same_paths_and_bytes(tmp_path, make_npm, make_deb) -> None:
    files = {"usr/share/a.txt": b"one", "usr/b.txt": b""}
    assert dict(read_package(make_npm(tmp_path / "p.tgz", files), everything)) == files
    assert dict(read_package(make_deb(tmp_path / "p.deb", files), everything)) == files


def test_only_what_is_wanted_is_read(tmp_path, make_npm) -> None:
    path = make_npm(tmp_path / "p.tgz", {"a.json": b"1", "b.txt": b"2"})
    assert dict(read_package(path, lambda name: name.endswith(".json"))) == {"a.json": b"1"}


def test_links_and_devices_are_passed_over(tmp_path) -> None:
    path = tmp_path / "p.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"package/{kind!r}")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("package/good")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    assert dict(read_package(path, everything)) == {"good": b"ok"}


def test_a_file_that_is_too_large_is_refused(tmp_path, make_npm, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER", 3)
    with pytest.raises(BadInput, match="too large"):
        list(read_package(make_npm(tmp_path / "p.tgz", {"a": b"1234"}), everything))


@pytest.mark.parametrize("content", [b"", b"not a package", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"\x1f\x8b\x08"])
def test_what_is_no_package_is_refused_in_one_sentence(tmp_path, content) -> None:
    path = tmp_path / "p.deb"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"p\.deb"):
        list(read_package(path, everything))


def test_a_cut_off_debian_package_is_refused(tmp_path, make_deb) -> None:
    path = make_deb(tmp_path / "p.deb", {"a": bytes(range(256)) * 40})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises((BadInput, lzma.LZMAError)) as caught:
        list(read_package(path, everything))
    assert isinstance(caught.value, BadInput)
