"""Reading the arguments of a latent diffusion U-Net off the names and shapes of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lienzo.core.errors import BadWeights

PREFIX = "model.diffusion_model."
NEEDED = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight", "out.2.weight")
MARKS = ("middle_block.1.transformer_blocks.0.attn2.to_k.weight", "id_predictor.1.weight")


def without_prefix(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The U-Net of a whole checkpoint under its own names; a state dict without the prefix is returned as it is."""
    own = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    return own or state


def is_ldm(state: Mapping[str, Tensor]) -> bool:
    """Whether the weights hold a latent diffusion U-Net; see `ldm_unet.detect`."""
    own = without_prefix(state)
    if any(key not in own for key in NEEDED):
        return False
    return any(key in own for key in MARKS) or (own is not state and "middle_block.1.qkv.weight" in own)


def config_from(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the network. Heads leave no trace and are those of the public file of these sizes.

    Raises:
        BadWeights: the blocks form no such network.
    """
    shapes = _Shapes(state)
    base = shapes.of("time_embed.0.weight", 2)[1]
    first = shapes.of("input_blocks.0.0.weight", 3)
    depths = shapes.depths()
    starts = [1 + sum(depths[:level]) + level for level in range(len(depths))]
    widths = [shapes.of(f"input_blocks.{start}.0.out_layers.3.weight", 3)[0] for start in starts]
    updown = shapes.has(f"input_blocks.{starts[1] - 1}.0.in_layers") if len(depths) > 1 else False
    attended = _attended(shapes, depths)
    levels = [level for level, count in enumerate(attended) if count]
    partial = any(0 < count <= depth for count, depth in zip(attended, depths))
    read: dict[str, Any] = {
        "image_size": 32,
        "in_channels": first[1],
        "model_channels": base,
        "out_channels": shapes.of("out.2.weight", 3)[0],
        "num_res_blocks": depths[0] if len(set(depths)) == 1 else depths,
        "attention_resolutions": [2**level for level in reversed(levels)],
        "channel_mult": [width // base if width % base == 0 else (width + 0.5) / base for width in widths],
        "conv_resample": len(depths) == 1 or updown or shapes.has(f"input_blocks.{starts[1] - 1}.0.op"),
        "dims": len(first) - 2,
        "use_scale_shift_norm": shapes.of("input_blocks.1.0.emb_layers.1.bias", 1)[0] == 2 * widths[0],
        "resblock_updown": updown,
        "num_attention_blocks": attended if partial else None,
        "n_embed": shapes.of("id_predictor.1.weight", 3)[0] if "id_predictor.1.weight" in state else None,
        **_labels(shapes),
    }
    if MARKS[0] not in state:
        return {**read, "transformer_depth": 1, **_plain_heads(read, widths)}
    return {**read, "use_spatial_transformer": True, **_transformers(shapes, starts, levels), **_heads(shapes, read)}


class _Shapes:
    """Questions that are asked of a state dict."""

    def __init__(self, state: Mapping[str, Tensor]):
        self.state = state
        self.parts = {".".join(key.split(".")[:n]) for key in state for n in (1, 2, 3, 4)}
        self.inputs = 1 + self._largest("input_blocks")
        self.outputs = 1 + self._largest("output_blocks")

    def _largest(self, half: str) -> int:
        found = [part.split(".")[1] for part in self.parts if part.startswith(half + ".")]
        return max((int(index) for index in found if index.isdecimal() and len(index) < 5), default=-1)

    def of(self, key: str, ndim: int) -> torch.Size:
        """The shape of a tensor, which must have at least `ndim` axes, none of them empty."""
        if key not in self.state:
            raise BadWeights(f"The weights are not those of a latent diffusion U-Net: '{key}' is missing.")
        shape = self.state[key].shape
        if len(shape) < ndim or 0 in shape:
            raise BadWeights(
                f"The weights are not those of a latent diffusion U-Net: '{key}' has shape {tuple(shape)}."
            )
        return shape

    def has(self, part: str) -> bool:
        """Whether some key begins with these (up to four) words."""
        return part in self.parts

    def attends(self, block: str) -> bool:
        """Whether a block has attention, of either kind, after its residual block."""
        return self.has(f"{block}.1.norm")

    def depths(self) -> list[int]:
        """Residual blocks of each level, from where the blocks resample."""
        ups = [
            j
            for j in range(self.outputs)
            if any(self.has(f"output_blocks.{j}.{i}.{kind}") for i in (1, 2) for kind in ("conv", "in_layers"))
        ]
        if ups:
            ends = [*ups, self.outputs - 1]  # the last block of each level, from the smallest
            depths = [end - start - 1 for start, end in zip([-1, *ends], ends)][::-1]
        else:  # pooling has no weights, so its blocks are missing among the names
            halvings = [k for k in range(1, self.inputs) if not self.has(f"input_blocks.{k}")]
            depths = [end - start - 1 for start, end in zip([0, *halvings], [*halvings, self.inputs])]
        even = self.inputs == self.outputs == sum(depths) + len(depths)
        if not even or min(depths) < 1:
            raise BadWeights("The weights look like a latent diffusion U-Net, but their blocks form no even levels.")
        return depths


def _attended(shapes: _Shapes, depths: list[int]) -> list[int]:
    """How many blocks of each level have attention in the ascending half."""
    counts, start = [], 0
    for depth in reversed(depths):
        blocks = range(start, start + depth + 1)
        counts.append(sum(shapes.attends(f"output_blocks.{block}") for block in blocks))
        start += depth + 1
    return counts[::-1]


def _labels(shapes: _Shapes) -> dict[str, Any]:
    if shapes.has("label_emb.0.0.weight"):
        return {"num_classes": "sequential", "adm_in_channels": shapes.of("label_emb.0.0.weight", 2)[1]}
    if shapes.has("label_emb.bias"):
        return {"num_classes": "continuous"}
    return {"num_classes": shapes.of("label_emb.weight", 2)[0] if shapes.has("label_emb.weight") else None}


def _transformers(shapes: _Shapes, starts: list[int], levels: list[int]) -> dict[str, Any]:
    """Depth, context and kind of the spatial transformers."""
    middle = "middle_block.1"
    context = shapes.of(f"{middle}.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    places = {level: f"input_blocks.{starts[level]}.1" for level in levels}

    def depth(place: str) -> int:
        start, end = f"{place}.transformer_blocks.", ".norm1.weight"
        return sum(key.startswith(start) and key.endswith(end) for key in shapes.state)

    def sees_context(place: str) -> bool:
        width = shapes.of(f"{place}.transformer_blocks.0.norm1.weight", 1)[0]
        return shapes.of(f"{place}.transformer_blocks.0.attn1.to_k.weight", 2)[1] == context != width

    depths = [depth(places[level]) if level in places else 0 for level in range(len(starts))]
    depths[-1] = depths[-1] or depth(middle)
    # the context of an attention that sees it leaves no trace where it is as wide as the features
    disabled = [level in places and sees_context(places[level]) for level in range(len(starts))]
    same = {depths[level] for level in levels} | {depth(middle)}
    return {
        "context_dim": context,
        "transformer_depth": same.pop() if len(same) == 1 else depths,
        "use_linear_in_transformer": len(shapes.of(f"{middle}.proj_in.weight", 2)) == 2,
        "disable_self_attentions": disabled if any(disabled) else None,
        "disable_middle_self_attn": sees_context(middle),
        "legacy": False,
    }


def _heads(shapes: _Shapes, read: Mapping[str, Any]) -> dict[str, int]:
    """The heads of the public files: Stable Diffusion 1 and the text-to-image LDM have 8, version 2 and XL heads of 64
    channels (its x4 upscaler 8 heads), the ImageNet LDM at f4 one, the other LDMs heads of 32 channels."""
    linear = len(shapes.of("middle_block.1.proj_in.weight", 2)) == 2
    base, mult = read["model_channels"], read["channel_mult"]
    if (base, mult, linear) == (192, [1, 2, 3, 5], False):
        return {"num_heads": 1}
    if linear and base % 64 == 0 and base != 256:
        return {"num_head_channels": 64}
    if base in (128, 256) and not linear:
        return {"num_head_channels": 32}
    return {"num_heads": 8}


def _plain_heads(read: Mapping[str, Any], widths: list[int]) -> dict[str, int]:
    """Heads of 32 channels, as in the public LDMs without text."""
    used = [widths[int(math.log2(factor))] for factor in read["attention_resolutions"]]
    return {"num_head_channels": math.gcd(32, *used, widths[-1])}
