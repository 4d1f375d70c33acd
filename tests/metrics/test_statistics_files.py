"""The .npz files of other programs are read, and hostile ones get one sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Statistics, fid, statistics
from lienzo.metrics.statistics_files import read_features, read_pictures, read_statistics, write_statistics

MU, SIGMA = np.arange(3.0), np.diag([1.0, 2.0, 3.0])


def test_files_of_pytorch_fid_and_clean_fid(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mu=MU, sigma=SIGMA)
    np.savez_compressed(tmp_path / "b.npz", mu=MU.astype(">f4"), sigma=np.asfortranarray(SIGMA))
    for name in ("a.npz", "b.npz"):
        found = read_statistics(tmp_path / name)
        assert found.mu.dtype == found.sigma.dtype == np.float64
        np.testing.assert_array_equal(found.mu, MU)
        np.testing.assert_array_equal(found.sigma, SIGMA)
        assert found.n is None
        assert found.made == {}


def test_files_of_guided_diffusion(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "ref.npz", arr_0=pictures, mu=MU, sigma=SIGMA, mu_s=MU + 1, sigma_s=SIGMA * 2)
    np.testing.assert_array_equal(read_statistics(tmp_path / "ref.npz", spatial=True).mu, MU + 1)
    batches = list(read_pictures(tmp_path / "ref.npz", batch=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(batches), pictures)


def test_features_of_clean_fid(tmp_path: Path) -> None:
    feats = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    np.savez(tmp_path / "x_kid.npz", feats=feats)
    rows = read_features(tmp_path / "x_kid.npz")
    assert rows.dtype is torch.float32
    np.testing.assert_array_equal(rows.numpy(), feats)


def test_ours_come_back_and_numpy_reads_them(tmp_path: Path) -> None:
    rows = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    made = {"net": "judge", "sha": "01234567"}
    written = statistics(FeatureSet(rows, made=made))
    write_statistics(tmp_path / "s.npz", written)
    read = read_statistics(tmp_path / "s.npz")
    assert read.n == 40
    assert read.made == made
    assert fid(read, rows) < 1e-10
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["mu"][:], written.mu)
        np.testing.assert_array_equal(file["sigma"][:], written.sigma)
    with pytest.raises(BadInput, match="not symmetric"):
        write_statistics(tmp_path / "t.npz", Statistics(MU, SIGMA + np.triu(SIGMA[::-1])))
    assert not (tmp_path / "t.npz").exists()


def npz(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def header(shape: str, descr: str = "'<f8'", data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


GOOD = npy(SIGMA)
HOSTILE = {
    "nothing": b"",
    "not a zip": b"mu sigma" * 50,
    "cut off": npz(mu=npy(MU), sigma=GOOD)[:-40],
    "no sigma": npz(mu=npy(MU)),
    "no array": npz(mu=b"hello", sigma=GOOD),
    "pickle": npz(mu=npy(np.array([print, None], dtype=object)), sigma=GOOD),
    "structured": npz(mu=header("(3,)", "[('a', 'O')]", bytes(24)), sigma=GOOD),
    "integers": npz(mu=npy(np.arange(3)), sigma=GOOD),
    "text": npz(mu=npy(np.array(["a", "b", "c"])), sigma=GOOD),
    "NaN": npz(mu=npy(MU * np.nan), sigma=GOOD),
    "unequal": npz(mu=npy(np.arange(4.0)), sigma=GOOD),
    "not square": npz(mu=npy(MU), sigma=npy(np.ones((3, 4)))),
    "empty": npz(mu=npy(np.zeros(0)), sigma=npy(np.zeros((0, 0)))),
    "scalar": npz(mu=npy(np.float64(1)), sigma=GOOD),
    "says more than it holds": npz(mu=header("(1000000000000,)"), sigma=GOOD),
    "says less": npz(mu=header("(1,)", data=bytes(80)), sigma=GOOD),
    "negative": npz(mu=header("(-3,)", data=bytes(24)), sigma=GOOD),
    "too large": npz(mu=header("(10000,)", data=bytes(80000)), sigma=GOOD),
    "header is code": npz(mu=header("__import__('os')"), sigma=GOOD),
    "strange protocol": npz(mu=npy(MU), sigma=GOOD, protocol=npy(np.array("fid[[["))),
    "protocol of bytes": npz(mu=npy(MU), sigma=GOOD, protocol=npy(np.arange(3.0))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "stats.npz"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(BadInput) as caught:
        read_statistics(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_places_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'none\.npz' does not exist"):
        read_statistics(tmp_path / "none.npz")
    with pytest.raises(BadInput, match="not a plain file"):
        read_features(tmp_path)


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((2, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros((2, 4, 4, 3)),
        np.zeros((2, 0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_no_pictures(tmp_path: Path, pictures: np.ndarray) -> None:
    np.savez(tmp_path / "p.npz", arr_0=pictures)
    with pytest.raises(BadInput, match="not 8-bit pictures"):
        next(read_pictures(tmp_path / "p.npz"))


def test_a_picture_file_damaged_inside(tmp_path: Path) -> None:
    whole = npz(arr_0=npy(np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    (tmp_path / "p.npz").write_bytes(damaged)
    with pytest.raises(BadInput, match=r"cannot be read|is broken"):
        list(read_pictures(tmp_path / "p.npz"))
