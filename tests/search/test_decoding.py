"""Decoding ahead: in order, bounded, and over when it is closed."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hostile_folder import FreeEmbedder, encoded, png_bomb
from PIL import Image

from lienzo.core.errors import BadPicture
from lienzo.search.decoding import ahead, picture_size, read_caption, read_picture


def test_in_order_and_bounded() -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        if number == 7:
            raise BadPicture("seven")
        return number**2

    done = 0
    for job, result in ahead(work, jobs(), workers=3, window=5):
        assert job == done
        assert isinstance(result, BadPicture) if job == 7 else result == job**2
        done += 1
        assert taken <= done + 5
    assert done == 40


def test_closing_stops_the_threads() -> None:
    before = threading.active_count()
    results = ahead(lambda number: number, range(1000), workers=2, window=4)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_other_errors_are_not_hidden() -> None:
    def work(number: int) -> int:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        list(ahead(work, [1], workers=1, window=1))


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(1))
    embedder = FreeEmbedder()
    read = read_picture(str(path), embedder)
    assert read.sha256 == hashlib.sha256(encoded(1)).digest()
    assert (read.width, read.height) == (64, 48)
    np.testing.assert_array_equal(read.pixels, embedder.prepare(Image.open(path).convert("RGB")))
    known = read_picture(str(path), embedder, lambda sha256: (64, 48) if sha256 == read.sha256 else None)
    assert known.pixels is None
    assert (known.width, known.height) == (64, 48)


def test_a_large_jpeg_keeps_its_size_and_looks_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(5, "JPEG", 900))
    embedder = FreeEmbedder()
    read = read_picture(str(path), embedder)
    assert (read.width, read.height) == (1200, 900)
    assert read.pixels is not None
    exact = embedder.prepare(Image.open(path))
    assert np.abs(read.pixels.astype(int) - exact).mean() < 2


def test_sizes(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        assert picture_size(encoded(1, kind)) == (64, 48)
    assert picture_size(b"nothing") == (0, 0)
    assert picture_size(png_bomb()) == (0, 0)


def test_captions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox\n\n\x1b[31ma den\n")
    assert read_caption(str(tmp_path / "a.png")) == "a fox\n[31ma den"
    assert read_caption(str(tmp_path / "b.png")) == ""
