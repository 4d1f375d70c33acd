"""Self-describing model files, recognition of foreign ones, and the store."""

from __future__ import annotations

import json
import resource
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.tables import Names
from lienzo.weights import detection, models, places, store
from lienzo.weights.models import Card, load_model, read_card, save_model
from lienzo.weights.reading import read_weights

CARD = Card(title="Tiny", licence="Apache-2.0", training_data=[{"name": "none", "licence": "CC0-1.0"}])


class Tiny(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.config = {"width": width}
        self.first = nn.Linear(width, 2)
        self.tied = nn.Linear(width, 2)
        self.tied.weight = self.first.weight


def detect(state: Mapping[str, Tensor]) -> bool:
    return "first.weight" in state


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> nn.Module:
    network = Tiny(**(config or {}))
    network.load_state_dict(dict(state))
    return network


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tiny_network")
    module.detect, module.load = detect, load  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="tiny_network")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "tiny_network", module)
    rows = {"absent": "lienzo.no_such_room.file", "tiny": "tiny_network"}
    monkeypatch.setattr(models, "NETWORKS", Names("network", rows))
    monkeypatch.setattr(detection, "FORMATS", Names("weight format", rows))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tiny.safetensors"
    network = Tiny()
    save_model(made, "tiny", network.config, network.state_dict(), CARD)
    return made


def test_save_and_load(path: Path) -> None:
    torch.manual_seed(1)
    network = Tiny(5)
    save_model(path, "tiny", network.config, network.state_dict(), CARD)
    loaded = load_model(path)
    assert loaded.config == {"width": 5}
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    card = read_card(path)
    assert card.title == "Tiny"
    assert card.training_data[0].licence == "CC0-1.0"
    assert card.made_with.startswith("Lienzo ")
    assert store.verify(path)


def test_the_same_model_gives_the_same_file(path: Path) -> None:
    state = load_model(path).state_dict()
    before = path.read_bytes()
    save_model(path, "tiny", {"width": 3}, dict(reversed(state.items())), CARD)
    assert path.read_bytes() == before


def test_half_precision_keeps_what_it_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    state = {"a": torch.tensor([0.1]), "large": torch.tensor([1e9]), "count": torch.tensor([3])}
    save_model(path, "tiny", {}, state, CARD, half=True)
    types_ = {name: tensor.dtype for name, tensor in read_weights(path).tensors.items()}
    assert types_ == {"a": torch.float16, "large": torch.float32, "count": torch.int64}
    assert store.verify(path)


def test_a_half_precision_model_loads_in_float32(path: Path) -> None:
    save_model(path, "tiny", {"width": 3}, Tiny().state_dict(), CARD, half=True)
    assert all(p.dtype is torch.float32 for p in load_model(path).parameters())


def test_verify_sees_a_changed_number_or_configuration(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert not store.verify(path)
    data[-1] ^= 1
    path.write_bytes(data.replace(b'\\"width\\": 3', b'\\"width\\": 4'))
    assert not store.verify(path)


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    """A real limit on file size: the system refuses the write half-way."""
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(BadInput, match=r"'tiny\.safetensors' cannot be written: File too large"):
            save_model(path, "tiny", {}, {"a": torch.ones(99)}, CARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ("{nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "broken description"),
        ({"version": 2}, "newer Lienzo"),
        ({"version": True}, "broken description"),
        ({"version": 1}, "what network"),
        ({"version": 1, "network": "tiny", "config": []}, "what network"),
        ({"version": 1, "network": "tiny", "config": {}, "card": 3}, "broken card"),
        ({"version": 1, "network": "tiny", "config": {}, "card": {"title": "x"}}, "broken card"),
        ({"version": 1, "network": "os:system", "config": {}, "card": CARD.model_dump()}, "lacks"),
        ({"version": 1, "network": "tiny", "config": {"width": 7}, "card": CARD.model_dump()}, "does not fit"),
        ({"version": 1, "network": "tiny", "config": {"exec": 7}, "card": CARD.model_dump()}, "does not fit"),
    ],
)
def test_broken_descriptions(path: Path, record: Any, word: str) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    save_file(Tiny().state_dict() | {"tied.weight": torch.ones(2, 3)}, path, metadata={"lienzo": text})
    with pytest.raises(BadWeights, match=word):
        load_model(path)


def test_what_cannot_be_saved(tmp_path: Path, path: Path) -> None:
    with pytest.raises(BadInput, match="safetensors"):
        save_model(tmp_path / "m.pt", "tiny", {}, {}, CARD)
    with pytest.raises(BadInput, match="did you mean 'tiny'"):
        save_model(tmp_path / "m.safetensors", "tinny", {}, {}, CARD)
    with pytest.raises(BadInput, match="exists already"):
        save_model(path, "tiny", {}, {}, CARD, exist_ok=False)
    with pytest.raises(BadInput, match="licence"):
        save_model(tmp_path / "m.safetensors", "tiny", {}, {}, {"title": "x"})


def test_a_foreign_file_is_recognised_and_absent_rooms_do_not_matter(tmp_path: Path) -> None:
    network, path = Tiny(), tmp_path / "m.pt"
    torch.save({"state_dict": network.state_dict()}, path)
    assert torch.equal(load_model(path).state_dict()["first.weight"], network.first.weight)
    torch.save({"x\x1b[2J": torch.ones(1)}, path)
    with pytest.raises(BadWeights, match="no network that Lienzo knows") as caught:
        load_model(path)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(BadWeights, match="no safetensors file"):
        read_card(path)


def test_every_network_of_the_real_tables_has_load_and_detect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from importlib import import_module

    for address in {*models.NETWORKS.values(), *detection.FORMATS.values()}:
        assert callable(import_module(address).load), address
        assert callable(import_module(address).detect), address


# -- the store ------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    bundled, mine = tmp_path / "bundled", tmp_path / "home" / "models"
    bundled.mkdir()
    mine.mkdir(parents=True)
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(places, "BUNDLED", bundled)
    return bundled, mine


def put(path: Path) -> Path:
    network = Tiny()
    save_model(path, "tiny", network.config, network.state_dict(), CARD)
    return path


def test_names_and_paths(folders: tuple[Path, Path], tmp_path: Path) -> None:
    bundled, mine = folders
    painter = put(bundled / "painter.safetensors")
    assert store.resolve("painter") == painter
    own = put(mine / "painter.safetensors")
    assert store.resolve("painter") == own
    assert store.resolve(str(painter)) == painter
    with pytest.raises(BadInput, match="did you mean 'painter'"):
        store.resolve("paintr")
    with pytest.raises(BadInput, match="there are painter"):
        store.resolve("zzz")
    for bad in ("../bundled/painter", "painter.pt", str(tmp_path), "a/b", ""):
        with pytest.raises(BadInput):
            store.resolve(bad)


def test_listing_survives_broken_files(folders: tuple[Path, Path]) -> None:
    bundled, mine = folders
    put(bundled / "painter.safetensors")
    (mine / "broken.safetensors").write_bytes(b"1234")
    (mine / "foreign.ckpt").write_bytes(b"1234")
    (mine / "notes.txt").write_bytes(b"1234")
    found = {model.name: model for model in store.list_models()}
    assert set(found) == {"painter", "broken", "foreign"}
    assert found["painter"].bundled
    assert found["painter"].card == read_card(found["painter"].path)
    assert "too short" in found["broken"].problem


def test_an_absent_store_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr(places, "BUNDLED", tmp_path / "neither")
    assert store.list_models() == []
    with pytest.raises(BadInput, match="no models are installed"):
        store.resolve("painter")


def test_hashes_are_remembered_until_the_file_changes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hola")
    expected = "b221d9dbb083a7f33428d7c2a3c3198ae925614d70210e28716ccaa7cd4ddb79"
    assert store.sha256(path) == expected
    cache = json.loads((store.home() / "hashes.json").read_text())
    key = next(iter(cache))
    (store.home() / "hashes.json").write_text(json.dumps({key: "remembered"}))
    assert store.sha256(path) == "remembered"
    path.write_bytes(b"hola!")
    assert store.sha256(path) != "remembered"
    (store.home() / "hashes.json").write_text("[broken")
    assert len(store.sha256(path)) == 64
    with pytest.raises(BadInput, match="cannot be read"):
        store.sha256(tmp_path / "absent")
