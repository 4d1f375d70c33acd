"""Training that starts from a model takes its network from it; options that say otherwise are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lienzo.core.errors import BadInput
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.core.options import Options
    from lienzo.diffusion.adm import Adm
    from lienzo.diffusion.adm_classifier import AdmClassifier
    from lienzo.diffusion.adm_flags import DiffusionSettings

DIFFUSION = {
    "learn_sigma": "learn_sigma",
    "diffusion_steps": "steps",
    "noise_schedule": "noise_schedule",
    "predict_xstart": "prediction",
    "predict_v": "prediction",
    "rescale_timesteps": "rescale_timesteps",
    "rescale_learned_sigmas": "rescale_learned_sigmas",
    "use_kl": "use_kl",
}
UNSEEN = frozenset(
    {
        "image_size", "num_heads", "num_head_channels", "num_heads_upsample", "use_new_attention_order",
        "steps", "noise_schedule", "prediction", "rescale_timesteps",
    }
)  # fmt: skip
"""What leaves no trace in weights: of a foreign file it is a guess, and the user knows better."""
FREE = frozenset({"dropout", "rescale_learned_sigmas", "use_kl"})
"""What concerns the training alone."""


def network_name(model: str) -> str | None:
    """The network of a model of Lienzo by name, file or run folder; None for a foreign file.

    Raises:
        BadInput: there is no such model.
    """
    from lienzo.weights.models import KEY, read_record
    from lienzo.weights.reading import read_metadata
    from lienzo.weights.store import resolve

    path = resolve(model)
    known = path.suffix == ".safetensors" and KEY in read_metadata(path)
    return read_record(path)["network"] if known else None


def network_of(
    options: Options, start_from: str, flags: Mapping[str, str], kind: type[Adm] | type[AdmClassifier]
) -> tuple[dict[str, Any], DiffusionSettings]:
    """The network's arguments and the diffusion of the model that training starts from, with the user's changes.

    Args:
        options: of the command; only fields that were given count.
        start_from: name or file of the model.
        flags: fields of `options` that describe the network, each with the argument that it sets; see `DIFFUSION`.
        kind: the class of network that is trained.

    Raises:
        BadInput: the model is another network, or a given option contradicts it.
    """
    from lienzo.diffusion.adm_checkpoints import diffusion_of
    from lienzo.diffusion.adm_flags import DiffusionSettings, from_flags
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    model = load_model(resolve(start_from))
    if type(model) is not kind:
        raise BadInput(
            f"'{printable(start_from)}' is a network {type(model).__name__}; this training starts from {kind.__name__}."
        )
    config, diffusion = dict(model.config), diffusion_of(model)
    if config["in_channels"] != 3:
        raise BadInput(f"'{printable(start_from)}' takes pictures of {config['in_channels']} channels, not of 3.")
    free = FREE if config["diffusion"] is not None else FREE | UNSEEN
    given = {name: getattr(options, name) for name in flags if name in options.model_fields_set}
    levels = next(name for name in flags if name.endswith("channel_mult"))
    wished = from_flags({"image_size": config["image_size"], levels: config["channel_mult"], **given})
    mine, theirs = {**wished.config, **asdict(wished.diffusion)}, {**config, **asdict(diffusion)}
    changes = {}
    for name, value in given.items():
        key = flags[name]
        if key in free:
            changes[key] = mine[key]
        elif _differ(key, mine, theirs):
            raise BadInput(
                f"'{printable(start_from)}' does not fit --{name.replace('_', '-')} {value}: its {key} is "
                f"{theirs[key]}; leave the option (or the preset that sets it) out."
            )
    settings = {name: value for name, value in changes.items() if name in DiffusionSettings.__dataclass_fields__}
    return {**config, **{k: v for k, v in changes.items() if k not in settings}}, replace(diffusion, **settings)


def _differ(key: str, given: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    mine, theirs = given[key], there[key]
    if key == "attention_resolutions":  # factors beyond the smallest level are of no effect
        possible = {2**level for level in range(len(there["channel_mult"]))}
        return possible & set(mine) != possible & set(theirs)
    if key == "num_classes":
        return (mine is None) != (theirs is None)
    return mine != theirs
