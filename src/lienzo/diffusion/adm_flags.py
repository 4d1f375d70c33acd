"""The flags with which guided-diffusion describes a network and its diffusion, turned into our arguments.

Model cards, notebooks and configuration files of the family write, for example,
``image_size 256, num_channels 128, attention_resolutions 16, learn_sigma True``. Everything left out has the
default of guided-diffusion's scripts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Adm, AdmSuperRes, level_widths
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.gaussian import GaussianDiffusion, LossType, MeanType
from lienzo.diffusion.schedules import SCHEDULES, make_betas

NUM_CLASSES = 1000
MAX_STEPS = 100_000

CHANNEL_MULT: dict[int, tuple[float, ...]] = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
SUPER_RES_CHANNEL_MULT: dict[int, tuple[float, ...]] = {**CHANNEL_MULT, 512: (1, 1, 2, 2, 4, 4)}

DIFFUSION_DEFAULTS: dict[str, Any] = {
    "learn_sigma": False,
    "diffusion_steps": 1000,
    "noise_schedule": "linear",
    "timestep_respacing": "",
    "use_kl": False,
    "predict_xstart": False,
    "predict_v": False,  # of Salimans and Ho 2022; the originals do not know it
    "rescale_timesteps": False,
    "rescale_learned_sigmas": False,
}
MODEL_DEFAULTS: dict[str, Any] = {
    "image_size": 64,
    "num_channels": 128,
    "num_res_blocks": 2,
    "num_heads": 4,
    "num_heads_upsample": -1,
    "num_head_channels": -1,
    "attention_resolutions": "16,8",
    "channel_mult": "",
    "dropout": 0.0,
    "class_cond": False,
    "use_checkpoint": False,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "use_fp16": False,
    "use_new_attention_order": False,
    **DIFFUSION_DEFAULTS,
}
SUPER_RES_DEFAULTS: dict[str, Any] = {**MODEL_DEFAULTS, "large_size": 256, "small_size": 64}
CLASSIFIER_DEFAULTS: dict[str, Any] = {
    "image_size": 64,
    "classifier_use_fp16": False,
    "classifier_width": 128,
    "classifier_depth": 2,
    "classifier_attention_resolutions": "32,16,8",
    "classifier_channel_mult": "",  # the originals know the usual ones only
    "classifier_use_scale_shift_norm": True,
    "classifier_resblock_updown": True,
    "classifier_pool": "attention",
    **DIFFUSION_DEFAULTS,
}


@dataclass(frozen=True)
class DiffusionSettings:
    """The diffusion that a network was trained with.

    Attributes:
        noise_schedule: a name of `schedules.SCHEDULES`, such as "linear" or "cosine".
        steps: training timesteps.
        learn_sigma: the second half of the output is the learned range of the variance.
        rescale_timesteps: the network is told timesteps of 0 to 1000 whatever `steps` is.
        rescale_learned_sigmas: training weights the variational term by `steps` / 1000.
        prediction: what the network predicts: "eps" (the noise), "x0" (the clean picture) or "v".
        use_kl: training minimises the variational bound alone.
    """

    noise_schedule: str = "linear"
    steps: int = 1000
    learn_sigma: bool = True
    rescale_timesteps: bool = False
    rescale_learned_sigmas: bool = False
    prediction: MeanType = "eps"
    use_kl: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> DiffusionSettings:
        """Settings from a model file; what is left out has its default.

        Raises:
            BadInput: a value is unknown or out of its range.
        """
        defaults = asdict(cls())
        for name, value in values.items():
            if name not in defaults or type(value) is not type(defaults[name]):
                raise BadInput(f"its diffusion has a setting {name!r} that is {value!r}.")
        settings = cls(**values)
        if settings.noise_schedule not in SCHEDULES or settings.prediction not in ("eps", "x0", "v"):
            raise BadInput(f"its diffusion is unknown: {settings.noise_schedule!r}, {settings.prediction!r}.")
        if not 1 <= settings.steps <= MAX_STEPS:
            raise BadInput(f"its diffusion has {settings.steps} steps; 1 to {MAX_STEPS} are possible.")
        return settings

    def process(self) -> GaussianDiffusion:
        """The diffusion with its training loss, as guided-diffusion makes it of the same flags.

        Raises:
            BadInput: the schedule is unknown or cannot have so few steps.
        """
        loss: LossType = "rescaled_kl" if self.use_kl else "rescaled_mse" if self.rescale_learned_sigmas else "mse"
        return GaussianDiffusion(
            make_betas(self.noise_schedule, self.steps),
            mean_type=self.prediction,
            variance_type="learned_range" if self.learn_sigma else "fixed_large",
            loss_type=loss,
            rescale_timesteps=self.rescale_timesteps,
        )


@dataclass(frozen=True)
class Described:
    """What a set of flags describes: the class of the network, its arguments, and its diffusion."""

    network: type[Adm] | type[AdmClassifier]
    config: dict[str, Any]
    diffusion: DiffusionSettings

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        return self.network(**self.config)


def from_flags(flags: Mapping[str, Any]) -> Described:
    """Read guided-diffusion flags: those of a classifier when one starts with ``classifier_``, those of an
    upsampler when there is ``large_size``, else those of a diffusion model.

    Args:
        flags: name to value; lists may be text ("32,16,8") or sequences, switches may be text ("True").

    Raises:
        BadInput: an unknown flag, a value that cannot be read, or a picture size without known `channel_mult`.
    """
    if any(name.startswith("classifier_") for name in flags):
        return _classifier(_filled(flags, CLASSIFIER_DEFAULTS))
    if "large_size" in flags:
        return _diffusion_model(_filled(flags, SUPER_RES_DEFAULTS), AdmSuperRes)
    return _diffusion_model(_filled(flags, MODEL_DEFAULTS), Adm)


def _filled(flags: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in flags if name not in defaults]
    if unknown:
        raise BadInput(f"There is no model flag '{unknown[0]}'; there are {', '.join(sorted(defaults))}.")
    return {name: _like(default, flags[name], name) if name in flags else default for name, default in defaults.items()}


def _like(default: Any, value: Any, name: str) -> Any:
    """`value` in the type of the default, from text where need be."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    text = value.strip().rstrip(",").lower()
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text]
        return type(default)(text)
    except (KeyError, ValueError):
        raise BadInput(f"The model flag '{name}' was {value!r}; it should be like {default!r}.") from None


def _numbers(value: Any, name: str) -> list[float]:
    """The numbers of a list or of a text with commas; whole ones as int."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        numbers = [float(part) for part in parts if str(part).strip()]
    except (TypeError, ValueError):
        raise BadInput(f"The model flag '{name}' was {value!r}; it should be numbers with commas.") from None
    return [int(number) if number == int(number) else number for number in numbers]


def _channel_mult(size: int, table: Mapping[int, tuple[float, ...]]) -> list[float]:
    if size not in table:
        raise BadInput(
            f"There is no usual channel_mult for pictures of {size} pixels; give one, such as '1,2,3,4', "
            f"or take {', '.join(str(known) for known in sorted(table))} pixels."
        )
    return list(table[size])


def _factors(size: int, resolutions: Any, name: str) -> list[int]:
    """Downsample factors of the picture sizes at which there is attention."""
    sizes = [int(number) for number in _numbers(resolutions, name)]
    if any(number < 1 for number in sizes):
        raise BadInput(f"The model flag '{name}' was {resolutions!r}; it should be sizes in pixels.")
    return [size // number for number in sizes]


def _diffusion(flags: Mapping[str, Any]) -> DiffusionSettings:
    if flags["predict_xstart"] and flags["predict_v"]:
        raise BadInput("A network predicts the clean picture (predict_xstart) or v (predict_v), not both.")
    return DiffusionSettings(
        noise_schedule=flags["noise_schedule"],
        steps=flags["diffusion_steps"],
        learn_sigma=flags["learn_sigma"],
        rescale_timesteps=flags["rescale_timesteps"],
        rescale_learned_sigmas=flags["rescale_learned_sigmas"],
        prediction="x0" if flags["predict_xstart"] else "v" if flags["predict_v"] else "eps",
        use_kl=flags["use_kl"],
    )


def _diffusion_model(flags: Mapping[str, Any], network: type[Adm]) -> Described:
    size = flags["large_size"] if network is AdmSuperRes else flags["image_size"]
    table = SUPER_RES_CHANNEL_MULT if network is AdmSuperRes else CHANNEL_MULT
    given = _numbers(flags["channel_mult"], "channel_mult")
    same = (
        "num_res_blocks", "dropout", "use_checkpoint", "use_fp16", "num_heads", "num_head_channels",
        "num_heads_upsample", "use_scale_shift_norm", "resblock_updown", "use_new_attention_order",
    )  # fmt: skip
    config = {
        "image_size": size,
        "in_channels": 3,
        "model_channels": flags["num_channels"],
        "out_channels": 6 if flags["learn_sigma"] else 3,
        "attention_resolutions": _factors(size, flags["attention_resolutions"], "attention_resolutions"),
        "channel_mult": given or _channel_mult(size, table),
        "num_classes": NUM_CLASSES if flags["class_cond"] else None,
        **{name: flags[name] for name in same},
    }
    return Described(network, config, _diffusion(flags))


def _classifier(flags: Mapping[str, Any]) -> Described:
    size = flags["image_size"]
    name = "classifier_attention_resolutions"
    levels = _numbers(flags["classifier_channel_mult"], "classifier_channel_mult")
    levels = levels or _channel_mult(size, CHANNEL_MULT)
    config = {
        "image_size": size,
        "in_channels": 3,
        "model_channels": flags["classifier_width"],
        "out_channels": NUM_CLASSES,
        "num_res_blocks": flags["classifier_depth"],
        "attention_resolutions": _factors(size, flags[name], name),
        "channel_mult": levels,
        "use_fp16": flags["classifier_use_fp16"],
        "num_head_channels": math.gcd(64, *level_widths(levels, flags["classifier_width"])),
        "use_scale_shift_norm": flags["classifier_use_scale_shift_norm"],
        "resblock_updown": flags["classifier_resblock_updown"],
        "pool": flags["classifier_pool"],
    }
    return Described(AdmClassifier, config, _diffusion(flags))
