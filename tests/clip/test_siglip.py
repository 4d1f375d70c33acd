"""SigLIP's configuration and layouts; equality with transformers and open_clip is in tests/golden."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.clip.siglip import SigLIP, detect, load
from lienzo.clip.siglip_layouts import config_from_huggingface, config_from_open_clip, read, to_huggingface
from lienzo.core.errors import BadInput, BadWeights

SIZES: dict[str, Any] = {
    "image_resolution": 16, "vision_patch_size": 8, "vision_width": 32, "vision_layers": 1, "vision_heads": 2,
    "context_length": 6, "vocab_size": 20, "text_width": 16, "text_layers": 2, "text_heads": 2, "text_mlp_width": 24,
}  # fmt: skip
TIMM = "vit_base_patch16_siglip_224"


@pytest.fixture
def model() -> SigLIP:
    torch.manual_seed(0)
    return SigLIP(**SIZES).eval()


def to_open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_huggingface`, written out for this network."""
    result = {key: state[key].reshape(()) for key in ("logit_scale", "logit_bias")}
    vision, text, pool = "vision_model.", "text_model.", "vision_model.head."
    result["visual.trunk.pos_embed"] = state[f"{vision}embeddings.position_embedding.weight"][None]
    result["text.positional_embedding"] = state[f"{text}embeddings.position_embedding.weight"]
    result["text.token_embedding.weight"] = state[f"{text}embeddings.token_embedding.weight"]
    result["visual.trunk.attn_pool.latent"] = state[f"{pool}probe"]
    for kind in ("weight", "bias"):
        result[f"visual.trunk.patch_embed.proj.{kind}"] = state[f"{vision}embeddings.patch_embedding.{kind}"]
        result[f"visual.trunk.norm.{kind}"] = state[f"{vision}post_layernorm.{kind}"]
        result[f"text.ln_final.{kind}"] = state[f"{text}final_layer_norm.{kind}"]
        result[f"text.text_projection.{kind}"] = state[f"{text}head.{kind}"]
        query, key, value = state[f"{pool}attention.in_proj_{kind}"].chunk(3)
        result[f"visual.trunk.attn_pool.q.{kind}"] = query
        result[f"visual.trunk.attn_pool.kv.{kind}"] = torch.cat([key, value])
        result[f"visual.trunk.attn_pool.proj.{kind}"] = state[f"{pool}attention.out_proj.{kind}"]
        result[f"visual.trunk.attn_pool.norm.{kind}"] = state[f"{pool}layernorm.{kind}"]
        towers = (
            (vision, 1, "visual.trunk.blocks.{}.", ("norm1", "norm2", "attn.qkv.", "attn.proj", "mlp.fc1", "mlp.fc2")),
            (
                *(text, 2, "text.transformer.resblocks.{}."),
                ("ln_1", "ln_2", "attn.in_proj_", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"),
            ),
        )
        for tower, layers, place, (norm1, norm2, qkv, out, first, second) in towers:
            for i in range(layers):
                to, own = place.format(i), f"{tower}encoder.layers.{i}."
                result[f"{to}{norm1}.{kind}"] = state[f"{own}layer_norm1.{kind}"]
                result[f"{to}{norm2}.{kind}"] = state[f"{own}layer_norm2.{kind}"]
                result[f"{to}{out}.{kind}"] = state[f"{own}self_attn.out_proj.{kind}"]
                result[f"{to}{first}.{kind}"] = state[f"{own}mlp.fc1.{kind}"]
                result[f"{to}{second}.{kind}"] = state[f"{own}mlp.fc2.{kind}"]
                parts = [state[f"{own}self_attn.{name}_proj.{kind}"] for name in "qkv"]
                result[f"{to}{qkv}{kind}"] = torch.cat(parts)
        for name in ("fc1", "fc2"):
            result[f"visual.trunk.attn_pool.mlp.{name}.{kind}"] = state[f"{pool}mlp.{name}.{kind}"]
    return result


def test_from_open_clip(model: SigLIP) -> None:
    state = model.state_dict()
    theirs = to_open_clip(state)
    assert detect(state)
    assert detect(theirs)
    back = to_huggingface(theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key].reshape(state[key].shape), state[key]) for key in state)
    text = {"heads": 2, "act_kwargs": {"approximate": "tanh"}}
    config = {"model_cfg": {"vision_cfg": {"image_size": 16, "timm_model_name": TIMM}, "text_cfg": text}}
    loaded = load(theirs, config)
    assert loaded.config | {"vision_heads": 2} == model.config | {"vision_act": "gelu"}


def test_without_configuration_the_published_ones_are_assumed(model: SigLIP) -> None:
    acts = ("vision_act", "text_act")
    assert [load(model.state_dict()).config[act] for act in acts] == ["gelu_tanh"] * 2
    assert [load(to_open_clip(model.state_dict())).config[act] for act in acts] == ["gelu"] * 2
    assert SigLIP(**SIZES | {"vision_width": 64, "vision_heads": None}).config["vision_heads"] == 1
    with torch.device("meta"):
        assert SigLIP(**SIZES | {"vision_width": 1152, "vision_heads": None}).config["vision_heads"] == 16


@pytest.mark.parametrize(
    ("name", "act"),
    [
        (TIMM, "gelu"),
        ("vit_so400m_patch14_siglip_384", "gelu"),
        ("vit_large_patch16_siglip_256", "gelu"),
        ("vit_large_patch16_siglip_512", "gelu_tanh"),
        ("vit_base_patch32_siglip_256", "gelu_tanh"),
        ("vit_so400m_patch16_siglip_512", "gelu_tanh"),
        ("vit_giantopt_patch16_siglip_384", "gelu_tanh"),
    ],
)
def test_activations_of_timm(name: str, act: str) -> None:
    found = config_from_open_clip({"vision_cfg": {"timm_model_name": name}})
    assert (found["vision_act"], found["text_act"]) == (act, "gelu")


def test_broken_weights_and_configurations(model: SigLIP) -> None:
    state = dict(model.state_dict())
    theirs = to_open_clip(state)
    with pytest.raises(BadWeights, match=r"'vision_model\.head\.mlp\.fc2\.bias' is missing"):
        load({key: value for key, value in state.items() if key != "vision_model.head.mlp.fc2.bias"}, model.config)
    with pytest.raises(BadWeights, match=r"lack 'visual\.trunk\.attn_pool\.q\.bias'"):
        load({key: value for key, value in theirs.items() if key != "visual.trunk.attn_pool.q.bias"})
    with pytest.raises(BadWeights, match=r"'visual\.trunk\.strange\.weight' belongs to no SigLIP"):
        load(theirs | {"visual.trunk.strange.weight": torch.zeros(2)})
    with pytest.raises(BadWeights, match="NaFlex"):
        load(state | {"vision_model.embeddings.patch_embedding.weight": torch.zeros(32, 192)})
    with pytest.raises(BadWeights, match="images of 40 pixels cannot have 4 image positions"):
        load(state, model.config | {"image_resolution": 40})
    with pytest.raises(BadWeights, match="says vocab_size = 21, but the weights have 20"):
        load(state, model.config | {"vocab_size": 21})
    with pytest.raises(BadWeights, match="unknown value 'colour'"):
        load(state, {"colour": 1})
    with pytest.raises(BadWeights, match="32 cannot be divided among 5 heads"):
        load(state, model.config | {"vision_heads": 5})
    with pytest.raises(BadWeights, match="'relu' is none of SigLIP's"):
        config_from_huggingface({"text_config": {"hidden_act": "relu"}})
    with pytest.raises(BadWeights, match="no attention pool"):
        config_from_huggingface({"vision_config": {"vision_use_head": False}})
    assert read(state, model.config)[1]["text_mlp_width"] == 24


def test_wrong_inputs(model: SigLIP) -> None:
    with pytest.raises(BadInput, match="this SigLIP reads 16 x 16"):
        model.encode_image(torch.zeros(1, 3, 24, 24))
    with pytest.raises(BadInput, match="reads at most 6"):
        model.encode_text(torch.zeros(1, 7, dtype=torch.long))
