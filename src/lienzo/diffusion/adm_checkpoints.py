"""Public ADM checkpoints: known by their keys and shapes, with the settings that no shape can tell.

The rows below repeat the flags that the model cards of guided-diffusion, improved-diffusion, clip-diffusion-art and
disco-diffusion give for each file. Heads, picture size and attention order leave no trace in the weights of the
diffusion models, so a file whose shapes are not in the table gets the habits of its family: 64 channels a head
where the blocks resample themselves (ADM), else 4 heads, or 1 without scale-shift norms (Improved DDPM).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.adm_flags import Described, DiffusionSettings, from_flags
from lienzo.nn.loading import fill_exactly

_ADM = {
    "attention_resolutions": "32,16,8",
    "learn_sigma": True,
    "num_channels": 256,
    "num_head_channels": 64,
    "resblock_updown": True,
}
_IMPROVED = {"learn_sigma": True, "num_res_blocks": 3, "diffusion_steps": 4000, "noise_schedule": "cosine"}
_IMPROVED_RESCALED = {**_IMPROVED, "rescale_timesteps": True, "rescale_learned_sigmas": True}
_LSUN_100M = {
    "image_size": 256,
    "attention_resolutions": "16",
    "learn_sigma": True,
    "num_heads": 1,
    "use_scale_shift_norm": False,
}

PUBLIC: dict[str, dict[str, Any]] = {
    "64x64_diffusion": {
        **_ADM, "image_size": 64, "class_cond": True, "num_channels": 192, "num_res_blocks": 3, "dropout": 0.1,
        "noise_schedule": "cosine", "use_new_attention_order": True,
    },
    "128x128_diffusion": {
        **_ADM, "image_size": 128, "class_cond": True, "num_head_channels": -1, "num_heads": 4
    },
    "256x256_diffusion": {**_ADM, "image_size": 256, "class_cond": True},
    "256x256_diffusion_uncond": {**_ADM, "image_size": 256, "rescale_timesteps": True},
    "512x512_diffusion": {**_ADM, "image_size": 512, "class_cond": True},
    "512x512_diffusion_uncond_finetune_008100": {**_ADM, "image_size": 512, "rescale_timesteps": True},
    "64_256_upsampler": {
        **_ADM, "large_size": 256, "small_size": 64, "class_cond": True, "num_channels": 192,
        "num_head_channels": -1, "num_heads": 4,
    },
    "128_512_upsampler": {
        **_ADM, "large_size": 512, "small_size": 128, "class_cond": True, "num_channels": 192,
        "attention_resolutions": "32,16",
    },
    "64x64_classifier": {"image_size": 64, "classifier_depth": 4},
    "128x128_classifier": {"image_size": 128, "classifier_depth": 2},
    "256x256_classifier": {"image_size": 256, "classifier_depth": 2},
    "512x512_classifier": {"image_size": 512, "classifier_depth": 2},
    "portrait_generator_v001": {
        **_ADM, "image_size": 512, "num_channels": 128, "num_head_channels": -1, "num_heads": 4,
        "rescale_timesteps": True,
    },
    "256x256_clip_diffusion_art": {
        **_LSUN_100M, "rescale_timesteps": True, "rescale_learned_sigmas": True
    },
    "lsun_uncond_100M": _LSUN_100M,
    "imagenet64_uncond_100M": {**_IMPROVED_RESCALED, "image_size": 64},
    "imagenet64_cond_270M": {**_IMPROVED, "image_size": 64, "num_channels": 192, "class_cond": True},
    "cifar10_uncond_50M": {**_IMPROVED_RESCALED, "image_size": 32, "dropout": 0.3},
    "upsample_cond": {
        **_IMPROVED, "large_size": 256, "small_size": 64, "num_channels": 192, "num_res_blocks": 2,
        "class_cond": True, "noise_schedule": "linear",
    },
    "adm-64": {
        "image_size": 64, "num_channels": 32, "num_res_blocks": 1, "attention_resolutions": "8",
        "num_head_channels": 32, "noise_schedule": "cosine",
    },
}  # fmt: skip
"""Name of a public file to its flags. Files with equal shapes (the LSUN models of guided-diffusion and the 256 px
unconditional one; clip-diffusion-art, the KaliYuga models and the 100M LSUN ones) are found under the first name."""

TORSO = (
    "model_channels",
    "channel_mult",
    "num_res_blocks",
    "attention_resolutions",
    "use_scale_shift_norm",
    "resblock_updown",
    "dims",
)
ENDS = ("in_channels", "out_channels", "num_classes", "pool")
NEEDED = (
    "time_embed.0.weight",
    "input_blocks.0.0.weight",
    "middle_block.1.qkv.weight",
    "middle_block.2.in_layers.0.weight",
)
FOREIGN = ("encoder_kv", "transformer_blocks", "proj_in", "encoder_cross_attn")


@dataclass(frozen=True)
class Checkpoint:
    """What a state dict is: its network, its diffusion, and the public file whose shapes it has (None for others)."""

    described: Described
    name: str | None


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of an ADM U-Net, upsampler or classifier."""
    if any(key not in state for key in NEEDED):
        return False
    return not any(word in key for key in state for word in FOREIGN)


def recognise(state: Mapping[str, Tensor]) -> Checkpoint:
    """Which network a state dict belongs to; only keys and shapes are looked at (meta tensors will do).

    Raises:
        BadWeights: the blocks do not form an ADM network.
    """
    network, read = _structure(state)
    name, row = _public_row(network, read)
    if row is None:
        diffusion = DiffusionSettings(learn_sigma=read["out_channels"] == 2 * read["in_channels"])
        return Checkpoint(Described(network, {**_habits(network, read), **read}, diffusion), None)
    diffusion = row.diffusion
    if network is not AdmClassifier:
        diffusion = replace(diffusion, learn_sigma=read["out_channels"] == 2 * read["in_channels"])
    return Checkpoint(Described(network, {**row.config, **read}, diffusion), name)


def config_from(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the network that a state dict belongs to.

    Shapes tell the widths, levels, blocks, attention, classes, norms and resampling; the table of public files and
    the habits of the family tell the heads, their order and the picture size.

    Raises:
        BadWeights: the blocks do not form an ADM network.
    """
    return recognise(state).described.config


def diffusion_from(state: Mapping[str, Tensor]) -> DiffusionSettings:
    """The diffusion settings that go with a state dict: those of the public file, else linear over 1000 steps.

    Raises:
        BadWeights: the blocks do not form an ADM network.
    """
    return recognise(state).described.diffusion


def diffusion_of(network: Adm | AdmClassifier) -> DiffusionSettings:
    """The diffusion that a network was trained with: what its file says, else what `diffusion_from` knows.

    Raises:
        BadInput: the file says something impossible.
    """
    told = network.config.get("diffusion")
    return diffusion_from(network.state_dict()) if told is None else DiffusionSettings.read(told)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Adm | AdmClassifier:
    """The network with the weights of `state`, in evaluation mode.

    Args:
        state: key to tensor, under the public names. Tensors of the right dtype are taken over, not copied.
        config: arguments that win over what the weights tell, such as `num_heads` of a private model.

    Returns:
        An `Adm`, `AdmSuperRes` or `AdmClassifier`.

    Raises:
        BadWeights: keys or shapes do not fit, or `config` is not that of such a network.
    """
    found = recognise(state).described
    network = found.network
    given = dict(config or {})
    if network is not AdmClassifier and "in_channels" in given:
        doubled = state["input_blocks.0.0.weight"].shape[1] == 2 * given["in_channels"]
        network = AdmSuperRes if doubled else Adm
    unknown = [name for name in given if name not in _argument_names(network)]
    if unknown:
        raise BadWeights(f"The settings of these weights name an unknown argument '{unknown[0]}' of an ADM network.")
    settings = {**found.config, **given}
    try:
        _check_blocks(settings, found.config)
        _check_told(settings, found.config)
        with torch.device("meta"):
            empty = network(**settings)
    except (BadInput, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise BadWeights(f"The settings of these weights make no ADM network: {error}") from error
    return fill_exactly(empty, state, "an ADM classifier" if network is AdmClassifier else "an ADM U-Net").eval()


def _check_blocks(settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse settings with another number of blocks before anything is built: they come from a file."""
    given, there = ((each["num_res_blocks"] + 1) * len(each["channel_mult"]) for each in (settings, found))
    if given != there:
        raise BadInput(f"they describe {given} blocks, and the weights have {there}.")


def _check_told(settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a diffusion or names of classes that the weights cannot have."""
    diffusion, classes = settings.get("diffusion"), settings.get("classes")
    classifier = "num_classes" not in found
    if diffusion is not None:
        if not isinstance(diffusion, Mapping):
            raise BadInput("their diffusion is no set of settings.")
        learned = DiffusionSettings.read(diffusion).learn_sigma
        if not classifier and learned != (found["out_channels"] == 2 * found["in_channels"]):
            raise BadInput("their diffusion and their number of channels do not fit.")
    if classes is not None:
        count = found["out_channels"] if classifier else found["num_classes"] or 0
        named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if not named or count == 0 or len(classes) not in ((count,) if classifier else (count, count - 1)):
            raise BadInput(f"they know {count} classes, and the names given are not theirs.")


def _argument_names(network: type[Adm] | type[AdmClassifier]) -> tuple[str, ...]:
    return tuple(signature(network).parameters)


@cache
def _public() -> dict[str, Described]:
    return {name: from_flags(flags) for name, flags in PUBLIC.items()}


def _same(read: Mapping[str, Any], row: Described, names: tuple[str, ...]) -> bool:
    def plain(values: Mapping[str, Any], name: str) -> Any:
        value = values.get(name, 2 if name == "dims" else None)
        return sorted(value) if name == "attention_resolutions" else value

    return all(plain(read, name) == plain(row.config, name) for name in names)


def _public_row(
    network: type[Adm] | type[AdmClassifier], read: Mapping[str, Any]
) -> tuple[str | None, Described | None]:
    """The public file of this structure; or, nameless, one that differs in its classes and channels only."""
    rows = {name: row for name, row in _public().items() if row.network is network}
    for name, row in rows.items():
        if _same(read, row, TORSO + ENDS):
            return name, row
    return None, next((row for row in rows.values() if _same(read, row, TORSO)), None)


def _habits(network: type[Adm] | type[AdmClassifier], read: Mapping[str, Any]) -> dict[str, Any]:
    """What the shapes do not tell, as the family does it."""
    levels = len(read["channel_mult"])
    habits: dict[str, Any] = {"image_size": {7: 512, 6: 256, 5: 128, 4: 64}.get(levels, 2 ** (levels + 2))}
    if read["resblock_updown"] or network is AdmClassifier:
        widths = [
            int(mult * read["model_channels"])
            for level, mult in enumerate(read["channel_mult"])
            if 2**level in read["attention_resolutions"] or level == levels - 1
        ]
        return {**habits, "num_head_channels": math.gcd(64, *widths)}
    return {**habits, "num_heads": 4 if read["use_scale_shift_norm"] else 1}


class _Shapes:
    """Questions that the structure asks of a state dict."""

    def __init__(self, state: Mapping[str, Tensor]):
        self.state = state
        self.parts = {".".join(key.split(".")[:n]) for key in state for n in (1, 2, 3, 4)}
        self.inputs = 1 + self._largest("input_blocks")
        self.outputs = 1 + self._largest("output_blocks")

    def _largest(self, half: str) -> int:
        indices = [part.split(".")[1] for part in self.parts if part.startswith(half + ".")]
        return max((int(index) for index in indices if index.isdecimal()), default=-1)

    def shape(self, key: str, ndim: int = 1) -> torch.Size:
        if key not in self.state:
            raise BadWeights(f"The weights are not those of an ADM network: '{key}' is missing.")
        if self.state[key].ndim < ndim:
            raise BadWeights(f"The weights are not those of an ADM network: '{key}' is no array of {ndim} axes.")
        return self.state[key].shape

    def is_residual(self, block: int) -> bool:
        return f"input_blocks.{block}.0.in_layers" in self.parts

    def has_attention(self, block: int) -> bool:
        return f"input_blocks.{block}.1" in self.parts

    def widens(self, block: int) -> bool:
        return f"input_blocks.{block}.0.skip_connection" in self.parts

    def doubles(self, block: int) -> bool:
        return any(
            f"output_blocks.{block}.{index}.{kind}" in self.parts for index in (1, 2) for kind in ("in_layers", "conv")
        )

    def fits(self, depth: int) -> bool:
        """Whether `depth` residual blocks a level explain where the blocks resample, widen and attend."""
        period = depth + 1
        if self.inputs % period or (self.outputs and self.outputs != self.inputs):
            return False
        halvings = set(range(period, self.inputs, period))
        plain = {block for block in range(1, self.inputs) if not self.is_residual(block)}
        if plain and plain != halvings:
            return False
        doublings = {block for block in range(self.outputs) if self.doubles(block)}
        pooled = bool(plain) and not any(f"input_blocks.{block}.0.op" in self.parts for block in plain)
        if self.outputs and doublings != (set() if pooled else {block - 1 for block in halvings}):
            return False
        for block in range(1, self.inputs):
            first = block - block % period + 1
            if block in halvings and (self.has_attention(block) or self.widens(block)):
                return False
            if block not in halvings and self.has_attention(block) != self.has_attention(first):
                return False
            if self.widens(block) and block != first:
                return False
        return True

    def depth(self) -> int:
        """Residual blocks a level. Where several explain a classifier (no attention, one width), 2 is likeliest."""
        fitting = [depth for depth in range(1, self.inputs) if self.fits(depth)]
        if not fitting:
            raise BadWeights("The weights look like an ADM network, but their blocks form no even levels.")
        return min(fitting, key=lambda depth: abs(depth - 2))


def _structure(state: Mapping[str, Tensor]) -> tuple[type[Adm] | type[AdmClassifier], dict[str, Any]]:
    """The class of the network and all arguments that leave a trace in its shapes."""
    shapes = _Shapes(state)
    base = shapes.shape("time_embed.0.weight", 2)[1]
    first = shapes.shape("input_blocks.0.0.weight", 3)
    depth = shapes.depth()
    starts = range(1, shapes.inputs, depth + 1)
    widths = [shapes.shape(f"input_blocks.{start}.0.out_layers.3.bias")[0] for start in starts]
    halving = depth + 1
    conv_resample = f"input_blocks.{halving}.0.op" in shapes.parts
    updown = shapes.inputs > halving and shapes.is_residual(halving)
    read = {
        "in_channels": first[1],
        "model_channels": base,
        "num_res_blocks": depth,
        "attention_resolutions": [2**i for i, start in enumerate(starts) if shapes.has_attention(start)],
        "channel_mult": [_multiplier(width, base) for width in widths],
        "conv_resample": conv_resample or updown or len(widths) == 1,
        "dims": len(first) - 2,
        "use_scale_shift_norm": shapes.shape("input_blocks.1.0.emb_layers.1.bias")[0] == 2 * widths[0],
        "resblock_updown": updown,
    }
    if not shapes.outputs:
        return AdmClassifier, {**read, **_head(shapes, len(widths), len(first) - 2)}
    read["out_channels"] = shapes.shape("out.2.bias")[0]
    read["num_classes"] = shapes.shape("label_emb.weight", 2)[0] if "label_emb.weight" in state else None
    if first[1] == 6 and read["out_channels"] in (3, 6):
        return AdmSuperRes, {**read, "in_channels": 3}
    return Adm, read


def _multiplier(width: int, base: int) -> float:
    """The `channel_mult` that gives `width`: whole where it can be, and never cut to a narrower level."""
    if width % base == 0:
        return width // base
    return width / base if int(width / base * base) == width else (width + 0.5) / base


def _head(shapes: _Shapes, levels: int, dims: int) -> dict[str, Any]:
    """The pool of a classifier, its number of classes and, from the attention pool, the picture size."""
    if "out.2.positional_embedding" in shapes.state:
        positions = shapes.shape("out.2.positional_embedding", 2)[1] - 1
        size = round(positions ** (1 / dims)) * 2 ** (levels - 1)
        return {
            "pool": "attention",
            "image_size": size,
            "out_channels": shapes.shape("out.2.c_proj.bias")[0],
        }
    if "out.1.weight" in shapes.state:
        return {"pool": "spatial_v2", "out_channels": shapes.shape("out.3.bias")[0]}
    if "out.3.weight" in shapes.state:
        return {"pool": "adaptive", "out_channels": shapes.shape("out.3.bias")[0]}
    return {"pool": "spatial", "out_channels": shapes.shape("out.2.bias")[0]}
