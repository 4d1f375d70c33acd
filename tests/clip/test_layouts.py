"""From Hugging Face's key layout to OpenAI's and back; equality of the functions is in tests/golden."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lienzo.clip.layouts import (
    config_from_huggingface,
    is_huggingface,
    text_config_from_huggingface,
    to_huggingface,
    to_openai,
)
from lienzo.clip.model import CLIP, detect, detect_text, load, load_text
from lienzo.core.errors import BadWeights


@pytest.fixture
def model() -> CLIP:
    torch.manual_seed(0)
    return CLIP(
        embed_dim=16, image_resolution=24, vision_layers=2, vision_width=64, vision_patch_size=8,
        context_length=9, vocab_size=40, transformer_width=64, transformer_layers=2,
    ).eval()  # fmt: skip


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_there_and_back(model: CLIP) -> None:
    state = model.state_dict()
    theirs = to_huggingface(state)
    assert is_huggingface(theirs)
    assert not is_huggingface(state)
    assert same(to_openai(theirs), state)
    assert theirs["text_model.encoder.layers.1.self_attn.k_proj.weight"].shape == (64, 64)
    assert torch.equal(theirs["visual_projection.weight"], model.visual.proj.T)  # type: ignore[union-attr]
    assert all(value.is_contiguous() for value in theirs.values())


def test_version_4_position_ids_are_dropped(model: CLIP) -> None:
    theirs = to_huggingface(model.state_dict())
    theirs["text_model.embeddings.position_ids"] = torch.arange(9)[None]
    theirs["vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    assert detect(theirs)
    assert same(load(theirs).state_dict(), model.state_dict())


@pytest.mark.parametrize("prefix", ["", "text_model.", "cond_stage_model.transformer.text_model."])
def test_text_tower_alone(model: CLIP, prefix: str) -> None:
    theirs = {prefix + key: value for key, value in to_huggingface(model.state_dict(), bare_text=True).items()}
    theirs[prefix + "embeddings.position_ids"] = torch.arange(9)[None]
    assert is_huggingface(theirs)
    assert detect_text(theirs)
    assert not detect(theirs)
    tower = load_text(theirs)
    tokens = torch.tensor([[37, 5, 39, 0]])
    with torch.no_grad():
        assert torch.equal(tower.text_states(tokens), model.text_states(tokens))


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_vision_tower_alone(model: CLIP, prefix: str) -> None:
    theirs = to_huggingface(model.state_dict())
    bare = {prefix + k.removeprefix("vision_model."): v for k, v in theirs.items() if k.startswith("vision_model.")}
    assert is_huggingface(bare)
    expected = {k: v for k, v in model.state_dict().items() if k.startswith("visual.") and k != "visual.proj"}
    assert same(to_openai(bare), expected)
    with pytest.raises(BadWeights, match="no CLIP"):
        load(bare)


def test_broken_weights_are_named(model: CLIP) -> None:
    theirs = to_huggingface(model.state_dict())
    gone = "vision_model.encoder.layers.0.self_attn.v_proj.bias"
    with pytest.raises(BadWeights, match=gone):
        to_openai({key: value for key, value in theirs.items() if key != gone})
    with pytest.raises(BadWeights, match=r"text_model\.encoder\.layers\.0\.strange\.weight"):
        to_openai(theirs | {"text_model.encoder.layers.0.strange.weight": torch.zeros(1)})
    with pytest.raises(BadWeights, match=r"visual\.layer1"):
        to_huggingface({"visual.layer1.0.conv1.weight": torch.zeros(1)})


def test_configurations() -> None:
    text = {"num_attention_heads": 5, "hidden_act": "gelu"}
    vision = {"num_attention_heads": 7, "hidden_act": "gelu", "image_size": 336}
    assert config_from_huggingface({"text_config": text, "vision_config": vision}) == {
        "transformer_heads": 5,
        "vision_heads": 7,
        "image_resolution": 336,
        "quick_gelu": False,
    }
    assert text_config_from_huggingface({}) == {"heads": 8, "quick_gelu": True}
    with pytest.raises(BadWeights, match="different activations"):
        config_from_huggingface({"text_config": text, "vision_config": {}})
    with pytest.raises(BadWeights, match="relu"):
        text_config_from_huggingface({"hidden_act": "relu"})


def test_custom_text_of_open_clip(model: CLIP) -> None:
    state = model.state_dict()
    theirs = {k if k.startswith(("visual.", "logit_scale")) else f"text.{k}": v for k, v in state.items()}
    assert detect(theirs)
    config = {"model_cfg": {"vision_cfg": {"image_size": 26, "width": 64}, "text_cfg": {"heads": 1}}}
    loaded = load(theirs, config)
    assert same(loaded.state_dict(), state)
    assert loaded.config["image_resolution"] == 26
    assert loaded.config["quick_gelu"] is False
    with pytest.raises(BadWeights, match=r"'ln_final\.weight' of the CLIP weights has the impossible shape"):
        load({**theirs, "text.ln_final.weight": torch.zeros(0)})
    for tower, value in (("text_cfg", {"no_causal_mask": True}), ("vision_cfg", {"pool_type": "avg"})):
        with pytest.raises(BadWeights, match=next(iter(value))):
            load(theirs, {"model_cfg": {tower: value}})
