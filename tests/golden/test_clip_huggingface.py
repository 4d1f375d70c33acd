"""Weights that transformers saved give, after conversion, what transformers computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch.nn import functional as F

from lienzo.clip.model import detect, load, load_text


@pytest.mark.golden("clip_hf_v5*.safetensors")
def test_transformers(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, expected = golden.inputs, golden.outputs
    if golden.metadata["class"] == "CLIPTextModel":
        tower = load_text(golden.state, golden.config)
        with torch.no_grad():
            assert_same(tower.text_states(x["tokens"]), expected["last_hidden_state"])
            assert_same(tower.encode_text(x["tokens"]), expected["pooled"])
            assert_same(tower.text_states(x["tokens"], skip=1, norm=False), expected["penultimate"])
        return
    assert detect(golden.state)
    model = load(golden.state, golden.config)
    with torch.no_grad():
        logits_per_image, logits_per_text = model(x["image"], x["tokens"])
        images, texts = model.encode_image(x["image"]), model.encode_text(x["tokens"])
    assert_same(F.normalize(images, dim=-1), expected["image_embeds_normalised"], what="images")
    assert_same(F.normalize(texts, dim=-1), expected["text_embeds_normalised"], what="texts")
    assert_same(logits_per_image, expected["logits_per_image"], what="logits_per_image")
    assert_same(logits_per_text, expected["logits_per_text"], what="logits_per_text")


@pytest.mark.golden("sd_text_encoder*.safetensors")
def test_stable_diffusion_text(golden_path: Path) -> None:
    golden = Golden(golden_path)
    tokens, expected = golden.inputs["tokens"], golden.outputs
    tower = load_text(golden.state, golden.config)
    with torch.no_grad():
        assert_same(tower.text_states(tokens), expected["last_hidden_state"])
        assert_same(tower.text_states(tokens, skip=1, norm=False), expected["penultimate"])
        assert_same(tower.text_states(tokens, skip=1), expected["penultimate_then_final_ln"])
        assert_same(tower.encode_text(tokens), expected["pooled"])
