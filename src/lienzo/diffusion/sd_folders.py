"""Reading the parts of Stable Diffusion from a folder in the layout of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lienzo.clip.tokenizer import END
from lienzo.core.errors import BadWeights
from lienzo.core.text import printable
from lienzo.diffusion.diffusers_keys import unet_to_ldm
from lienzo.diffusion.schedules import ldm_linear, ldm_sqrt_linear
from lienzo.diffusion.sd_parts import Parts, Prediction
from lienzo.weights.beside import read_json
from lienzo.weights.reading import read_weights

FILES = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
ENDINGS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v"}


def read_folder(folder: Path) -> Parts:
    """The parts in a folder of diffusers, with what its configuration files tell.

    Raises:
        BadWeights: a part is missing, is of another family, or its settings make no sense.
    """
    index = read_json(folder / "model_index.json") or {}
    kind = index.get("_class_name", "")
    if (folder / "text_encoder_2").exists() or "XL" in str(kind):
        raise BadWeights(f"The folder '{printable(folder.name, 60)}' holds Stable Diffusion XL, not version 1 or 2.")
    if (folder / "transformer").exists():
        raise BadWeights(f"The folder '{printable(folder.name, 60)}' holds a diffusion transformer, not a U-Net.")
    unet, vae, text = (_tensors(folder, part) for part in FILES)
    schedule = read_json(folder / "scheduler" / "scheduler_config.json") or {}
    settings = {part: read_json(folder / part / "config.json") or {} for part in FILES}
    text_config = settings["text_encoder"] or None
    gelu = bool(text_config) and settings["text_encoder"].get("hidden_act") == "gelu"
    return Parts(
        unet=unet_to_ldm(unet),
        first_stage=vae,
        text=text,
        betas=_betas(schedule),
        prediction=_prediction(schedule),
        scale_factor=_number(settings["vae"], "scaling_factor"),
        text_skip=0,  # diffusers leaves unused blocks out of the file
        text_pad=0 if gelu else END,
        unet_config=_heads(settings["unet"]),
        text_config=text_config,
    )


def _tensors(folder: Path, part: str) -> Mapping[str, Tensor]:
    stems = [FILES[part], "pytorch_model"] if part == "text_encoder" else [FILES[part]]
    for stem in stems:
        for ending in ENDINGS:
            path = folder / part / (stem + ending)
            if path.is_file():
                return read_weights(path).tensors
    raise BadWeights(
        f"The folder '{printable(folder.name, 60)}' is no Stable Diffusion of diffusers: "
        f"it has no {part}/{stems[0]}.safetensors."
    )


def _number(settings: Mapping[str, Any], key: str) -> float | None:
    value = settings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise BadWeights(f"The settings of the folder have {key} = {printable(repr(value), 40)}, which makes no sense.")
    return float(value)


def _betas(schedule: Mapping[str, Any]) -> Tensor:
    kinds = {"scaled_linear": ldm_linear, "linear": ldm_sqrt_linear}
    kind = schedule.get("beta_schedule", "scaled_linear")
    if not isinstance(kind, str) or kind not in kinds:
        raise BadWeights(f"The noise schedule '{printable(str(kind), 40)}' of the folder is none of Stable Diffusion.")
    steps = _number(schedule, "num_train_timesteps") or 1000
    start, end = _number(schedule, "beta_start") or 0.00085, _number(schedule, "beta_end") or 0.012
    return kinds[kind](int(steps), start=start, end=end)


def _prediction(schedule: Mapping[str, Any]) -> Prediction | None:
    kind = schedule.get("prediction_type")
    if kind is None:
        return None
    if kind not in PREDICTIONS:
        raise BadWeights(f"The folder says that its U-Net predicts '{printable(str(kind), 40)}'; it should be epsilon "
                         "or v_prediction.")  # fmt: skip
    return PREDICTIONS[kind]


def _heads(settings: Mapping[str, Any]) -> dict[str, int] | None:
    """The heads of the U-Net. What diffusers calls `attention_head_dim` here is their number, for each level."""
    heads = settings.get("num_attention_heads") or settings.get("attention_head_dim")
    widths = settings.get("block_out_channels")
    if heads is None:
        return None
    if type(heads) is int and heads > 0:
        return {"num_heads": heads}
    if isinstance(heads, list) and isinstance(widths, list) and len(heads) == len(widths):
        sensible = all(type(number) is int and number > 0 for number in [*heads, *widths])
        each = {width // count for width, count in zip(widths, heads)} if sensible else set()
        if len(each) == 1:
            return {"num_head_channels": each.pop()}
    raise BadWeights("The settings of the folder's U-Net give its attention no sensible heads.")
