"""The pickle reader: nothing runs, nothing explodes, plain data comes out equal to Python's own reader."""

from __future__ import annotations

import argparse
import collections
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import contextlib

from hostile import archive, attacks

from lienzo.core.errors import BadWeights
from lienzo.weights.inert import Array, Budget, Fault, Placeholder
from lienzo.weights.pickles import load
from lienzo.weights.reading import read_weights


def read(data: bytes, budget: Budget | None = None) -> Any:
    def refuse(identifier: Any) -> Any:
        raise Fault("has a persistent id")

    return load(memoryview(data), budget=budget or Budget(), persistent=refuse, load_bytes=lambda raw: None)[0]


NAMES = sorted(attacks(Path("/nonexistent/marker")))


@pytest.mark.parametrize("name", NAMES)
def test_the_attacks_are_real_or_malformed_but_never_run_here(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = attacks(marker)[name]
    with contextlib.suppress(Fault):
        read(data)
    for index, content in enumerate(
        (
            data,
            archive({"data.pkl": data}),
            archive({"data.pkl": b"\x80\x02}.", "constants.pkl": data, "code/__torch__.py": data}),
        )
    ):
        path = tmp_path / f"{index}.pt"
        path.write_bytes(content)
        with pytest.raises(BadWeights):  # there are no tensors in them either
            read_weights(path)
    assert not marker.exists()
    assert "posix.system" not in sys.modules


def test_the_marker_would_appear_in_a_careless_reader(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(attacks(marker)["exec"])
    assert marker.exists()


def test_a_checkpoint_with_a_hostile_part_still_gives_its_weights(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Callback:
        def __reduce__(self) -> Any:
            return (exec, (f"open({str(marker)!r}, 'w')",))

    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"w": torch.arange(3.0)}, "callbacks": Callback(), "global_step": 7}, path)
    weights = read_weights(path)
    assert torch.equal(weights.tensors["w"], torch.arange(3.0))
    assert weights.extras == {"global_step": 7}
    assert not marker.exists()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_values_equal_those_of_python(value: Any, protocol: int) -> None:
    assert _bytes(read(pickle.dumps(value, protocol))) == value


def _bytes(value: Any) -> Any:
    """Long byte strings are views of the file."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list | tuple):
        return type(value)(_bytes(item) for item in value)
    if isinstance(value, dict):
        return {key: _bytes(item) for key, item in value.items()}
    return value


def test_containers_and_numpy_values() -> None:
    value = {
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, {"b": 2}),
        "set": {3},
        "frozen": frozenset({4}),
        "complex": 1 + 2j,
        "scalar": np.float32(0.5),
        "int": np.int64(-3),
        "bytes": bytearray(b"xyz"),
    }
    for protocol in (2, 4, 5):
        out = read(pickle.dumps(value, protocol))
        assert out["ordered"] == {"a": 1}
        assert out["default"] == {"b": 2}
        assert out["set"] == [3]
        assert out["frozen"] == [4]
        assert out["complex"] == 1 + 2j
        assert out["scalar"] == 0.5
        assert out["int"] == -3
        assert out["bytes"] == b"xyz"
    array = read(pickle.dumps(np.arange(6, dtype=">i2").reshape(2, 3)))
    assert isinstance(array, Array)
    assert array.dtype.kind == "i2"
    assert array.dtype.order == ">"


def test_a_foreign_object_keeps_its_name_and_state() -> None:
    out = read(pickle.dumps(argparse.Namespace(size=32)))
    assert isinstance(out, Placeholder)
    assert out.name == "argparse.Namespace"
    assert out.state == {"size": 32}


def billion_laughs() -> bytes:
    """A tuple whose hash takes 2**60 steps, used as a key."""
    return b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s."


HOSTILE = {
    "hash bomb": billion_laughs(),
    "list as key": b"\x80\x02}]K\x01s.",
    "deep marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "long integer": b"\x80\x02\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20) + b".",
    "negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "string beyond the end": b"\x80\x04\x8d" + (2**63).to_bytes(8, "little") + b".",
    "unknown instruction": b"\x80\x02\xff.",
    "next buffer": b"\x80\x05\x97.",
    "empty stack": b"\x80\x02.",
    "memo miss": b"\x80\x02h\x07.",
    "bad decimal": b"\x80\x02I12x\n.",
    "endless line": b"\x80\x02c" + b"a" * 200_000,
    "pop below the mark": b"\x80\x020.",
    "odd entries": b"\x80\x02}(K\x01u.",
    "append to a tuple": b"\x80\x02)K\x01a.",
    "overflow": b"\x80\x02cbuiltins\ncomplex\n\x8a\xff" + b"\x7f" * 255 + b"\x85R.",
    "wrong arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "class without a name": b"\x80\x04K\x01K\x02\x93.",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_broken_or_greedy_pickles_are_faults_at_once(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(Fault):
        read(HOSTILE[name])
    assert time.perf_counter() - start < 2


def test_the_number_of_instructions_is_limited() -> None:
    with pytest.raises(Fault, match="more work"):
        read(b"\x80\x02" + b"N0" * 1000 + b".", Budget(operations=1000))


def test_copies_of_one_large_list_are_charged() -> None:
    body = b"(" + b"K\x01" * 2000 + b"lq\x00" + b"cbuiltins\nset\nq\x01" + b"h\x01h\x00\x85R" * 5000 + b"."
    with pytest.raises(Fault, match="more work"):
        read(b"\x80\x02" + body)


def test_deeply_nested_values_are_freed_without_a_crash() -> None:
    value = read(b"\x80\x02)" + b"\x85" * 1_000_000 + b".")
    del value


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_values_or_faults(data: bytes) -> None:
    with contextlib.suppress(Fault):
        read(b"\x80\x04" + data)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_checkpoints_are_values_or_faults(data: st.DataObject) -> None:
    raw = bytearray(pickle.dumps({"a": [1, (2.0, "x")], "n": np.float32(1), "m": np.ones(3), "s": {5}}, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Fault):
        load(memoryview(raw), budget=Budget(), persistent=lambda identifier: None, load_bytes=lambda raw: None)
