import gzip
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drawn import write

from lienzo.core.errors import BadInput
from lienzo.data import idx
from lienzo.data.idx import FASHION
from lienzo.data.opening import open_data

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
LABELS = (np.arange(12) % 10).astype(np.uint8)


def idx_file(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}L", *array.shape) + array.tobytes()


def make(folder: Path, packed: bool = True) -> Path:
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    return write(
        folder,
        {
            f"train-images-idx3-ubyte{end}": pack(idx_file(IMAGES)),
            f"train-labels-idx1-ubyte{end}": pack(idx_file(LABELS)),
            f"t10k-images-idx3-ubyte{end}": pack(idx_file(IMAGES[:5] // 2)),
            f"t10k-labels-idx1-ubyte{end}": pack(idx_file(LABELS[:5])),
        },
    )


@pytest.mark.parametrize("packed", [True, False])
def test_the_customary_square_is_a_border_around_the_same_pixels(tmp_path: Path, packed: bool) -> None:
    data = open_data(str(make(tmp_path, packed)), 32)
    assert len(data) == 12
    pictures = data.images[np.array([7, 3])]
    assert pictures.shape == (2, 32, 32, 3)
    for channel in range(3):
        assert np.array_equal(pictures[:, 2:30, 2:30, channel], IMAGES[[7, 3]])
    pictures[:, 2:30, 2:30] = 0
    assert not pictures.any()
    assert data.labels.tolist() == LABELS.tolist()
    assert data.label_names == tuple("0123456789")
    assert data.names[3] == "train-03"
    assert data.problems == ()
    test = open_data(str(tmp_path), 28, split="test")
    assert np.array_equal(test.images[np.arange(5)][..., 1], IMAGES[:5] // 2)
    everything = open_data(str(tmp_path), 28, split="all")
    assert np.array_equal(everything.images[np.arange(17)][..., 0], np.concatenate([IMAGES, IMAGES[:5] // 2]))
    assert everything.labels.tolist() == [*LABELS, *LABELS[:5]]
    with pytest.raises(BadInput, match="no split 'val'; it has test, train"):
        open_data(str(tmp_path), 28, split="val")


def test_other_sizes_are_scaled(tmp_path: Path) -> None:
    write(tmp_path, {"train-images-idx3-ubyte": idx_file(np.full((2, 28, 28), 90, np.uint8))})
    for size in (16, 40, 64):
        data = open_data(str(tmp_path), size)
        assert (data.images[np.arange(2)] == 90).all()
        assert data.images[1].shape == (size, size, 3)
        assert bool(data.problems) == (size > 32)
    assert data.labels is None


@pytest.mark.parametrize("place", ["fashion-mnist", "Fashion/raw", "plain"])
def test_clothes_have_names(tmp_path: Path, place: str) -> None:
    folder = make(tmp_path / place)
    if place == "plain":
        assert open_data(str(folder), 28).label_names == tuple("0123456789")
        write(folder, {"README-fashion.md": "x"})
    assert open_data(str(folder), 28).label_names == FASHION
    with zipfile.ZipFile(tmp_path / "fashion.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"data/{path.name}")
    zipped = open_data(str(tmp_path / "fashion.zip"), 28)
    assert zipped.label_names == FASHION
    assert np.array_equal(zipped.images[np.arange(12)][..., 0], IMAGES)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("train-images-idx3-ubyte.gz", gzip.compress(idx_file(IMAGES))[:-3000], "cannot be unpacked"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx_file(IMAGES)[:-1]), "cut off: 9407 of 9408 bytes"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b broken", "cannot be unpacked"),
        ("train-images-idx3-ubyte.gz", idx_file(LABELS), "not an IDX file of bytes in 3 dimensions"),
        ("train-images-idx3-ubyte.gz", b"", "not an IDX file"),
        ("train-images-idx3-ubyte.gz", b"\0\0\x08\3" + b"\xff" * 12, "announces"),
        ("train-labels-idx1-ubyte.gz", idx_file(LABELS[:11]), "12 pictures but 11 labels"),
        ("train-images-idx3-ubyte.gz", idx_file(IMAGES[:0]), "but 12 labels"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    write(make(tmp_path), {name: content})
    with pytest.raises(BadInput, match=word):
        open_data(str(tmp_path), 32)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 5000)
    make(tmp_path)
    write(tmp_path, {"train-images-idx3-ubyte.gz": gzip.compress(idx_file(np.zeros((1000, 28, 28), np.uint8)))})
    with pytest.raises(BadInput, match="announces 784000 bytes"):
        open_data(str(tmp_path), 32)


def test_the_fingerprint_follows_the_pixels(tmp_path: Path) -> None:
    first = open_data(str(make(tmp_path, packed=False)), 32).fingerprint
    other = IMAGES.copy()
    other[3, 4, 5] ^= 1
    assert open_data(str(make(tmp_path / "b", packed=True)), 32).fingerprint == first
    write(tmp_path, {"train-images-idx3-ubyte": idx_file(other)})
    assert open_data(str(tmp_path), 32).fingerprint != first
