"""The key layouts of CLIP weights: OpenAI's, which `lienzo.clip.model` has, and Hugging Face's, both ways.

Hugging Face's CLIPModel names its towers `text_model.` and `vision_model.`. Since transformers 5 a text or vision
tower that is saved alone has no prefix; Stable Diffusion 1 puts the text tower under `cond_stage_model.transformer.`.
Attention projections are three tensors there and one here; projections to the embedding are transposed.

open_clip's plain networks have OpenAI's layout; its CustomTextCLIP keeps the text tower under `text.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from lienzo.core.errors import BadWeights

WRAPPER = "cond_stage_model.transformer."
TOP = {
    "logit_scale": "logit_scale",
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
TRANSPOSED = {"text_projection.weight", "visual_projection.weight"}
TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_HF_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OPENAI_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")


def is_custom_text(keys: Iterable[str]) -> bool:
    """Whether the keys are those of open_clip's CustomTextCLIP with towers as in OpenAI's CLIP."""
    found = set(keys)
    return {"text.token_embedding.weight", "text.text_projection", "visual.conv1.weight"} <= found


def from_custom_text(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a CustomTextCLIP in OpenAI's layout."""
    return {key.removeprefix("text."): value for key, value in state.items()}


def is_huggingface(keys: Iterable[str]) -> bool:
    """Whether the keys are those of a CLIP, or of one of its towers, as transformers saves it."""
    text = "embeddings.token_embedding.weight"
    layer = "encoder.layers.0.self_attn.q_proj.weight"
    found = {key.removeprefix(WRAPPER) for key in keys}
    towers = (("text_model.", text), ("", text), ("vision_model.", "pre_layrnorm.weight"), ("", "pre_layrnorm.weight"))
    return any(prefix + key in found and prefix + layer in found for prefix, key in towers)


def to_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face weights under OpenAI's names: a whole CLIPModel, or its text or vision tower alone.

    Raises:
        BadWeights: a key belongs to no CLIP, or an attention lacks one of its three projections.
    """
    state = {key.removeprefix(WRAPPER): value for key, value in state.items()}
    bare = "vision_model." if "embeddings.patch_embedding.weight" in state else "text_model."
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in TOP:
            result[TOP[key]] = value.T if key in TRANSPOSED else value
            continue
        full = key if key.startswith(("text_model.", "vision_model.")) else bare + key
        tower, _, name = full.partition(".")
        if name.endswith("position_ids"):
            continue
        prefix, names = ("", TEXT) if tower == "text_model" else ("visual.", VISION)
        block = _HF_BLOCK.fullmatch(name)
        if name in names:
            result[prefix + names[name]] = value
        elif block and block[2] in BLOCK:
            result[f"{prefix}transformer.resblocks.{block[1]}.{BLOCK[block[2]]}.{block[3]}"] = value
        elif block and block[2] in QKV:
            if block[2] == QKV[0]:
                fused = f"{prefix}transformer.resblocks.{block[1]}.attn.in_proj_{block[3]}"
                result[fused] = _fuse(state, key)
        else:
            raise BadWeights(f"The tensor '{key}' belongs to no CLIP in Hugging Face's layout.")
    return result


def _fuse(state: Mapping[str, Tensor], query: str) -> Tensor:
    """Query, key and value projection as one tensor, in this order; `query` is the key of the first."""
    parts = [query.replace(QKV[0], name) for name in QKV]
    for part in parts:
        if part not in state:
            raise BadWeights(f"The CLIP weights have '{query}' but lack '{part}'.")
    return torch.cat([state[part] for part in parts])


def to_huggingface(state: Mapping[str, Tensor], bare_text: bool = False) -> dict[str, Tensor]:
    """OpenAI's weights under the names of transformers' CLIPModel (the same in its versions 4 and 5).

    Args:
        state: a CLIP with a vision transformer, or a text tower.
        bare_text: only the text tower, without projection and prefix, as a CLIPTextModel of transformers 5.

    Raises:
        BadWeights: a key has no counterpart, as those of a ResNet tower.
    """
    result: dict[str, Tensor] = {}
    top = {ours: theirs for theirs, ours in TOP.items()}
    for key, value in state.items():
        vision = key.startswith("visual.")
        if bare_text and (vision or key in top):
            continue
        if key in top:
            result[top[key]] = value.T.contiguous() if top[key] in TRANSPOSED else value
            continue
        prefix = "vision_model." if vision else "" if bare_text else "text_model."
        names = {ours: theirs for theirs, ours in (VISION if vision else TEXT).items()}
        name = key.removeprefix("visual.")
        block = _OPENAI_BLOCK.fullmatch(name)
        blocks = {ours: theirs for theirs, ours in BLOCK.items()}
        if name in names:
            result[prefix + names[name]] = value
        elif block and block[2] in blocks:
            result[f"{prefix}encoder.layers.{block[1]}.{blocks[block[2]]}.{block[3]}"] = value
        elif block and block[2] == "attn.in_proj":
            for part, piece in zip(QKV, value.chunk(3)):
                result[f"{prefix}encoder.layers.{block[1]}.{part}.{block[3]}"] = piece.clone()
        else:
            raise BadWeights(f"The tensor '{key}' has no name in Hugging Face's layout of CLIP.")
    return result


def config_from_huggingface(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a Hugging Face `config.json` of a CLIPModel knows and shapes do not, as arguments of `CLIP`.

    Raises:
        BadWeights: the two towers use different activations, or one that no CLIP has.
    """
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    quick = [_is_quick(tower.get("hidden_act", "quick_gelu")) for tower in (text, vision)]
    if quick[0] != quick[1]:
        raise BadWeights("The configuration gives the two towers different activations; Lienzo needs one.")
    return {
        "transformer_heads": text.get("num_attention_heads", 8),
        "vision_heads": vision.get("num_attention_heads", 12),
        "image_resolution": vision.get("image_size", 224),
        "quick_gelu": quick[0],
    }


def config_from_open_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    """What an `open_clip_config.json`, or the `model_cfg` in it, knows of a CLIP and shapes do not.

    Raises:
        BadWeights: the towers pool or mask in another way than OpenAI's.
    """
    model = config.get("model_cfg") or config
    text, vision = model.get("text_cfg") or {}, model.get("vision_cfg") or {}
    usual = {
        "no_causal_mask": (False, None),
        "pool_type": ("argmax", "tok", None),
        "global_average_pool": (False, None),
    }
    usual |= {"timm_model_name": (None,), "hf_model_name": (None,), "attentional_pool": (False, None)}
    for key, values in usual.items():
        for tower in (text, vision):
            if tower.get(key) not in values:
                raise BadWeights(f"The configuration has {key} = {tower[key]!r}, which Lienzo's CLIP does not do.")
    width = vision.get("width", 768) * (1 if isinstance(vision.get("layers", 12), int) else 32)
    return {
        "transformer_heads": text.get("heads", 8),
        "vision_heads": width // vision.get("head_width", 64),
        "image_resolution": vision.get("image_size", 224),
        "quick_gelu": bool(model.get("quick_gelu", False)),
    }


def text_config_from_huggingface(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the `config.json` of a CLIPTextModel, as arguments of `TextTower`."""
    return {
        "heads": config.get("num_attention_heads", 8),
        "quick_gelu": _is_quick(config.get("hidden_act", "quick_gelu")),
    }


def _is_quick(activation: str) -> bool:
    if activation not in ("quick_gelu", "gelu"):
        raise BadWeights(f"The activation '{activation}' is none of CLIP's; it should be quick_gelu or gelu.")
    return activation == "quick_gelu"
