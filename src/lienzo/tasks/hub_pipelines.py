"""Pipelines of diffusers: found by folder or by name, and opened without running or unpickling anything of theirs."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.weights.hub import PIPELINE_INDEX, fetch_pipeline
from lienzo.weights.places import HUB, model_paths, models_folder, sha256

LIBRARIES = ("diffusers", "transformers")
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")
"""Parts that judge or describe pictures; where a pipeline can do without them, it does."""
NEEDS_MORE = ("image", "control_image", "num_frames")  # arguments that text alone does not give
_PART = re.compile(r"[a-z]\w*")
_WORDLESS = ("special_tokens_map.json", "added_tokens.json")  # of tokenizers
_KEPT_FILES = (".json", ".txt", ".model", ".safetensors")


@dataclass(frozen=True)
class Source:
    """Where a pipeline is.

    Attributes:
        folder: that holds its index and its parts.
        name: for people and for recipes: the folder's own name, or ``hub:org/name@commit``.
        commit: of the hub, if it came from there.
    """

    folder: Path
    name: str
    commit: str | None = None

    @property
    def index(self) -> dict[str, Any]:
        """The class of the pipeline under ``_class_name``, and (library, class) of each part that it has.

        Raises:
            BadWeights: it is broken.
        """
        try:
            found = json.loads((self.folder / PIPELINE_INDEX).read_text("utf-8"))
            parts = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
            there = {name: value for name, value in parts.items() if value[:1] != (None,)}
            known = all(_PART.fullmatch(name) and len(value) == 2 for name, value in there.items())
            if known and all(isinstance(text, str) for value in there.values() for text in value):
                return {"_class_name": str(found["_class_name"]), **there}
        except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise BadWeights(f"The {PIPELINE_INDEX} of '{printable(self.name, 100)}' is broken.") from error
        raise BadWeights(f"The {PIPELINE_INDEX} of '{printable(self.name, 100)}' names no parts that can be.")

    def digest(self) -> str:
        """What tells its files from all others: the commit, or a sha256 over theirs."""
        if self.commit is not None:
            return self.commit
        total = hashlib.sha256()
        for path in self.files():
            total.update(f"{path.parent.name}/{path.name} {sha256(path)}\n".encode())
        return total.hexdigest()

    def files(self) -> list[Path]:
        """The files of its parts."""
        parts = sorted(name for name in self.index if not name.startswith("_"))
        there = [path for part in parts for path in sorted((self.folder / part).glob("*"))]
        return [path for path in there if path.suffix in _KEPT_FILES and path.is_file()]


def find_pipeline(name: str) -> Source | None:
    """The pipeline of a name or path as `create` takes it; None where it is none, so that it names a network.

    Raises:
        BadInput: it is of the hub and cannot be had.
    """
    if name.startswith(HUB):
        folder = fetch_pipeline(name.removeprefix(HUB))
        if folder is None:
            return None
        commit = folder.name if folder.parent.name == "snapshots" else None
        return Source(folder, f"{name.partition('@')[0]}@{commit}" if commit else name, commit)
    path = Path(name).expanduser()
    own = models_folder() / name
    if path.name == name and _has_index(own):
        return Source(own, name)
    if path.name == name and name in model_paths():
        return None
    return Source(path, path.resolve().name) if _has_index(path) else None


def _has_index(folder: Path) -> bool:
    try:
        return (folder / PIPELINE_INDEX).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def diffusers_for(source: Source) -> ModuleType:
    """The library, loaded.

    Raises:
        BadInput: it is missing, or does not load.
    """
    shown = printable(source.name, 100)
    try:
        with _quiet(), _mute():
            importlib.import_module("transformers")
            return importlib.import_module("diffusers")
    except ImportError as error:
        if all(importlib.util.find_spec(name) for name in LIBRARIES):
            raise BadInput(f"'{shown}' is a pipeline of diffusers, which does not load: {_first(error)}.") from error
        raise BadInput(f"'{shown}' is a pipeline of diffusers, which is missing: pip install 'lienzo[hub]'.") from error
    except RuntimeError as error:
        raise BadInput(f"'{shown}' is a pipeline of diffusers, which does not load: {_first(error)}.") from error


def pipeline_class(source: Source) -> type[Any]:
    """The class of a pipeline that makes pictures from text alone.

    Raises:
        BadInput: diffusers is missing, or the class is of another kind.
    """
    diffusers = diffusers_for(source)
    with _quiet(), _mute():
        table = importlib.import_module("diffusers.pipelines.auto_pipeline").AUTO_TEXT2IMAGE_PIPELINES_MAPPING
        name = source.index["_class_name"]
        found = {kind.__name__: kind for kind in table.values()}.get(name)
    shown = f"'{printable(source.name, 100)}' is a {printable(name, 60)}"
    if found is None and not hasattr(diffusers, name):
        raise BadInput(f"{shown}, which diffusers {diffusers.__version__} does not have.")
    if found is None or any(needed in signature(found.__call__).parameters for needed in NEEDS_MORE):
        raise BadInput(f"{shown}, which does not make pictures from text alone.")
    return found


def open_pipeline(source: Source, device: torch.device) -> Any:
    """A pipeline with its weights on the device: bfloat16 or float16 on a GPU, float32 on a CPU.

    Raises:
        BadInput: diffusers is missing, or the pipeline does not make pictures from text alone.
        BadWeights: a part is missing, broken, incomplete, or only there as a pickle.
    """
    kind, index = pipeline_class(source), source.index
    parts: dict[str, Any] = {name: None for name in LEFT_OUT if name in kind._optional_components}
    for name in index:
        if not name.startswith("_") and name not in parts:
            network = _network_class(source, name)
            if network is None:
                _check_files(source, name)
            else:
                parts[name] = _open_network(source, name, network, number_type(device))
    with _quiet(), words_for(source, "it"):
        made = kind.from_pretrained(
            str(source.folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, **parts
        )
        made.set_progress_bar_config(disable=True)
        return made.to(device)


def number_type(device: torch.device) -> torch.dtype:
    """What pipelines compute in."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def _network_class(source: Source, part: str) -> type[nn.Module] | None:
    """The class of a part that has weights; None for tokenizers, schedulers and the like.

    Raises:
        BadWeights: the index names something that is no part of diffusers or transformers.
    """
    library, name = source.index[part]
    shown = f"'{printable(f'{library}.{name}', 80)}'"
    with _quiet(), _mute():
        place: Any
        if library in LIBRARIES:
            place = importlib.import_module(library)
        else:  # small networks that live beside their pipeline
            place = getattr(importlib.import_module("diffusers.pipelines"), library, None)
        found = getattr(place, name, None) if isinstance(place, ModuleType) else None
    if not isinstance(found, type) or not hasattr(found, "from_pretrained"):
        raise BadWeights(f"The part '{part}' is a {shown}, which the installed libraries do not have.")
    return found if issubclass(found, nn.Module) else None


def _check_files(source: Source, part: str) -> None:
    """Refuse what the libraries would put an empty thing in the place of.

    Raises:
        BadWeights: a part is missing, or a tokenizer has no words.
    """
    files = [path.name for path in (source.folder / part).glob("*") if path.suffix in _KEPT_FILES]
    words = [name for name in files if not name.endswith("config.json") and name not in _WORDLESS]
    if not files or ("tokenizer_config.json" in files and not words):
        raise BadWeights(f"The part '{part}' of '{printable(source.name, 100)}' is missing.")


def _open_network(source: Source, part: str, network: Any, dtype: torch.dtype) -> nn.Module:
    """A network whose every tensor was in the files.

    Raises:
        BadWeights: there are no safetensors, or they are broken or incomplete.
    """
    folder = source.folder / part
    shown = f"part '{part}' of '{printable(source.name, 100)}'"
    there = [path.name for path in folder.glob("*.safetensors")]
    if not there:
        pickled = any(folder.glob("*.bin"))
        why = "is only there as a pickle, which Lienzo does not open here" if pickled else "has no safetensors"
        raise BadWeights(f"The {shown} {why}.")
    half = all(".fp16" in name for name in there)
    number = "torch_dtype" if network.__module__.startswith("diffusers.") else "dtype"
    given = {number: dtype, "variant": "fp16" if half else None}
    with _quiet(), words_for(source, f"the part '{part}'"):
        made, info = network.from_pretrained(
            str(folder), output_loading_info=True, use_safetensors=True, local_files_only=True, **given
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise BadWeights(f"The {shown} lacks {len(missing)} tensors, one of them '{printable(missing[0], 80)}'.")
    return made.eval()


@contextmanager
def words_for(source: Source, part: str = "it") -> Iterator[None]:
    """Whatever the libraries raise about files that do not fit, in one sentence."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadInput(
            "The GPU has too little memory for it; try --batch 1, a smaller --size, --device cpu."
        ) from error
    except Exception as error:  # theirs are of every kind, down to KeyError and TypeError
        name = printable(source.name, 100)
        what = f"'{name}'" if part == "it" else f"{part[0].upper()}{part[1:]} of '{name}'"
        raise BadWeights(f"{what} does not work: {_first(error)}.") from error


def _first(error: Exception) -> str:
    """The first sentence of an error, without the folders that it names."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    text = re.sub(r"(?:/[\w.@+-]+){2,}/", "", text)
    return printable(text, 200).rstrip(". ")


@contextmanager
def hushed() -> Iterator[None]:
    """The libraries write logs and progress bars of their own; ours are events."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    voices = [sys.modules[f"{name}.utils.logging"] for name in LIBRARIES if f"{name}.utils.logging" in sys.modules]
    moving = [voice for voice in voices if voice.is_progress_bar_enabled()]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    for voice in moving:
        voice.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for voice in moving:
            voice.enable_progress_bar()


@contextmanager
def _quiet() -> Iterator[None]:
    """`hushed`, and no warnings: for imports and for loading, where they are many."""
    with hushed(), warnings.catch_warnings(action="ignore"):
        yield


@contextmanager
def _mute() -> Iterator[None]:
    """No logging at all, for imports, which set the loggers' levels anew."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
