"""Where models are, found without torch: files, folders of Hugging Face and open_clip, the hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights import hub
from lienzo.weights.arrays import Arrays
from lienzo.weights.beside import clip_config_beside
from lienzo.weights.places import BUNDLED, FOLDER_FILES, resolve, weights_in


def test_a_folder_stands_for_its_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "laion"
    folder.mkdir()
    with pytest.raises(BadInput, match=r"is a folder without model\.safetensors"):
        resolve(str(folder))
    for name in reversed(FOLDER_FILES):
        (folder / name).write_bytes(b"")
        assert resolve(str(folder)) == folder / name
        assert resolve(folder) == folder / name
    monkeypatch.chdir(tmp_path)
    assert resolve("laion") == Path("laion/model.safetensors")


def test_the_hub_by_its_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(name: str) -> Path:
        asked.append(name)
        return tmp_path

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(BadInput, match="'hub:org/tiny' is a folder without"):
        resolve("hub:org/tiny")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"")
    assert resolve("hub:org/tiny") == weights_in(tmp_path, "tiny")
    assert asked == ["org/tiny"] * 2


def test_needs_no_torch() -> None:
    code = "import sys; from lienzo.weights.places import resolve; resolve('judge'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_configurations_beside_weights_by_the_layout_of_their_tensors(tmp_path: Path) -> None:
    path, theirs, ours = tmp_path / "model.safetensors", ["vision_model.x"], ["visual.conv1.weight"]
    assert clip_config_beside(path, theirs) is None
    (tmp_path / "config.json").write_text('{"text_config": {"a": 1}}')
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"b": 2}}')
    assert clip_config_beside(path, theirs) == {"text_config": {"a": 1}}
    assert clip_config_beside(path, ours) == {"model_cfg": {"b": 2}}
    (tmp_path / "config.json").write_text('{"architecture": "vit"}')
    assert clip_config_beside(path, theirs) is None
    for broken in ("[]", "{", "[" * 100_000):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(BadWeights, match=r"'config\.json' beside the weights is no"):
            clip_config_beside(path, theirs)


def test_arrays() -> None:
    arrays = Arrays(BUNDLED / "judge.safetensors")
    assert arrays.network == "compact-clip"
    assert arrays.read("text_skip.weight").shape == (arrays.config["embed_dim"], arrays.config["text_dim"])
    with pytest.raises(BadWeights, match="lacks the tensor 'absent'"):
        arrays.read("absent")
