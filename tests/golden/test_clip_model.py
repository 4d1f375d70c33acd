"""CLIP's towers against the original classes: tiny nets with stored or "det" weights, and full-size ViT-B/32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, det_weights, named_weights

from lienzo.clip.losses import contrastive_loss
from lienzo.clip.model import CLIP, detect, load

NOT_OPTIONS = ("weight_recipe", "salt", "key_prefix")


@pytest.mark.golden("clip_vit*.safetensors", "clip_resnet*.safetensors")
def test_stored_weights(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, expected = golden.inputs, golden.outputs
    assert detect(golden.state)
    with torch.no_grad():
        model = load(golden.state, golden.config)
        image_embeds, text_embeds = model.encode_image(x["image"]), model.encode_text(x["tokens"])
        logits_per_image, logits_per_text = model(x["image"], x["tokens"])
        loss = contrastive_loss(image_embeds[:2], text_embeds[:2], model.logit_scale)
    assert_same(image_embeds, expected["image_embeds"], what="image_embeds")
    assert_same(text_embeds, expected["text_embeds"], what="text_embeds")
    assert_same(logits_per_image, expected["logits_per_image"], what="logits_per_image")
    assert_same(logits_per_text, expected["logits_per_text"], what="logits_per_text")
    assert_same(loss, expected["contrastive_loss_first2"], what="loss")


@pytest.mark.golden("clip_model_*.safetensors")
def test_det_weights(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, model = golden.tensors, det_model(golden)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == {key: shape for key, (_, shape) in golden.config["state_dict"].items()}
    with torch.no_grad():
        logits, _ = model(x["image"], x["tokens"])
        assert_same(model.encode_image(x["image"]), x["image_features"], what="image_features")
        assert_same(model.encode_text(x["tokens"]), x["text_features"], what="text_features")
    assert_same(logits, x["logits_per_image"], what="logits_per_image")
    assert_same(logits.softmax(dim=-1), x["probs"], what="probs")


def det_model(golden: Golden) -> CLIP:
    model = CLIP(**golden.config["config"]).eval()
    det_weights(model, golden.config["salt"])
    with torch.no_grad():
        model.logit_scale.fill_(2.6593)
    return model


@pytest.mark.golden("full_clip_*.safetensors")
def test_full_size(golden_path: Path) -> None:
    golden = Golden(golden_path)
    with torch.device("meta"):
        model = CLIP(**{key: value for key, value in golden.config.items() if key not in NOT_OPTIONS})
    model = model.to_empty(device="cpu").eval()
    named_weights(model, golden.config["salt"], golden.config["key_prefix"])
    with torch.no_grad():
        image_embeds = model.encode_image(golden.inputs["image"])
        text_embeds = model.encode_text(golden.inputs["tokens"])
    assert_same(image_embeds, golden.outputs["image_embeds"], 1e-4, "image_embeds")
    assert_same(text_embeds, golden.outputs["text_embeds"], 1e-4, "text_embeds")
