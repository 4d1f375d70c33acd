"""Reading weight files: real ones of every format equal torch's own reader, broken ones are one clear sentence."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from hostile import archive

from lienzo.core.errors import BadWeights
from lienzo.weights import archives
from lienzo.weights.reading import read_metadata, read_weights


def state() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "bf16": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "fp16": torch.linspace(-2, 2, 7).half(),
        "int64": torch.tensor([2**40, -1]),
        "bool": torch.tensor([True, False, True]),
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
        "complex": torch.tensor([1 + 2j]),
        "transposed": base.t(),
        "slice": base[1:3, ::2],
        "shared": base.view(-1)[3:9],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": nn.Parameter(torch.ones(2, 2)),
    }


def assert_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype, name
        assert torch.equal(actual[name], tensor.detach()), name
        assert not actual[name].requires_grad


@pytest.mark.parametrize("new", [True, False])
def test_torch_save_round_trip(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "m.pt"
    torch.save({"state_dict": state(), "epoch": 3}, path, _use_new_zipfile_serialization=new)
    weights = read_weights(path)
    assert weights.format == ("torch-zip" if new else "torch-legacy")
    assert weights.inner == "state_dict"
    assert weights.extras == {"epoch": 3}
    assert_equal(weights.tensors, state())
    assert weights.tensors["shared"].untyped_storage().data_ptr() == (
        weights.tensors["transposed"].untyped_storage().data_ptr()
    )


def test_writing_into_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"w": torch.ones(1000)}, path)
    before = path.read_bytes()
    read_weights(path).tensors["w"].zero_()
    assert path.read_bytes() == before


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x) * self.scale * torch.tensor([1.0, 2.0])


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = Inner()
        self.blocks = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        self.register_buffer("size", torch.tensor(224))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.visual(x)) + self.size


def test_torchscript_gives_the_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    torch.manual_seed(0)
    module = Outer().half()
    torch.jit.save(torch.jit.script(module), path)
    weights = read_weights(path)
    assert weights.format == "torchscript"
    assert set(weights.tensors) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert torch.equal(weights.tensors[name], tensor), name


def test_torchscript_code_and_constants_are_not_opened(tmp_path: Path) -> None:
    source, path = io.BytesIO(), tmp_path / "clip.pt"
    torch.jit.save(torch.jit.script(Outer()), source)
    with zipfile.ZipFile(source) as original, zipfile.ZipFile(path, "w") as changed:
        for entry in original.infolist():
            data = original.read(entry)
            spoilt = b"\xff spoilt" if "/code/" in entry.filename or "constants.pkl" in entry.filename else data
            changed.writestr(entry.filename, spoilt)
    assert "visual.proj.weight" in read_weights(path).tensors


@pytest.mark.parametrize("new", [True, False])
def test_a_pickled_module_gives_its_state_dict(tmp_path: Path, new: bool) -> None:
    module, path = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), tmp_path / "m.pt"
    module.register_buffer("scratch", torch.ones(1), persistent=False)
    torch.save(module, path, _use_new_zipfile_serialization=new)
    assert {k: v.shape for k, v in read_weights(path).tensors.items()} == {
        k: v.shape for k, v in module.state_dict().items()
    }


def test_a_bare_pickle_of_tensors_and_arrays(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    tensors = {"a": torch.randn(300), "n": np.arange(6, dtype=">f8").reshape(2, 3, order="F"), "m": torch.ones(2)}
    path.write_bytes(pickle.dumps({"G": {"x": torch.ones(9)}, "G_ema": tensors}))
    weights = read_weights(path)
    assert weights.format == "pickle"
    assert weights.inner == "G_ema"
    assert torch.equal(weights.tensors["a"], tensors["a"])
    assert weights.tensors["n"].tolist() == tensors["n"].tolist()


def test_safetensors_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    expected = {name: tensor.detach().contiguous().clone() for name, tensor in sorted(state().items())}
    path.write_bytes(save_safetensors(expected, {"note": "hola"}))
    weights = read_weights(path)
    assert (weights.format, weights.metadata) == ("safetensors", {"note": "hola"})
    assert {k: v.tolist() for k, v in weights.tensors.items()} == {k: v.tolist() for k, v in expected.items()}
    assert read_metadata(path) == {"note": "hola"}


def save(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def test_which_part_is_taken(tmp_path: Path) -> None:
    small, large = {"w": torch.zeros(2)}, {"w": torch.ones(40), "b": torch.ones(2)}
    assert read_weights(save(tmp_path / "1", {"g": small, "d": large})).inner == "d"
    averaged = {"params": large, "params_ema": {k: v * 2 for k, v in large.items()}}
    assert read_weights(save(tmp_path / "2", averaged)).inner == "params_ema"
    assert read_weights(save(tmp_path / "2", averaged), inner="params").tensors["w"][0] == 1
    assert read_weights(save(tmp_path / "3", {"ema": small, "model": large})).inner == "model"
    assert read_weights(save(tmp_path / "4", {"schema": large, "other": small})).inner == "schema"
    deep = {"nets": {"generator": small, "critic": large}}
    assert read_weights(save(tmp_path / "5", deep), inner="generator").inner == "nets.generator"
    with pytest.raises(BadWeights, match=r"'nets\.generator', 'nets\.critic'"):
        read_weights(save(tmp_path / "6", deep), inner="decoder")


def test_optimizers_are_not_weights_and_wrappers_are_removed(tmp_path: Path) -> None:
    module = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    named = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    saved = {"model": named, "optimizer": optimizer.state_dict(), "other": optimizer.state_dict(), "epoch": 1}
    weights = read_weights(save(tmp_path / "m.pt", saved))
    assert set(weights.tensors) == {"weight", "bias"}
    assert weights.extras["epoch"] == 1


def test_settings_beside_the_weights_become_plain_values(tmp_path: Path) -> None:
    saved = {
        "state_dict": {"w": torch.ones(1)},
        "args": argparse.Namespace(size=32, name="x", net=nn.Linear(1, 1)),
        "hyper_parameters": {"lr": 0.1, "betas": (0.9, 0.99), "bad": float("nan")},
        "nothing": None,
    }
    extras = read_weights(save(tmp_path / "m.ckpt", saved)).extras
    assert extras["args"] == {"size": 32, "name": "x"}
    assert extras["hyper_parameters"] == {"lr": 0.1, "betas": [0.9, 0.99], "bad": "nan"}
    assert extras["nothing"] is None
    json.dumps(extras, allow_nan=False)


# -- files that are not what they should be -------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(BadWeights) as caught:
        read_weights(path)
    text = str(caught.value)
    assert text.startswith("The weight file '")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def real_files(folder: Path) -> dict[str, Path]:
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in state().items()}
    paths = {kind: folder / f"{kind}.bin" for kind in ("zip", "legacy", "safetensors", "script", "pickle")}
    torch.save(tensors, paths["zip"])
    torch.save(tensors, paths["legacy"], _use_new_zipfile_serialization=False)
    paths["safetensors"].write_bytes(save_safetensors(tensors))
    torch.jit.save(torch.jit.script(Outer()), paths["script"])
    paths["pickle"].write_bytes(pickle.dumps({"a": torch.ones(50), "b": np.ones(100)}))
    return paths


def test_truncated_files(tmp_path: Path) -> None:
    for kind, path in real_files(tmp_path).items():
        data = path.read_bytes()
        read_weights(path)
        for part in range(20):
            cut = tmp_path / "cut.pt"
            cut.write_bytes(data[: len(data) * part // 20])
            assert not refused(cut).endswith("' is broken."), (kind, part)  # that is the sentence of last resort
        cut.write_bytes(data[:-1])
        assert not refused(cut).endswith("' is broken."), kind


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "script", "pickle"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_files_with_changed_bytes(kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = bytearray(_sample(kind, tmp_path_factory))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.bin"
    path.write_bytes(raw)
    try:
        for tensor in read_weights(path).tensors.values():
            tensor.clone()
    except BadWeights:
        return


_SAMPLES: dict[str, bytes] = {}


def _sample(kind: str, factory: pytest.TempPathFactory) -> bytes:
    if not _SAMPLES:
        _SAMPLES.update({name: path.read_bytes() for name, path in real_files(factory.mktemp("real")).items()})
    return _SAMPLES[kind]


def header_file(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(begin: int, end: int, shape: Any = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


BAD_HEADERS = {
    "length beyond the file": (header_file({"a": entry(0, 4)}, b"1234", length=10_000), "cut off"),
    "huge length": (header_file({}, length=2**63), "states a header"),
    "over 100 MB": (header_file({}, length=100_000_001), "states a header"),
    "not JSON": (header_file(b"{nonsense}"), "not JSON"),
    "a list": (header_file(b"{" * 5000 + b"}"), "not JSON"),
    "deep JSON": (header_file(b'{"a":' + b"[" * 100_000), "not JSON"),
    "a name twice": (header_file(b'{"a":{},"a":{}}'), "not JSON"),
    "NaN": (header_file(b'{"a":NaN}'), "not JSON"),
    "overlap": (header_file({"a": entry(0, 8), "b": entry(4, 12)}, b"0" * 12), "overlaps"),
    "same place": (header_file({"a": entry(0, 4), "b": entry(0, 4)}, b"0" * 4), "overlaps"),
    "gap": (header_file({"a": entry(0, 4), "b": entry(8, 12)}, b"0" * 12), "gap"),
    "beyond the end": (header_file({"a": entry(0, 8)}, b"0" * 4), "cut off"),
    "bytes left over": (header_file({"a": entry(0, 4)}, b"0" * 8), "belong to no tensor"),
    "negative size": (header_file({"a": entry(0, 4, [-1])}, b"0" * 4), "negative"),
    "two negative sizes": (header_file({"a": entry(0, 4, [-1, -1])}, b"0" * 4), "negative"),
    "negative place": (header_file({"a": entry(-4, 0)}, b""), "does not fit"),
    "backwards": (header_file({"a": entry(8, 4, [1])}, b"0" * 8), "does not fit"),
    "wrong shape": (header_file({"a": entry(0, 4, [2])}, b"0" * 4), "does not fit"),
    "overflowing shape": (header_file({"a": entry(0, 0, [2**40, 2**40, 0])}), "absurd"),
    "many dimensions": (header_file({"a": entry(0, 4, [1] * 1000)}, b"0" * 4), "shape"),
    "bool as size": (header_file({"a": entry(0, 4, [True])}, b"0" * 4), "negative or absurd"),
    "float as size": (header_file({"a": entry(0, 4, [1.0])}, b"0" * 4), "negative or absurd"),
    "unknown type": (header_file({"a": entry(0, 4, dtype="Q9")}, b"0" * 4), "number type 'Q9'"),
    "entry is text": (header_file({"a": "x"}), "not a table"),
    "metadata is a list": (header_file({"__metadata__": []}), "metadata"),
    "metadata holds numbers": (header_file({"__metadata__": {"a": 1}}), "metadata"),
    "no offsets": (header_file({"a": {"dtype": "F32", "shape": [1]}}, b"0" * 4), "place"),
}


@pytest.mark.parametrize("name", sorted(BAD_HEADERS))
def test_bad_safetensors_headers(name: str, tmp_path: Path) -> None:
    data, word = BAD_HEADERS[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    assert word in refused(path)


ODD = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=3) | st.floats()
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BOOL", "I64", "BF16", "F4"]) | ODD,
        "shape": st.lists(st.integers(-1, 5) | ODD, max_size=4) | ODD,
        "data_offsets": st.lists(st.integers(-4, 40) | ODD, max_size=3) | ODD,
    },
)


@settings(max_examples=300, deadline=None)
@given(header=st.dictionaries(st.text(max_size=4), ENTRY | ODD, max_size=3), body=st.binary(max_size=40))
def test_fuzzed_safetensors_headers(
    header: dict[str, Any], body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(header_file(header, body))
    try:
        tensors = read_weights(path).tensors
    except BadWeights:
        return
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) == len(body)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    for data, word in [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "does not read"),
        (b"hello world", "not a weight file"),
        (archive({"other": b"1"}), "no single data.pkl"),
    ]:
        path.write_bytes(data)
        assert word in refused(path)
    assert "does not exist" in refused(tmp_path / "absent.pt")
    assert "folder" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "plain file" in refused(tmp_path / "pipe")
    assert "cannot be opened" in refused(Path("a\0b"))
    assert "\x1b" not in refused(tmp_path / "\x1b[2Jx")


def view_pickle(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 4) -> bytes:
    """The data.pkl of one float32 tensor over storage '0'."""

    class Id(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if value == "the storage" else None

    class Tensor:
        def __reduce__(self) -> Any:
            return (torch._utils._rebuild_tensor_v2, ("the storage", offset, size, stride, False, {}))

    file = io.BytesIO()
    Id(file, 2).dump({"w": Tensor()})
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count", "word"),
    [
        ((5,), (1,), 0, 4, "beyond"),
        ((4,), (1,), 1, 4, "beyond"),
        ((2, 2), (2**47, 1), 0, 4, "beyond"),
        ((4,), (-1,), 3, 4, "negative"),
        ((-4,), (1,), 0, 4, "negative"),
        ((4,), (1,), -1, 4, "before"),
        ((4,), (1, 1), 0, 4, "strides"),
        ((2**30, 2**20), (0, 0), 0, 4, "unfold"),
        ((2**47, 2**47, 0), (0, 0, 0), 0, 4, "absurd"),
        ((4,), (1,), 0, 5, "cut off"),
        ((4,), (1,), 0, -1, "makes no sense"),
    ],
)
def test_views_are_checked(size: Any, stride: Any, offset: int, count: int, word: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(archive({"data.pkl": view_pickle((4,), (1,)), "data/0": bytes(16)}))
    assert read_weights(path).tensors["w"].shape == (4,)
    path.write_bytes(archive({"data.pkl": view_pickle(size, stride, offset, count), "data/0": bytes(16)}))
    assert word in refused(path)


def test_bytes_that_are_no_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(header_file({"a": entry(0, 4, [4], "BOOL")}, b"\x00\x01\x02\xff"))
    found = read_weights(path).tensors["a"]
    assert found.tolist() == [False, True, True, True]
    assert found.sum() == 3


def test_archive_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", b"\x80\x02}" + b"N0" * (16 << 20))
    assert "bomb" in refused(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", view_pickle((4,), (1,)))
        made.writestr("a/data/0", bytes(16))
    assert read_weights(path).tensors["w"].sum() == 0
    raw = bytearray(path.read_bytes())
    raw[-22 + 10 : -22 + 12] = b"\xff\xff"
    path.write_bytes(raw)
    assert "table of contents" in refused(path)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    path.write_bytes(archive({"data.pkl": view_pickle((4,), (1,)), "data/0": bytes(16)}))
    assert "entries" in refused(path)


def test_archives_that_contradict_themselves(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    good = archive({"data.pkl": view_pickle((4,), (1,)), "data/0": bytes(16)})
    central = good.index(b"PK\x01\x02")
    second = good.index(b"PK\x01\x02", central + 4)
    overlapping = bytearray(good)
    overlapping[second + 42 : second + 46] = good[central + 42 : central + 46]
    encrypted = bytearray(good)
    encrypted[central + 8] |= 1
    longer = bytearray(good)
    longer[central + 24 : central + 28] = struct.pack("<L", 10**6)
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", view_pickle((4,), (1,)))
    shorter = bytearray(lying.getvalue())
    at = shorter.index(b"PK\x01\x02")
    shorter[at + 24 : at + 28] = struct.pack("<L", 5)
    broken = lying.getvalue().replace(zlib.compress(view_pickle((4,), (1,)))[2:12], b"\xff" * 10)
    for name, data in {"overlap": overlapping, "encrypted": encrypted, "longer": longer, "shorter": shorter}.items():
        path.write_bytes(data)
        assert refused(path), name
    path.write_bytes(broken)
    refused(path)
    double = io.BytesIO()
    with zipfile.ZipFile(double, "w") as made:
        made.writestr("a/data.pkl", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a/data.pkl", b"2")
    path.write_bytes(double.getvalue())
    assert "two parts of one name" in refused(path)


def test_a_checkpoint_that_refers_to_itself(tmp_path: Path) -> None:
    cyclic: dict[str, Any] = {"w": torch.ones(1)}
    cyclic["self"] = cyclic
    assert "itself" in refused(save(tmp_path / "c.pt", cyclic))
    laughs: Any = {"w": torch.ones(1)}
    for _ in range(60):
        laughs = {"a": laughs, "b": laughs}
    assert "itself" in refused(save(tmp_path / "l.pt", laughs))


def test_saved_files_nested_in_saved_files(tmp_path: Path) -> None:
    inner = pickle.dumps({"x": 1})
    for _ in range(5):
        inner = b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little") + inner + b"\x85R."
    path = tmp_path / "m.pkl"
    path.write_bytes(inner)
    assert "nested" in refused(path)
