"""SigLIPs of transformers and open_clip give, after conversion, what those programs computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch.nn import functional as F

from lienzo.clip import model as clip
from lienzo.clip import siglip
from lienzo.weights.detection import identify


@pytest.mark.golden("siglip_hf_*.safetensors", "siglip_openclip_*.safetensors", "clip_openclip_*.safetensors")
def test_embeddings_and_logits(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, expected = golden.inputs, golden.outputs
    name, module = identify(golden.state)
    assert module is (siglip if golden_path.stem.startswith("siglip") else clip)
    model = module.load(golden.state, golden.config)
    with torch.no_grad():
        logits_per_image, logits_per_text = model(x["image"], x["tokens"])
        images, texts = model.encode_image(x["image"]), model.encode_text(x["tokens"])
    assert_same(F.normalize(images, dim=-1), expected["image_embeds_normalised"], what="images")
    assert_same(F.normalize(texts, dim=-1), expected["text_embeds_normalised"], what="texts")
    assert_same(logits_per_image, expected["logits_per_image"], what=f"{name} logits")
    assert torch.equal(logits_per_text, logits_per_image.T)
    again = module.load(model.state_dict(), model.config)
    with torch.no_grad():
        assert torch.equal(again(x["image"], x["tokens"])[0], logits_per_image)
