"""The zero-shot classifier of open_clip on the tiny CLIP whose weights come from a neighbouring golden file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same, det_weights

from lienzo.clip.model import CLIP
from lienzo.clip.zero_shot import class_weights, classifier, zero_shot_logits


def neighbour(golden: Golden) -> CLIP:
    """The CLIP that the file names as "clip_model_vit (set)"."""
    name = golden.config["model"].split()[0]
    files = [Golden(path) for path in sorted(golden.path.parent.glob(f"{name}*.safetensors"))]
    same = [file for file in files if file.config.get("set") == golden.config.get("set")]
    if not same:
        pytest.skip(f"{name} of the same set is not beside the file")
    model = CLIP(**same[0].config["config"]).eval()
    det_weights(model, same[0].config["salt"])
    return model


@pytest.mark.golden("zero_shot*.safetensors")
@torch.no_grad()
def test_zero_shot(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, labels, templates = golden.tensors, golden.config["classnames"], golden.config["templates"]
    model = neighbour(golden)
    embeds = model.encode_text(x["tokens"])
    weights = class_weights(embeds, len(labels))
    assert_same(weights, x["weights"], what="weights")
    assert_same(weights, x["weights_legacy"], what="weights_legacy")
    logits = zero_shot_logits(x["image_features_norm"], weights)
    assert_same(logits, x["logits"], what="logits")
    assert_same(logits.argmax(dim=-1), x["top1"], what="top1")
    first = class_weights(embeds[:: len(templates)], len(labels))
    assert_same(first, x["single_template_weights"], what="single_template_weights")

    rows = iter(x["tokens"])

    def to_tokens(texts: list[str], context_length: int) -> torch.Tensor:
        return torch.stack([next(rows)[:context_length] for _ in texts])

    found = classifier(model, labels, templates, to_tokens=to_tokens, classes_per_batch=2)
    assert_same(found, x["weights"], what="classifier")
