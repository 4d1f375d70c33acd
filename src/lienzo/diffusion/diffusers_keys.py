"""The names of diffusers for the U-Net and the autoencoder of Stable Diffusion, to and from the original names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from lienzo.core.errors import BadWeights

TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "class_embedding": "label_emb",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "query": "q",
    "to_q": "q",
    "key": "k",
    "to_k": "k",
    "value": "v",
    "to_v": "v",
    "proj_attn": "proj_out",
    "to_out.0": "proj_out",
}
_BLOCK = re.compile(r"((?:down_blocks|up_blocks)\.\d+\.[a-z]+\.\d+|mid_block\.[a-z]+\.\d+)\.(.+)")
_RESNET = re.compile(r"down_blocks\.(\d{1,3})\.resnets\.(\d{1,3})\.norm1\.weight")
_VAE = re.compile(
    r"(encoder|decoder)\.(?:(down|up)_blocks\.(\d{1,3})|mid_block)\.(resnets|attentions|downsamplers|upsamplers)"
    r"\.(\d{1,3})\.(.+)"
)


class UnetNames:
    """The modules of one U-Net under both names.

    Args:
        depths: residual blocks of each level.
        attended: for each level, whether it has attention.
    """

    def __init__(self, depths: Sequence[int], attended: Sequence[bool]):
        self.places = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
                       "mid_block.resnets.1": "middle_block.2"}  # fmt: skip
        down, up = 1, 0
        for level, depth in enumerate(depths):
            block = f"down_blocks.{level}"
            for index in range(depth):
                self.places[f"{block}.resnets.{index}"] = f"input_blocks.{down}.0"
                self.places[f"{block}.attentions.{index}"] = f"input_blocks.{down}.1"
                down += 1
            self.places[f"{block}.downsamplers.0.conv"] = f"input_blocks.{down}.0.op"
            down += 1
        for index_of_block, level in enumerate(reversed(range(len(depths)))):
            block = f"up_blocks.{index_of_block}"
            for index in range(depths[level] + 1):
                self.places[f"{block}.resnets.{index}"] = f"output_blocks.{up}.0"
                self.places[f"{block}.attentions.{index}"] = f"output_blocks.{up}.1"
                up += 1
            self.places[f"{block}.upsamplers.0.conv"] = f"output_blocks.{up - 1}.{1 + attended[level]}.conv"
        self.back = {ours: theirs for theirs, ours in self.places.items()}

    def to_ldm(self, name: str) -> str | None:
        """The original name of a tensor or module of diffusers; None where there is none."""
        for theirs, ours in TOP.items():
            if name == theirs or name.startswith(theirs + "."):
                return ours + name[len(theirs) :]
        found = _BLOCK.fullmatch(name)
        if found is None:
            return None
        place, rest = found[1], found[2]
        if place.endswith("samplers.0"):  # one convolution each
            place, rest = f"{place}.conv", rest.removeprefix("conv").removeprefix(".")
            return f"{self.places[place]}.{rest}".removesuffix(".") if place in self.places else None
        if place not in self.places:
            return None
        if ".resnets." in place:
            head, dot, tail = rest.partition(".")
            if head not in RESIDUAL:
                return None
            rest = RESIDUAL[head] + dot + tail
        return f"{self.places[place]}.{rest}"

    def to_diffusers(self, module: str) -> str | None:
        """The name that diffusers gives a module (not a tensor) of the original; None where there is none."""
        for theirs, ours in TOP.items():
            if module == ours:
                return theirs
        if module in self.back:
            return self.back[module]
        words = module.split(".")
        size = 2 if words[0] == "middle_block" else 3
        place, rest = self.back.get(".".join(words[:size])), ".".join(words[size:])
        if place is None:
            return None
        if ".resnets." in place:
            rest = next((theirs for theirs, ours in RESIDUAL.items() if ours == rest), "")
        return f"{place}.{rest}" if rest else None


def is_diffusers_unet(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a U-Net of diffusers."""
    return "time_embedding.linear_1.weight" in keys and "conv_in.weight" in keys


def unet_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A U-Net of diffusers under the original names.

    Raises:
        BadWeights: a tensor belongs to no such U-Net.
    """
    counts: dict[int, int] = {}
    for key in state:
        found = _RESNET.fullmatch(key)
        if found:
            counts[int(found[1])] = max(counts.get(int(found[1]), 0), int(found[2]) + 1)
    depths = [counts.get(level, 0) for level in range(len(counts))]
    attended = [
        any(key.startswith(f"down_blocks.{level}.attentions.") for key in state) for level in range(len(depths))
    ]
    names = UnetNames(depths, attended)
    result = {}
    for key, value in state.items():
        ours = names.to_ldm(key)
        if ours is None:
            raise BadWeights(f"The tensor '{key}' belongs to no U-Net of Stable Diffusion in the names of diffusers.")
        result[ours] = value
    return result


def is_diffusers_vae(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of an autoencoder of diffusers."""
    return "encoder.down_blocks.0.resnets.0.conv1.weight" in keys


def vae_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An AutoencoderKL of diffusers under the original names."""
    levels = {key.split(".")[2] for key in state if key.startswith("decoder.up_blocks.")}
    result = {}
    for key, value in state.items():
        ours = _vae_name(key, len(levels))
        # attention is written as linear layers there, and as 1x1 convolutions here
        flat = ".mid.attn_" in ours and value.ndim == 2
        result[ours] = value[:, :, None, None] if flat else value
    return result


def _vae_name(key: str, levels: int) -> str:
    found = _VAE.fullmatch(key)
    if found is None:
        return key.replace("conv_norm_out", "norm_out")
    half, way, level, kind, index, rest = found.groups()
    if kind == "attentions":
        for theirs, ours in VAE_ATTENTION.items():
            if rest.startswith(theirs + "."):
                rest = ours + rest[len(theirs) :]
                break
    rest = rest.replace("conv_shortcut", "nin_shortcut")
    if way is None:
        name = f"block_{int(index) + 1}" if kind == "resnets" else f"attn_{int(index) + 1}"
        return f"{half}.mid.{name}.{rest}"
    place = f"{half}.{way}.{int(level) if way == 'down' else levels - 1 - int(level)}"
    if kind == "resnets":
        return f"{place}.block.{index}.{rest}"
    if kind == "attentions":
        return f"{place}.attn.{index}.{rest}"
    return f"{place}.{kind.removesuffix('rs')}.{rest}"
