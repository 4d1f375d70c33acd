"""The numpy twin of the text side: torch's numbers, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_models

from lienzo.clip.numpy_text import NumpyText
from lienzo.clip.sentence import SentenceEncoder
from lienzo.core.errors import BadWeights
from lienzo.weights.models import load_model, save_model
from lienzo.weights.places import BUNDLED

WORDS = (
    "a red fox blue house río gato azul sobre la mesa рыжая лиса на снегу корабль café x9 ÿ 日本 🦊 drawing of".split()
)
ODD = ["", "!!!", "🦊", "x" * 400, "word " * 80, "ﬁne ８", "a\nb\tc", "UPPER lower"]


def sentences(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS, draw.integers(1, 30))) for _ in range(count)] + ODD


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Path]:
    models = tiny_models()
    models["deep"] = ("sentence", SentenceEncoder(buckets=64, width=24, layers=3, heads=3, embed_dim=32).eval())
    paths = {}
    for name in ("sentence", "deep", "judge", "guide", "upscaler"):
        network, model = models[name]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
        paths[name] = tmp_path / f"{name}.safetensors"
        card = {"title": "t", "licence": "CC0-1.0"}
        save_model(paths[name], network, model.config, model.state_dict(), card, half=name == "deep")  # type: ignore[arg-type]
    return paths


def check(clip: Path, sentence: Path, texts: list[str]) -> None:
    encoder, model = load_model(sentence), load_model(clip)
    with torch.no_grad():
        expected = model.encode_text(encoder(texts)).numpy()  # type: ignore[operator]
    own = NumpyText(clip, sentence)
    found = own(texts)
    assert found.dtype == np.float32
    assert found.shape == (len(texts), own.dim)
    assert np.abs(found - expected).max() < 1e-5
    assert own.scale == pytest.approx(float(model.logit_scale.exp()))  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("clip", ["guide", "judge"])
def test_bundled_models_in_three_languages(clip: str) -> None:
    check(BUNDLED / f"{clip}.safetensors", BUNDLED / "sentence.safetensors", sentences(300))


@pytest.mark.parametrize("sentence", ["sentence", "deep"])
def test_other_sizes(tiny: dict[str, Path], sentence: str) -> None:
    check(tiny["judge"], tiny[sentence], sentences(20))


def test_alone_or_in_a_batch_and_none(tiny: dict[str, Path]) -> None:
    own = NumpyText(tiny["judge"], tiny["sentence"])
    texts = sentences(300)
    assert np.abs(own(texts)[[0, 290]] - own([texts[0], texts[290]])).max() < 1e-6
    assert own([]).shape == (0, own.dim)


def test_refused(tiny: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no compact CLIP and sentence encoder"):
        NumpyText(tiny["upscaler"], tiny["sentence"])
    with pytest.raises(BadWeights, match="do not fit each other"):
        NumpyText(BUNDLED / "judge.safetensors", tiny["sentence"])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny["judge"].read_bytes()[:-9])
    with pytest.raises(BadWeights, match=r"'broken\.safetensors' is broken"):
        NumpyText(broken, tiny["sentence"])
    with pytest.raises(BadWeights, match="does not exist"):
        NumpyText(tmp_path / "absent.safetensors", tiny["sentence"])
