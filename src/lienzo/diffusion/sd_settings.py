"""The `.yaml` beside a checkpoint of Stable Diffusion: what it was trained with, as CompVis publishes it.

`v2-1_768.safetensors` is read with `v2-1_768.yaml`. Followed are what the U-Net predicts (`parameterization`), the
noise schedule (`linear_start`, `linear_end`, `beta_schedule`, `timesteps`, `cosine_s`), the scale of the latents
(`scale_factor`), their size in training (`image_size`), the heads of the U-Net's attention, and the layer at which
the text encoder is read. What the weights tell too has to agree with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.diffusion.ldm_shapes import config_from
from lienzo.diffusion.schedules import alphas_cumprod, cosine, ldm_linear, ldm_sqrt, ldm_sqrt_linear
from lienzo.diffusion.sd_parts import Parts, Prediction
from lienzo.weights.beside import read_yaml

ENDING = ".yaml"
MAX_STEPS = 10_000
MAX_SIDE = 512  # positions of the latents
SHAPES = ("in_channels", "out_channels", "model_channels", "num_res_blocks", "channel_mult", "attention_resolutions",
          "context_dim", "use_linear_in_transformer")  # fmt: skip
"""Settings of the U-Net that its weights tell too."""
HUGGING_FACE, OPEN_CLIP = "FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder"
LAYERS = {HUGGING_FACE: {"last": 0}, OPEN_CLIP: {"last": 0, "penultimate": 1}}
"""Text encoders by class, and how many of their blocks are left out for each name of a layer."""


def with_settings(found: Parts, checkpoint: Path) -> Parts:
    """The parts of one file, with what the `.yaml` beside it says; a `.yaml` of another kind is left aside.

    Raises:
        BadWeights: the settings cannot be read, make no sense, or contradict the weights.
    """
    path = checkpoint.with_suffix(ENDING)
    table = read_yaml(path)
    if table is None or "model" not in table:
        return found
    return _Settings(path, table).applied(found)


class _Settings:
    """One file of settings; its faults name it."""

    def __init__(self, path: Path, table: Mapping[str, Any]):
        self.path = path
        self.params = self.table(self.table(table, "model"), "params")

    def applied(self, found: Parts) -> Parts:
        """The parts as the settings complete them."""
        if "unet_config" not in self.params:
            raise self.fault("describe no U-Net of latent diffusion (model.params.unet_config)")
        return replace(
            found,
            prediction=self.prediction(found.prediction),
            betas=self.betas(found.betas),
            scale_factor=self.scale_factor(found.scale_factor),
            unet_config=self.unet(found.unet),
            text_skip=self.text_skip(found.text),
            latent_size=self.whole(self.params, "image_size", MAX_SIDE),
            settings=self.path,
        )

    def prediction(self, told: Prediction | None) -> Prediction | None:
        said = self.params.get("parameterization")
        if said is None:
            return told
        if said not in ("eps", "v"):
            raise self.fault(f"say parameterization = {_shown(said)}; it should be eps or v")
        if told not in (None, said):
            raise self.contradiction("parameterization", said, told)
        return said

    def betas(self, told: Tensor | None) -> Tensor | None:
        """The schedule, where one of its ends or its kind is given; the rest is as in CompVis' program by default."""
        params = self.params
        if not {"linear_start", "linear_end", "beta_schedule"} & params.keys():
            return told
        steps = self.whole(params, "timesteps", MAX_STEPS) or 1000
        start = self.number(params, "linear_start", 1.0) or 1e-4
        end = self.number(params, "linear_end", 1.0) or 2e-2
        kinds = {
            "linear": partial(ldm_linear, start=start, end=end),
            "sqrt_linear": partial(ldm_sqrt_linear, start=start, end=end),
            "sqrt": partial(ldm_sqrt, start=start, end=end),
            "cosine": partial(cosine, s=self.number(params, "cosine_s", 1.0) or 0.008),
        }
        kind = params.get("beta_schedule", "linear")
        if not isinstance(kind, str) or kind not in kinds:
            raise self.fault(f"say beta_schedule = {_shown(kind)}; it should be one of {', '.join(kinds)}")
        try:
            said = kinds[kind](steps)
        except BadInput as error:
            raise self.fault(f"give no noise schedule: {str(error).rstrip('.')}") from error
        if told is None:
            return said
        here, there = (alphas_cumprod(each).log() for each in (said, told))
        # one of them may have been kept in half precision
        if len(here) != len(there) or not torch.allclose(here, there, rtol=1e-2, atol=1e-3):
            raise self.fault("give another noise schedule than the checkpoint holds")
        return told

    def scale_factor(self, told: float | None) -> float | None:
        said = self.number(self.params, "scale_factor", 1e6)
        if said is None or (told is not None and self.params.get("scale_by_std") is True):
            return told
        if told is not None and abs(said - told) > 1e-2 * abs(told):
            raise self.contradiction("scale_factor", said, told)
        return said if told is None else told

    def unet(self, state: Mapping[str, Tensor]) -> dict[str, int] | None:
        """The heads, once everything that the weights tell too agrees with them."""
        params = self.table(self.table(self.params, "unet_config"), "params")
        told = config_from(state)
        for name in SHAPES:
            said, there = (_comparable(name, each.get(name)) for each in (params, told))
            if said is not None and said != there:
                raise self.contradiction(name, params[name], there)
        for name in ("num_head_channels", "num_heads"):
            if params.get(name, -1) != -1:
                count = self.whole(params, name, MAX_STEPS) or 1
                widths = {int(told["model_channels"] * factor) for factor in told["channel_mult"]}
                if any(width % count for width in widths):
                    raise self.fault(f"say {name} = {count}, which does not divide its {min(widths)} channels")
                return {name: count}
        return None

    def text_skip(self, state: Mapping[str, Tensor]) -> int | None:
        config = self.params.get("cond_stage_config")
        target = config.get("target") if isinstance(config, dict) else None
        kind = target.rpartition(".")[2] if isinstance(target, str) else ""
        if kind not in LAYERS:
            return None
        there = OPEN_CLIP if any(key.startswith("model.") for key in state) else HUGGING_FACE
        if kind != there:
            raise self.contradiction("cond_stage_config.target", kind, there)
        params = config.get("params") if isinstance(config, dict) else None
        layer = params.get("layer", "last") if isinstance(params, dict) else "last"
        if not isinstance(layer, str) or layer not in LAYERS[kind]:
            raise self.fault(f"read the text encoder at {_shown(layer)}; it should be {' or '.join(LAYERS[kind])}")
        return LAYERS[kind][layer]

    def table(self, outer: Mapping[str, Any], name: str) -> dict[str, Any]:
        inner = outer.get(name)
        if not isinstance(inner, dict):
            raise self.fault(f"have no table '{name}' where one belongs")
        return inner

    def number(self, table: Mapping[str, Any], name: str, most: float) -> float | None:
        """A number above 0, also in the notation 1e-4, which YAML takes for text."""
        said = table.get(name)
        if said is None:
            return None
        try:
            value = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else 0.0
        except (ValueError, OverflowError):
            value = 0.0
        if not 0 < value < most:
            raise self.fault(f"say {name} = {_shown(said)}, which makes no sense")
        return value

    def whole(self, table: Mapping[str, Any], name: str, most: int) -> int | None:
        value = self.number(table, name, most + 1)
        if value is not None and value != int(value):
            raise self.fault(f"say {name} = {_shown(table[name])}, which makes no sense")
        return None if value is None else int(value)

    def contradiction(self, name: str, said: Any, there: Any) -> BadWeights:
        return self.fault(f"say {name} = {_shown(said)}, and its weights {_shown(there)}")

    def fault(self, what: str) -> BadWeights:
        file = printable(self.path.name, 100)
        return BadWeights(
            f"The settings '{file}' beside the checkpoint {what}; put the right file there or take it away."
        )


def _comparable(name: str, value: Any) -> Any:
    """A setting of the U-Net without its freedom of notation: one value for all levels, or a list."""
    if not isinstance(value, list):
        return value
    if name == "attention_resolutions" and all(isinstance(each, int) for each in value):
        return sorted(value)
    same = name != "channel_mult" and value and all(each == value[0] for each in value)
    return value[0] if same else value


def _shown(value: Any) -> str:
    try:
        return printable(value if isinstance(value, str) else repr(value), 60)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
