"""A model of Lienzo is one safetensors file that describes itself.

Its metadata key "lienzo" holds JSON: {"version": 1, "network": a name of `NETWORKS`, "config": the constructor's
arguments, "card": what the model is, under which licence, from which data, and how good it measured}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from lienzo import __version__
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.options import one_sentence
from lienzo.core.tables import Names
from lienzo.core.text import printable
from lienzo.weights.arrays import KEY, VERSION
from lienzo.weights.beside import clip_config_beside
from lienzo.weights.detection import identify
from lienzo.weights.reading import Weights, read_metadata, read_weights
from lienzo.weights.writing import write_tensors

NETWORKS = Names(
    "network",
    {
        "clip": "lienzo.clip.model",
        "siglip": "lienzo.clip.siglip",
        "compact-clip": "lienzo.clip.compact",
        "sentence": "lienzo.clip.sentence",
        "vqgan": "lienzo.autoencoders.vqgan",
        "gumbel-vqgan": "lienzo.autoencoders.gumbel",
        "kl-autoencoder": "lienzo.autoencoders.kl",
        "dvae": "lienzo.autoencoders.dvae",
        "aesthetic-head": "lienzo.clip.aesthetic",
        "vae": "lienzo.autoencoders.vae",
        "ldm-unet": "lienzo.diffusion.ldm_unet",
        "adm": "lienzo.diffusion.adm_checkpoints",
        "disco-secondary": "lienzo.diffusion.secondary",
        "linear-code": "lienzo.diffusion.linear_code",
        "code-painter": "lienzo.diffusion.code_painter",
        "painter": "lienzo.diffusion.own_painter",
        "latent-painter": "lienzo.diffusion.latent_painter",
        "refiner": "lienzo.diffusion.refiner",
        "classcond-unet": "lienzo.diffusion.classcond_unet",
        "shuffle-unet": "lienzo.diffusion.shuffle_unet",
        "dit": "lienzo.diffusion.dit",
        "swinir": "lienzo.upscaling.swinir",
        "inception-v3": "lienzo.metrics.nets.inception",
        "efficientnet-lite0": "lienzo.nn.efficientnet_lite0",
        "lpips": "lienzo.metrics.lpips",
    },
)
"""Name -> module with `load(state, config=None) -> nn.Module`."""


class TrainingData(BaseModel):
    """One source of training data and what it may be used for."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: str
    """What it is called."""
    licence: str
    """Licence or legal status, e.g. CC0-1.0 or public domain."""
    source: str = ""
    """Where it came from, e.g. an address."""


class Measured(BaseModel):
    """A measured number and the protocol without which it means nothing."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    name: str
    """The metric, e.g. psnr."""
    value: float
    """The number."""
    protocol: str = ""
    """How it was measured, e.g. 'rgb,n=200,held-out'."""


class Card(BaseModel):
    """What a person should know of a model before using it."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    title: str
    """A short name."""
    description: str = ""
    """What it does, in a sentence or two."""
    licence: str
    """Licence of the weights."""
    training_data: list[TrainingData] | str = []
    """What it was trained on, each with its licence: a list, or a sentence that names them."""
    metrics: list[Measured] | dict[str, float] = []
    """How good it is: a list, or numbers by names that hold the protocol, as in 'psnr[rgb,n=200]'."""
    limits: str = ""
    """What it cannot do or should not be used for."""
    made_with: str = Field(default_factory=lambda: f"Lienzo {__version__}")
    """The program and version that made it."""
    sha256: str = ""
    """Hash of the network's name, configuration and tensors; filled in on saving."""


def save_model(
    path: str | Path,
    network: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    card: Card | Mapping[str, Any],
    *,
    half: bool = False,
    exist_ok: bool = True,
) -> None:
    """Write a self-describing model, whole or not at all.

    Args:
        path: The file, with suffix .safetensors.
        network: A name of `NETWORKS`.
        config: The network's constructor arguments, able to become JSON.
        state: Its state dict. Tensors that share memory are written apart.
        card: What the model is; a mapping is checked against `Card`.
        half: Store floats as float16, except tensors that it cannot hold.
        exist_ok: Whether an existing file may be replaced.

    Raises:
        BadInput: the name is no network, the suffix or card does not fit, or the disk refuses.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise BadInput(f"A model's file name ends in .safetensors; '{printable(path.name)}' does not.")
    NETWORKS[network]  # an unknown name is told here, with the closest one
    try:
        card = Card(**card) if isinstance(card, Mapping) else card
    except ValidationError as error:
        raise BadInput(f"The model card does not fit: {one_sentence(error)}") from error
    tensors = {name: _stored(state[name], half) for name in sorted(state)}
    card = card.model_copy(update={"sha256": content_hash(network, config, tensors)})
    record = {"version": VERSION, "network": network, "config": dict(config), "card": card.model_dump()}
    described = {KEY: json.dumps(record, ensure_ascii=False, sort_keys=True)}
    write_tensors(path, tensors, described, exist_ok=exist_ok)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """The network of a weight file, in evaluation mode and float32.

    A file of Lienzo says itself what it is; any other is recognised by the names of its tensors. The heads and the
    activation of a CLIP from Hugging Face or open_clip are read from the configuration beside it, if it is there.

    Raises:
        BadWeights: the file is broken, of no known network, or does not fit its network.
    """
    weights = read_weights(path)
    state = {name: _full(tensor) for name, tensor in weights.tensors.items()}
    name = printable(Path(path).name, 100)
    if KEY in weights.metadata:
        record = _record(weights.metadata[KEY], name)
        network, config = record["network"], record["config"]
        if network not in NETWORKS:
            raise BadWeights(f"The model '{name}' is of a network '{printable(network, 40)}' that Lienzo lacks.")
        module = import_module(NETWORKS[network])
    else:
        network, module = identify(weights.tensors)
        config = clip_config_beside(Path(path), weights.tensors) if network in ("clip", "siglip") else None
    try:
        loaded = module.load(state, config)
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadWeights(f"The weight file '{name}' does not fit the network '{network}'.") from error
    return loaded.to(device).eval()


def read_card(path: str | Path) -> Card:
    """The card of a model of Lienzo, without reading its tensors.

    Raises:
        BadWeights: the file is broken or is no model of Lienzo.
    """
    return Card(**read_record(path)["card"])


def read_record(path: str | Path) -> dict[str, Any]:
    """The checked {"version", "network", "config", "card"} of a model of Lienzo."""
    name = printable(Path(path).name, 100)
    metadata = read_metadata(path)
    if KEY not in metadata:
        raise BadWeights(f"The weight file '{name}' has no card: it was not saved by Lienzo.")
    return _record(metadata[KEY], name)


def content_hash(network: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the network's name, its configuration and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps([network, dict(config)], sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def matches_card(weights: Weights) -> bool:
    """Whether the content of a model of Lienzo is what its card was written for."""
    record = _record(weights.metadata[KEY], "model")
    return record["card"]["sha256"] == content_hash(record["network"], record["config"], weights.tensors)


def _record(text: str, name: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadWeights(f"The model '{name}' has a description that is not JSON.") from error
    if not isinstance(record, dict) or type(record.get("version")) is not int:
        raise BadWeights(f"The model '{name}' has a broken description.")
    if record["version"] != VERSION:
        raise BadWeights(f"The model '{name}' was saved by a newer Lienzo (its version is {record['version']}).")
    if not isinstance(record.get("network"), str) or not isinstance(record.get("config"), dict):
        raise BadWeights(f"The model '{name}' does not say what network it is.")
    try:
        record["card"] = Card(**record["card"]).model_dump()
    except (ValidationError, KeyError, TypeError) as error:
        raise BadWeights(f"The model '{name}' has a broken card.") from error
    return record


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.dtype in (torch.float32, torch.float64, torch.bfloat16):
        halved = tensor.half()
        if torch.isfinite(halved).all() or not torch.isfinite(tensor).all():
            tensor = halved
    return tensor.clone(memory_format=torch.contiguous_format)


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
