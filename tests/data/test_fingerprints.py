"""A fingerprint changes with anything of the data, and with nothing else."""

from __future__ import annotations

import numpy as np

from lienzo.data.fingerprints import fingerprint


def test_it_is_the_same_for_the_same_data() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    assert fingerprint(a, ["x", "y"]) == fingerprint(a.copy(), ("x", "y"))
    assert fingerprint(a[:, ::2]) == fingerprint(a[:, ::2].copy()), "how it lies in memory does not matter"
    assert len(fingerprint(a)) == 16


def test_every_change_shows() -> None:
    a = np.arange(24, dtype=np.int32)
    other = a.copy()
    other[7] += 1
    prints = [
        fingerprint(a), fingerprint(other), fingerprint(a.reshape(4, 6)), fingerprint(a.astype(np.uint32)),
        fingerprint(a, ["x"]), fingerprint(["x"], a), fingerprint(["x", "y"]), fingerprint(["xy"]),
        fingerprint(["x"], ["y"]), fingerprint(),
    ]  # fmt: skip
    assert len(set(prints)) == len(prints)
