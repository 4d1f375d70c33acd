"""The key layouts of SigLIP weights: Hugging Face's, which `lienzo.clip.siglip` has, and open_clip's.

open_clip keeps the image tower as a network of timm (`visual.trunk.`) and the text tower in CLIP's layout (`text.`).
Attention projections are one tensor there and three here, but for the pool, where it is the other way round.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.core.text import printable

_NAMES = {
    "visual.trunk.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual.trunk.norm": "vision_model.post_layernorm",
    "visual.trunk.attn_pool.proj": "vision_model.head.attention.out_proj",
    "visual.trunk.attn_pool.norm": "vision_model.head.layernorm",
    "visual.trunk.attn_pool.mlp.fc1": "vision_model.head.mlp.fc1",
    "visual.trunk.attn_pool.mlp.fc2": "vision_model.head.mlp.fc2",
    "text.token_embedding": "text_model.embeddings.token_embedding",
    "text.ln_final": "text_model.final_layer_norm",
    "text.text_projection": "text_model.head",
}
_BLOCK = re.compile(r"(visual\.trunk\.blocks|text\.transformer\.resblocks)\.(\d+)\.(.+?)[._](weight|bias)")
_IN_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_POSITIONS = {
    "visual.trunk.pos_embed": "vision_model.embeddings.position_embedding.weight",
    "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
# The networks of timm, among those of SigLIP, whose activation is the tanh form of GELU; others have the exact one.
_TANH = re.compile(r"vit_(base_patch32_siglip|large_patch16_siglip_512|so400m_patch16_siglip|giantopt_patch16_siglip)")
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu_tanh": "gelu_tanh", "gelu": "gelu"}
_NO_SHAPE = ("image_resolution", "vision_heads", "vision_act", "text_heads", "text_act")


def is_open_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are a SigLIP that open_clip saved."""
    keys = ("visual.trunk.attn_pool.latent", "visual.trunk.pos_embed", "text.text_projection.weight", "logit_bias")
    return all(key in state for key in keys)


def read(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in Hugging Face's layout, and the arguments of `SigLIP` for them.

    Raises:
        BadWeights: the tensors are no SigLIP, or `config` contradicts them.
    """
    foreign = is_open_clip(state)
    found = to_huggingface(state) if foreign else {k: v for k, v in state.items() if not k.endswith("position_ids")}
    for key in ("logit_scale", "logit_bias"):
        if key in found:
            found[key] = found[key].reshape(1)
    sizes = _sizes(found)
    positions = _shape(found, "vision_model.embeddings.position_embedding.weight", 2)[0]
    given = dict(config or {})
    if "model_cfg" in given or "vision_cfg" in given:
        given = config_from_open_clip(given)
    elif "text_config" in given or "vision_config" in given:
        given = config_from_huggingface(given)
    elif foreign and not given:
        given = _published_activations(sizes, positions)
    for key, value in given.items():
        if key in sizes and value is not None and value != sizes[key]:
            raise BadWeights(f"The configuration says {key} = {value}, but the weights have {sizes[key]}.")
        if key not in sizes and key not in _NO_SHAPE:
            raise BadWeights(f"The configuration has an unknown value '{printable(key, 40)}'.")
    sizes |= {key: given[key] for key in _NO_SHAPE if given.get(key) is not None}
    patch, grid = sizes["vision_patch_size"], math.isqrt(positions)
    resolution = sizes.setdefault("image_resolution", grid * patch)
    if type(resolution) is not int or resolution // patch != grid or grid * grid != positions:
        raise BadWeights(f"A SigLIP for images of {resolution} pixels cannot have {positions} image positions.")
    return found, sizes


def to_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of open_clip's SigLIP under Hugging Face's names.

    Raises:
        BadWeights: a key has no counterpart.
    """
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        name, _, kind = key.rpartition(".")
        block = _BLOCK.fullmatch(key)
        if key in _POSITIONS:
            result[_POSITIONS[key]] = value.reshape(-1, value.shape[-1])
        elif key in ("logit_scale", "logit_bias"):
            result[key] = value
        elif key == "visual.trunk.attn_pool.latent":
            result["vision_model.head.probe"] = value
        elif name in _NAMES:
            result[f"{_NAMES[name]}.{kind}"] = value
        elif name == "visual.trunk.attn_pool.kv":
            query = f"visual.trunk.attn_pool.q.{kind}"
            if query not in state:
                raise BadWeights(f"The SigLIP weights have '{key}' but lack '{query}'.")
            result[f"vision_model.head.attention.in_proj_{kind}"] = torch.cat([state[query], value])
        elif block:
            result |= _from_block(block, value)
        elif name != "visual.trunk.attn_pool.q":
            raise BadWeights(f"The tensor '{printable(key, 100)}' belongs to no SigLIP in open_clip's layout.")
    return result


def _from_block(block: re.Match[str], value: Tensor) -> dict[str, Tensor]:
    tower = "vision_model" if block[1].startswith("visual") else "text_model"
    place = f"{tower}.encoder.layers.{block[2]}"
    if block[3] in _IN_BLOCK:
        return {f"{place}.{_IN_BLOCK[block[3]]}.{block[4]}": value}
    if block[3] in ("attn.qkv", "attn.in_proj"):
        return {f"{place}.self_attn.{name}.{block[4]}": part for name, part in zip(_PROJECTIONS, value.chunk(3))}
    raise BadWeights(f"The tensor '{printable(block[0], 100)}' belongs to no SigLIP in open_clip's layout.")


def config_from_huggingface(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a `config.json` of a SiglipModel knows and shapes do not.

    Raises:
        BadWeights: an activation that no SigLIP has, or a tower without its attention pool.
    """
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    if vision.get("vision_use_head") is False:
        raise BadWeights("This SigLIP has no attention pool; Lienzo reads only those with one.")
    result = {
        "vision_heads": vision.get("num_attention_heads", 12),
        "vision_act": _act(vision.get("hidden_act", "gelu_pytorch_tanh")),
        "text_heads": text.get("num_attention_heads", 12),
        "text_act": _act(text.get("hidden_act", "gelu_pytorch_tanh")),
    }
    if "image_size" in vision:
        result["image_resolution"] = vision["image_size"]
    return result


def config_from_open_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same for an `open_clip_config.json`, or the `model_cfg` in it."""
    model = config.get("model_cfg") or config
    text, vision = model.get("text_cfg") or {}, model.get("vision_cfg") or {}
    tanh = (text.get("act_kwargs") or {}).get("approximate") == "tanh"
    return {
        "image_resolution": vision.get("image_size", 224),
        "vision_act": "gelu_tanh" if _TANH.match(str(vision.get("timm_model_name", ""))) else "gelu",
        "text_heads": text.get("heads", 8),
        "text_act": "gelu_tanh" if tanh else "gelu",
    }


def _published_activations(sizes: Mapping[str, Any], positions: int) -> dict[str, Any]:
    """The activations of open_clip's published SigLIPs, told by their sizes."""
    patch, width = sizes["vision_patch_size"], sizes["vision_width"]
    tanh = patch == 32 or (patch == 16 and (width > 1024 or (width == 1024 and positions == 1024)))
    return {
        "vision_act": "gelu_tanh" if tanh else "gelu",
        "text_act": "gelu_tanh" if sizes["vocab_size"] == 256000 else "gelu",  # SigLIP 2
    }


def _act(name: Any) -> str:
    if name not in _ACTIVATIONS:
        raise BadWeights(f"The activation '{printable(str(name), 40)}' is none of SigLIP's.")
    return _ACTIVATIONS[name]


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `SigLIP` that shapes tell."""
    patch = _shape(state, "vision_model.embeddings.patch_embedding.weight", 4)
    tokens = _shape(state, "text_model.embeddings.token_embedding.weight", 2)
    return {
        "vision_patch_size": patch[3],
        "vision_width": patch[0],
        "vision_layers": _layers(state, "vision_model."),
        "vision_mlp_width": _shape(state, "vision_model.head.mlp.fc1.weight", 2)[0],
        "context_length": _shape(state, "text_model.embeddings.position_embedding.weight", 2)[0],
        "vocab_size": tokens[0],
        "text_width": tokens[1],
        "text_layers": _layers(state, "text_model."),
        "text_mlp_width": _mlp_width(state, tokens[1]),
    }


def _shape(state: Mapping[str, Tensor], key: str, ndim: int) -> torch.Size:
    if key not in state:
        raise BadWeights(f"These weights are no SigLIP: they lack '{key}'.")
    shape = state[key].shape
    if len(shape) != ndim or 0 in shape:
        hint = "; pictures of any shape (NaFlex) are not supported" if "patch_embedding" in key else ""
        raise BadWeights(f"The tensor '{key}' of the SigLIP weights has the impossible shape {tuple(shape)}{hint}.")
    return shape


def _layers(state: Mapping[str, Tensor], tower: str) -> int:
    prefix = f"{tower}encoder.layers."
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _mlp_width(state: Mapping[str, Tensor], width: int) -> int:
    key = "text_model.encoder.layers.0.mlp.fc1.weight"
    return _shape(state, key, 2)[0] if key in state else 4 * width
