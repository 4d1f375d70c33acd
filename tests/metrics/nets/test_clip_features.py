"""CLIPs as feature nets, with tiny ones of random weights in the user's folder of models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CLIP_CONFIG, SIZE, save_tiny_models, shaken, tiny_clip
from torch.nn import functional as F

from lienzo.clip.compact import CompactClip
from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import normalise
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput
from lienzo.metrics.nets import open_feature_net
from lienzo.metrics.nets.clip_features import compact_clip, stage_maps
from lienzo.weights.models import load_model, save_model
from lienzo.weights.store import resolve

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3), np.uint8)
CARD = {"title": "tiny", "licence": "CC0-1.0"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path))
    save_tiny_models(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["guide", "judge"])
def test_own_clips(home: Path, name: str) -> None:
    model = load_model(resolve(name))
    assert isinstance(model, CompactClip)
    images = torch.from_numpy(PICTURES).permute(0, 3, 1, 2).float() / 255
    net, embedding = open_feature_net(name), open_feature_net(f"{name}-embedding")
    assert net.made == {"net": name, "sha": net.sha, "resize": "square-bilinear"}
    assert embedding.made == {"net": f"{name}-embedding", "sha": net.sha, "resize": "square-bilinear"}
    with torch.no_grad():
        torch.testing.assert_close(net(PICTURES).rows, model.features(images))
        torch.testing.assert_close(embedding(PICTURES).rows, model.encode_image(images))
    assert net.dim == model.config["widths"][-1]
    assert embedding.dim == 16
    assert net.encode_text is None
    assert embedding.encode_text is not None
    words = embedding.encode_text(["a fox", "a cat"])
    assert words.shape == (2, 16)
    assert words.norm(dim=-1).tolist() == pytest.approx([1, 1])
    with torch.no_grad():
        reader = load_model(resolve("sentence"))
        torch.testing.assert_close(words, model.encode_text(reader(["a fox", "a cat"])))


def test_any_clip(home: Path) -> None:
    torch.manual_seed(0)
    model = shaken(CLIP(**CLIP_CONFIG))
    path = home / "mine.safetensors"
    save_model(path, "clip", model.config, model.state_dict(), CARD)
    net, other = open_feature_net("clip", path), open_feature_net("clip-cmmd", path)
    assert (net.tag, net.resize, other.resize, net.dim) == ("clip-mine", "clip", "cmmd", 16)
    square = PICTURES[:, 2:18, 6:22]  # of the CLIP's own size: nothing is resized
    with torch.no_grad():
        prepared = normalise(torch.from_numpy(square).permute(0, 3, 1, 2).float() / 255)
        wanted = F.normalize(model.encode_image(prepared), dim=-1)
    torch.testing.assert_close(net(square).rows, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other(square).rows, wanted, rtol=1e-4, atol=1e-5)
    assert (net(PICTURES).rows - other(PICTURES).rows).abs().max() > 1e-3
    assert net.encode_text is not None
    with torch.no_grad():
        words = F.normalize(model.encode_text(tokenize(["a fox"], 77)), dim=-1)
    torch.testing.assert_close(net.encode_text(["a fox"]), words)
    assert net.encode_text(["word " * 200]).shape == (1, 16)


def test_a_compact_clip_by_its_file(home: Path) -> None:
    path = home / "other.safetensors"
    model = shaken(tiny_clip())
    save_model(path, "compact-clip", model.config, model.state_dict(), CARD)
    assert open_feature_net("judge", path).tag == "other"
    assert open_feature_net("clip", path).tag == "other-embedding"


def test_stage_maps(home: Path) -> None:
    model = compact_clip("guide")
    maps = stage_maps(model, torch.rand(2, 3, SIZE, SIZE))
    assert [tuple(x.shape) for x in maps] == [(2, 16, SIZE // 2, SIZE // 2), (2, 32, SIZE // 4, SIZE // 4)]
    images = torch.rand(1, 3, SIZE, SIZE)
    torch.testing.assert_close(model.pool(stage_maps(model, images)[-1]), model.features(images))
    with pytest.raises(BadInput, match="at least 4 pixels a side"):
        stage_maps(model, torch.rand(1, 3, 3, 9))


def test_wrong_files(home: Path) -> None:
    with pytest.raises(BadInput, match="needs the file of a CLIP; give its path, or choose 'judge-embedding'"):
        open_feature_net("clip")
    with pytest.raises(BadInput, match=r"'upscaler.safetensors' is no CLIP"):
        open_feature_net("clip-cmmd", "upscaler")
    with pytest.raises(BadInput, match="no CLIP of Lienzo's compact kind; choose guide or judge"):
        open_feature_net("judge", "refiner")
    with pytest.raises(BadInput, match="no CLIP of Lienzo's compact kind"):
        open_feature_net("guide-embedding", "refiner")
    with pytest.raises(BadInput, match="There is no model 'jugde'"):
        open_feature_net("judge", "jugde")
