"""Merging LoRA files into the U-Net and the text encoder of Stable Diffusion 1 and 2.

A LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models") adds to a weight the product of two thin
matrices, times alpha / rank. Read are the names of kohya (`lora_unet_..., lora_te_...`, with U-Net blocks named as in
diffusers or as in CompVis) and those of diffusers and PEFT (`unet....lora_A`, `to_q_lora.down`, `lora_linear_layer`),
for linear layers and convolutions, also with a middle kernel (LoCon).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.clip.layouts import BLOCK, QKV
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadWeights
from lienzo.core.text import printable
from lienzo.diffusion.diffusers_keys import UnetNames
from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.weights.reading import read_weights

ENDINGS = {
    "lora_down.weight": "down", "lora_up.weight": "up", "lora_mid.weight": "mid", "alpha": "alpha",
    "lora_A.weight": "down", "lora_B.weight": "up", "lora_A.default.weight": "down", "lora_B.default.weight": "up",
    "lora.down.weight": "down", "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down", "lora_linear_layer.up.weight": "up",
    "_lora.down.weight": "down", "_lora.up.weight": "up",
}  # fmt: skip
"""How names end, and which part of a change that is. The longest that fits counts."""

OTHER_KINDS = {
    "hada_w1_a": "LoHa",
    "lokr_w1": "LoKr",
    "lokr_w1_a": "LoKr",
    "dora_scale": "DoRA",
    "oft_diag": "OFT",
    "oft_blocks": "OFT",
    "glora": "GLoRA",
    "lora_magnitude_vector": "DoRA",
}
TEXT_PREFIXES = ("lora_te_", "text_encoder.")
UNET_PREFIXES = ("lora_unet_", "unet.")
XL_PREFIXES = ("lora_te1_", "lora_te2_", "text_encoder_2.")


@dataclass(frozen=True)
class Change:
    """What a LoRA adds to one weight: `scale * up @ down`."""

    down: Tensor
    up: Tensor
    scale: float
    mid: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the weight."""
        kernel = self.down if self.mid is None else self.mid
        return (self.up.shape[0], self.down.shape[1], *kernel.shape[2:])

    def delta(self) -> Tensor:
        """The product, float32, (out, in) or (out, in, kh, kw)."""
        down, up = self.down.float(), self.up.float()
        if self.mid is not None:
            full = torch.einsum("or,rskl,si->oikl", up.flatten(1), self.mid.float(), down.flatten(1))
            return self.scale * full
        product = up.flatten(1) @ down.flatten(1)
        return self.scale * product.reshape(len(product), *down.shape[1:])


@dataclass(frozen=True)
class Lora:
    """The changes of a file, by the underscored name of the layer they are for."""

    unet: Mapping[str, Change]
    text: Mapping[str, Change]


@dataclass(frozen=True)
class Place:
    """A weight of a network, or some of its rows: the text encoder has query, key and value in one."""

    key: str
    rows: tuple[int, int] | None = None


def read_lora(path: str | Path) -> Lora:
    """Read a LoRA file.

    Raises:
        BadWeights: it is no LoRA, is one of another kind or family, or one of its changes is not whole.
    """
    weights = read_weights(path)
    return parse(weights.tensors, _alphas(weights.metadata))


def parse(state: Mapping[str, Tensor], alphas: Mapping[str, float] | None = None) -> Lora:
    """The changes that the tensors of a LoRA file describe.

    Args:
        state: name to tensor.
        alphas: alpha of the changes that have no tensor for it, by ``unet`` and ``text``; else it is their rank.

    Raises:
        BadWeights: see `read_lora`.
    """
    parts: dict[str, dict[str, dict[str, Tensor]]] = {"unet": {}, "text": {}}
    for key, value in state.items():
        network, layer, part = _parsed(key)
        parts[network].setdefault(layer, {})[part] = value
    changes = {
        network: {layer: _change(layer, found, (alphas or {}).get(network)) for layer, found in layers.items()}
        for network, layers in parts.items()
    }
    return Lora(**changes)


def merge(
    lora: Lora,
    unet: LdmUnet,
    text_encoder: TextTower | None = None,
    *,
    strength: float = 1.0,
    text_strength: float | None = None,
) -> int:
    """Add the changes to the weights, in place; all of them or, on error, none.

    Merging again with the negative strength takes them out, up to rounding.

    Args:
        lora: what to add.
        unet: the network to change.
        text_encoder: the text encoder to change; None leaves changes of it aside.
        strength: factor of the changes of the U-Net; 0 leaves it as it is.
        text_strength: factor for the text encoder; `strength` by default.

    Returns:
        How many layers were changed.

    Raises:
        BadWeights: a change is for a layer that the model lacks, or of another shape; the sentence names it.
    """
    planned = _plan(lora.unet, unet, unet_places(unet), "U-Net", strength)
    if text_encoder is not None:
        factor = strength if text_strength is None else text_strength
        planned += _plan(lora.text, text_encoder, text_places(text_encoder), "text encoder", factor)
    with torch.no_grad():
        for weight, change, factor in planned:
            weight += (factor * change.delta().to(weight.device)).reshape(weight.shape).to(weight.dtype)
    return len(planned)


def unet_places(unet: LdmUnet) -> dict[str, Place]:
    """The layers of a U-Net by the underscored names that LoRA files give them, of CompVis and of diffusers."""
    config = unet.config
    levels, depths = len(config["channel_mult"]), config["num_res_blocks"]
    depths = depths if isinstance(depths, Sequence) else [depths] * levels
    names = UnetNames(depths, [2**level in config["attention_resolutions"] for level in range(levels)])
    places = {}
    for key, value in unet.state_dict().items():
        module, _, kind = key.rpartition(".")
        if kind != "weight" or value.ndim < 2:
            continue
        for name in (module, names.to_diffusers(module)):
            if name is not None:
                places[name.replace(".", "_")] = Place(key)
    return places


def text_places(tower: TextTower) -> dict[str, Place]:
    """The layers of a text encoder by the underscored names of Hugging Face, with `text_model` before them."""
    places, width = {}, tower.config["width"]
    for index in range(tower.config["layers"]):
        theirs, ours = f"text_model_encoder_layers_{index}_", f"transformer.resblocks.{index}."
        for place, name in enumerate(QKV):
            rows = (place * width, (place + 1) * width)
            places[theirs + name.replace(".", "_")] = Place(f"{ours}attn.in_proj_weight", rows)
        for name, layer in BLOCK.items():
            if not name.startswith("layer_norm"):
                places[theirs + name.replace(".", "_")] = Place(f"{ours}{layer}.weight")
    return places


def _plan(
    changes: Mapping[str, Change], network: nn.Module, places: Mapping[str, Place], what: str, strength: float
) -> list[tuple[Tensor, Change, float]]:
    """The weights to change, all checked before the first is touched."""
    unknown = [layer for layer in changes if layer not in places]
    if unknown:
        named = ", ".join(f"'{printable(layer, 80)}'" for layer in unknown[:3])
        count = "1 layer" if len(unknown) == 1 else f"{len(unknown)} layers"
        raise BadWeights(
            f"The LoRA changes {count} that the {what} of this model lacks ({named}); it was made for another model."
        )
    state = network.state_dict()
    planned = []
    for layer, change in changes.items():
        weight, rows = state[places[layer].key], places[layer].rows
        weight = weight if rows is None else weight[rows[0] : rows[1]]
        if _core(change.shape) != _core(weight.shape):
            raise BadWeights(
                f"The LoRA changes '{printable(layer, 80)}' of the {what} as {tuple(change.shape)}, and that of this "
                f"model is {tuple(weight.shape)}; it was made for another model."
            )
        planned.append((weight, change, strength))
    return planned if strength else []


def _core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of a 1x1 kernel: linear layers and such convolutions are one."""
    return tuple(shape[:2]) if all(size == 1 for size in shape[2:]) else tuple(shape)


def _parsed(key: str) -> tuple[str, str, str]:
    """Network (unet or text), underscored name of the layer, and part of the change."""
    shown = printable(key, 100)
    name = key.removeprefix("base_model.model.")
    other = next((kind for word, kind in OTHER_KINDS.items() if name.endswith((f".{word}", f".{word}.weight"))), None)
    if other is not None:
        raise BadWeights(f"The file is a {other}, not a plain LoRA ('{shown}'); Lienzo cannot merge it.")
    if name.startswith(XL_PREFIXES):
        raise BadWeights(f"The LoRA was made for Stable Diffusion XL ('{shown}'), not for version 1 or 2.")
    network = "text" if name.startswith(TEXT_PREFIXES) else "unet"
    for prefix in (*TEXT_PREFIXES, *UNET_PREFIXES):
        name = name.removeprefix(prefix)
    layer, part = _ended(name)
    if part == "alpha":
        layer = _ended(layer)[0]
    if not part:
        raise BadWeights(f"The file is no LoRA: it has the tensor '{shown}'.")
    layer = layer.replace(".processor", "").replace(".", "_")
    if network == "text":
        layer = layer if layer.startswith("text_model_") else "text_model_" + layer
        layer = re.sub(r"self_attn_to_(q|k|v|out)$", r"self_attn_\1_proj", layer)
    return network, layer + "_0" if layer.endswith("_to_out") else layer, part


def _ended(name: str) -> tuple[str, str]:
    """A name without its ending, and the part of a change that the ending stands for; '' where there is none."""
    for ending in sorted(ENDINGS, key=len, reverse=True):
        whole = ending if ending.startswith("_") else "." + ending
        if name.endswith(whole):
            return name.removesuffix(whole), ENDINGS[ending]
    return name, ""


def _change(layer: str, found: Mapping[str, Tensor], alpha: float | None) -> Change:
    shown = printable(layer, 80)
    missing = [part for part in ("down", "up") if part not in found]
    if missing:
        raise BadWeights(f"The LoRA lacks the {missing[0]} matrix of '{shown}'.")
    if any(not bool(torch.isfinite(value.float()).all()) for value in found.values()):
        raise BadWeights(f"The LoRA is damaged: '{shown}' has numbers that are not finite.")
    down, up, mid = found["down"], found["up"], found.get("mid")
    middle = (down.shape[0],) * 2 if mid is None else tuple(mid.shape[:2])
    fits = down.ndim in (2, 4) and up.ndim in (2, 4) and (mid is None or mid.ndim == 4)
    if not fits or not down.numel() or middle != (up.shape[1], down.shape[0]) or any(n != 1 for n in up.shape[2:]):
        raise BadWeights(
            f"The matrices of '{shown}' in the LoRA, {tuple(down.shape)} and {tuple(up.shape)}, do not fit."
        )
    rank = down.shape[0]
    if "alpha" in found:
        if found["alpha"].numel() != 1:
            raise BadWeights(f"The alpha of '{shown}' in the LoRA is no single number.")
        alpha = float(found["alpha"])
    return Change(down, up, 1.0 if alpha is None else alpha / rank, mid)


def _alphas(metadata: Mapping[str, str]) -> dict[str, float]:
    """The alphas that PEFT writes into the description of the file."""
    try:
        settings: Any = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError) as error:
        raise BadWeights("The LoRA has a description that is no JSON.") from error
    settings = settings if isinstance(settings, dict) else {}
    alphas = {}
    for name, network in (("unet", "unet"), ("text_encoder", "text")):
        for word in ("use_rslora", "use_dora", "alpha_pattern"):
            if settings.get(f"{name}.{word}"):
                raise BadWeights(f"The LoRA was made with the setting {word}, which Lienzo cannot merge.")
        alpha = settings.get(f"{name}.lora_alpha")
        if isinstance(alpha, int | float) and not isinstance(alpha, bool):
            alphas[network] = float(alpha)
    return alphas
