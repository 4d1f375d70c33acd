"""A folder of pictures of which some are hostile, and how an index takes it.

    python benchmarks/hostile_folder.py --pictures 20000 --share 0.05

makes the folder, indexes it twice with an embedder that costs nothing, and prints pictures a second, peak memory,
and whether exactly the good ones are in the index. Exit code 1 when they are not. It takes about 3 minutes and
500 MB of disk for 20,000.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from lienzo.core.events import Note
from lienzo.search.catalogue import Catalogue
from lienzo.search.indexing import index_folders


class FreeEmbedder:
    """An embedder that costs nothing: unit vectors from a fixed random projection of the pixels."""

    tag = "free"
    former: tuple[str, ...] = ()
    dim = 32
    size = 16

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = rng.standard_normal((self.size**2 * 3, self.dim), np.float32)
        self.seen = 0

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """uint8 (size, size, 3)."""
        return np.asarray(picture.resize((self.size, self.size), Image.Resampling.BICUBIC))

    def pictures(self, batch: np.ndarray) -> np.ndarray:
        """float32 unit vectors (B, D)."""
        self.seen += len(batch)
        vectors = (batch.reshape(len(batch), -1).astype(np.float32) / 255 - 0.5) @ self.weights + 1e-3
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """The same for texts, by their length only."""
        vectors = np.stack([self.weights[len(text)] for text in texts])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def picture(number: int, side: int = 48) -> Image.Image:
    """A smooth picture that is different for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(pixels).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)


def encoded(number: int, kind: str = "PNG", side: int = 48) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    picture(number, side).save(buffer, kind)
    return buffer.getvalue()


@cache
def png_bomb() -> bytes:
    """A PNG of 60000 x 60000 white pixels in a few kilobytes, cut off, for who begins to decode has lost already."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(10**6)))]
    data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + data


@cache
def zip_bomb() -> bytes:
    """An archive of 20 MB of zeros in 20 KB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20_000_000))
    return buffer.getvalue()


@cache
def text_bomb() -> bytes:
    """A PNG with 5 MB of text that unpacks to 5 GB."""
    body = b"Comment\0\0" + zlib.compress(bytes(10_000_000))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    plain = encoded(3)
    return plain[:33] + chunk * (5_000_000 // len(chunk)) + plain[33:]


BAD: dict[str, Callable[[int], bytes]] = {
    "cut off.jpg": lambda n: encoded(n, "JPEG", 200)[:900],
    "cut off.png": lambda n: encoded(n)[:300],
    "bomb.png": lambda n: png_bomb(),
    "text.jpg": lambda n: b"This is no picture. " * (n + 1),
    "empty.png": lambda n: b"",
    "zip.png": lambda n: zip_bomb(),
    "text bomb.png": lambda n: text_bomb(),
    "noise.webp": lambda n: np.random.default_rng(n).bytes(500),
    "page.gif": lambda n: b"<html><script>alert(1)</script></html>",
    "head only.tif": lambda n: b"II*\0\xff\xff\xff\xff",
    "giant.bmp": lambda n: b"BM" + struct.pack("<IHHIIiiHH", 70, 0, 0, 54, 40, 2**30, 2**30, 1, 24) + bytes(40),
}
"""Files that look like pictures and are not, by ending of their names."""


def _animation(number: int) -> bytes:
    buffer = io.BytesIO()
    frames = [picture(number + n).convert("P") for n in range(3)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


ODD: dict[str, Callable[[int], bytes]] = {
    "really a jpeg.png": lambda n: encoded(n, "JPEG"),
    "no suffix": lambda n: encoded(n),
    "called a text.txt": lambda n: encoded(n, "WEBP"),
    "animated.gif": _animation,
    "cmyk.jpg": lambda n: _saved(picture(n).convert("CMYK"), "JPEG"),
    "sixteen bits.png": lambda n: _saved(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "PNG"),
    "alpha.png": lambda n: _saved(picture(n).convert("RGBA"), "PNG"),
    "two\nlines.png": encoded,
    "\x1b[31mred.png": encoded,
    "🦊 лиса.png": encoded,
    " leading and trailing .png": encoded,
    "-rf.png": encoded,
    "one pixel.png": lambda n: _saved(Image.new("RGB", (1, 1)), "PNG"),
    "%s 'quoted\"; DROP TABLE items.png": encoded,
}
"""Good pictures that are odd, by ending of their names."""


def make_folder(folder: Path, pictures: int, share: float = 0.05, side: int = 48) -> tuple[set[bytes], set[bytes]]:
    """Fill a folder with plain pictures, odd ones, hostile files and traps (links, pipes, folders called x.png).

    Args:
        folder: where; it is made.
        pictures: how many files.
        share: part of them that is hostile.
        side: height of the plain pictures in pixels.

    Returns:
        Paths (bytes) of all that must be in the index, and of all that must be reported as broken.
    """
    good: set[bytes] = set()
    bad: set[bytes] = set()

    def put(name: str | bytes, content: bytes, kind: set[bytes]) -> None:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with suppress(OSError, ValueError), open(path, "wb") as file:  # some systems refuse some names
            file.write(content)
            kind.add(path)

    hostile = max(len(BAD), round(pictures * share))
    for number in range(hostile):
        name, make = list(BAD.items())[number % len(BAD)]
        if name == "text bomb.png" and number > 20 * len(BAD):  # some are enough: they are large
            name, make = "text.jpg", BAD["text.jpg"]
        put(f"bad/{number // 500}/{number} {name}", make(number), bad)
    for number, (name, make) in enumerate(ODD.items()):
        put(f"odd {number % 3}/{name}", make(pictures + number), good)
    put(b"odd 1/not \xff\xfe utf8.png", encoded(pictures + 100), good)
    for number in range(pictures - hostile - len(ODD) - 1):
        kind, suffix = (("JPEG", "jpg"), ("PNG", "png"))[number % 2]
        put(f"plain/{number // 500}/{number}.{suffix}", encoded(number, kind, side), good)
    _set_traps(folder)
    return good, bad


def _set_traps(folder: Path) -> None:
    (folder / "traps" / "folder.png").mkdir(parents=True)
    (folder / "traps" / ".hidden").mkdir()
    (folder / "traps" / ".hidden" / "a.png").write_bytes(encoded(1))
    (folder / "traps" / "ordinary text.txt").write_text("nothing to see")
    with suppress(OSError, AttributeError):
        os.mkfifo(folder / "traps" / "pipe.png")
    links = {"up": "..", "to itself": ".", "circle.png": "circle.png", "nowhere.png": "nothing", "root": "/"}
    for name, target in links.items():
        with suppress(OSError):
            (folder / "traps" / name).symlink_to(target)


def main() -> int:
    """Make, index twice, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--side", type=int, default=240)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(os.path.realpath(place)) / "pictures"
        good, bad = make_folder(folder, given.pictures, given.share, given.side)
        with Catalogue.open(Path(place) / "index", create=True) as catalogue:
            embedder = FreeEmbedder()
            for name in ("first run", "second run"):
                begun, used = time.perf_counter(), time.process_time()
                notes = [e.text for e in index_folders(catalogue, embedder, [folder]) if isinstance(e, Note)]
                wall = time.perf_counter() - begun
                used = time.process_time() - used
                print(f"{name}: {wall:.1f} s, {given.pictures / wall:.0f} files/s, {used:.1f} s CPU")
                print(f"  {notes[-1]}")
            found = {os.fsencode(item.path) for item in catalogue.items(catalogue.ids())}
            refused = {os.fsencode(file.path) for file in catalogue.broken()}
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"in the index {len(found)} of {len(good)} good; reported {len(refused)} of {len(bad)} broken")
    return int((found, refused) != (good, bad))


if __name__ == "__main__":
    sys.exit(main())
