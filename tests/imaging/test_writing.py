"""Saving: whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from pictures import gradient

from lienzo.core.errors import BadInput
from lienzo.imaging.reading import load_picture
from lienzo.imaging.writing import save_picture


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_formats_by_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"fox{suffix}"
    save_picture(gradient(), path)
    assert np.abs(load_picture(path).astype(int) - gradient()).mean() < (1 if suffix.lower() == ".png" else 12)
    assert os.listdir(tmp_path) == [path.name]


def test_grey_and_transparent_pictures(tmp_path: Path) -> None:
    rgba = np.dstack([gradient(), np.zeros((24, 32), np.uint8)])
    save_picture(rgba, tmp_path / "a.jpg")
    assert load_picture(tmp_path / "a.jpg").min() > 250
    save_picture(rgba, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "RGBA"
    save_picture(gradient()[..., 0], tmp_path / "g.png")
    assert np.array_equal(load_picture(tmp_path / "g.png")[..., 0], gradient()[..., 0])


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    save_picture(gradient(), path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="exists already"):
        save_picture(gradient() // 2, path)
    assert path.read_bytes() == before
    save_picture(gradient() // 2, path, exist_ok=True)
    assert path.read_bytes() != before


def test_two_writers_of_one_new_name(tmp_path: Path) -> None:
    """Exactly one wins, and its file is whole."""
    results: list[str] = []

    def write(value: int) -> None:
        try:
            save_picture(np.full((64, 64, 3), value, np.uint8), tmp_path / "one.png")
            results.append("won")
        except BadInput:
            results.append("lost")

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["lost"] * 7 + ["won"]
    assert len(np.unique(load_picture(tmp_path / "one.png"))) == 1
    assert os.listdir(tmp_path) == ["one.png"]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    path = tmp_path / "fox.png"
    save_picture(gradient(), path)
    before = path.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fails == "write":
        monkeypatch.setattr(Image.Image, "save", full)
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(BadInput, match="No space left on device"):
        save_picture(gradient() // 2, path, exist_ok=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["fox.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path = tmp_path / "fox.png"
        save_picture(gradient(), path)
        before = path.read_bytes()
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        with pytest.raises(BadInput, match="No space left on device"):
            save_picture(noise, path, exist_ok=True)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["fox.png"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    script = (
        "import sys, numpy as np\n"
        "from lienzo.imaging.writing import save_picture\n"
        "image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)\n"
        "print('ready', flush=True)\n"
        "while True: save_picture(image, sys.argv[1], exist_ok=True)\n"
    )
    for delay in (0.02, 0.05, 0.11):
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        assert not path.exists() or load_picture(path).shape == (256, 256, 3)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    image = gradient()
    with pytest.raises(BadInput, match=r"ends in \.png"):
        save_picture(image, tmp_path / "fox.gif")
    with pytest.raises(BadInput, match="folder does not exist"):
        save_picture(image, tmp_path / "absent" / "fox.png")
    with pytest.raises(BadInput, match="16383"):
        save_picture(np.zeros((1, 17_000, 3), np.uint8), tmp_path / "fox.webp")
    for wrong in (image.astype(np.float32), image[..., :2], image[:0], image[None]):
        with pytest.raises(BadInput, match="uint8"):
            save_picture(wrong, tmp_path / "fox.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadInput, match="not a plain file"):
        save_picture(image, tmp_path / "folder.png", exist_ok=True)
    assert os.listdir(tmp_path) == ["folder.png"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "fox.png"
    secret.write_text("keep")
    link.symlink_to(secret)
    with pytest.raises(BadInput, match="exists already"):
        save_picture(gradient(), link)
    save_picture(gradient(), link, exist_ok=True)
    assert secret.read_text() == "keep"
    assert not link.is_symlink()


def test_the_users_umask_holds(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save_picture(gradient(), tmp_path / "fox.png")
    finally:
        os.umask(old)
    assert (tmp_path / "fox.png").stat().st_mode & 0o777 == 0o640


def test_the_file_in_memory_equals_pillows(tmp_path: Path) -> None:
    """Nothing is added to a picture that was given no recipe."""
    save_picture(gradient(), tmp_path / "fox.png")
    with Image.open(io.BytesIO((tmp_path / "fox.png").read_bytes())) as image:
        assert image.info == {}
