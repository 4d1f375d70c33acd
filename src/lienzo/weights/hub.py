"""Models of huggingface.co by name, through `huggingface_hub` (extra `hub`): fetched once, then read from its cache."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.weights.places import FOLDER_FILES

Answer = TypeVar("Answer")
PLAIN = ("*.json", "*.txt", "*.model")
PIPELINE_INDEX = "model_index.json"
"""Names the parts of a pipeline of diffusers, each in a folder of its name."""
NOT_FETCHED = ("safety_checker",)
_WEIGHTS = re.compile(r"(diffusion_pytorch_)?model(-\d{5}-of-\d{5})?\.safetensors")
_HALF_WEIGHTS = re.compile(r"(diffusion_pytorch_)?model(\.fp16)?(-\d{5}-of-\d{5})?(\.fp16)?\.safetensors")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@\w[\w./-]*)?")


def fetch(name: str) -> Path:
    """The folder of a model, downloaded where it is not in the cache.

    Args:
        name: `org/name`, or `org/name@revision`.

    Raises:
        BadInput: `huggingface_hub` is missing, the name is none, there is no such model, or no network and no copy.
    """
    return Path(_asked(name, _download))


def fetch_pipeline(name: str) -> Path | None:
    """The folder of a pipeline of diffusers, its safetensors downloaded; None where the model is no pipeline.

    Args:
        name: `org/name`, or `org/name@revision`.

    Raises:
        BadInput: as `fetch`, or a part of the pipeline exists only as a pickle.
    """
    folder = _asked(name, _download_pipeline)
    return None if folder is None else Path(folder)


def is_kept(name: str) -> bool:
    """Whether the cache holds a model, so that it was asked for before."""
    if not _NAME.fullmatch(name):
        return False
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    files = (PIPELINE_INDEX, *FOLDER_FILES)
    return any(isinstance(try_to_load_from_cache(repository, file, revision=revision or None), str) for file in files)


def _asked(name: str, download: Callable[[Any, str, str | None], Answer]) -> Answer:
    """What `download(huggingface_hub, repository, revision)` gives, its errors as sentences."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"'hub:{printable(name, 100)}' is no model of the hub; write hub:org/name.")
    repository, _, revision = name.partition("@")
    try:
        import huggingface_hub
    except ImportError as error:
        raise BadInput("Models of the hub need huggingface_hub: pip install 'lienzo[hub]'.") from error
    from huggingface_hub import errors

    try:
        return download(huggingface_hub, repository, revision or None)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise BadInput(f"The hub has no open model '{printable(name, 100)}'.") from error
    except errors.LocalEntryNotFoundError as error:
        raise BadInput(
            f"The model '{printable(name, 100)}' is not on this machine, and the hub is unreachable."
        ) from error
    except Exception as error:
        if not isinstance(error, OSError | ValueError) and not _is_network(error):
            raise
        reason = printable(str(error).strip().partition("\n")[0], 200)
        raise BadInput(f"The model '{printable(name, 100)}' cannot be fetched from the hub: {reason}.") from error


def _download(hub: Any, repository: str, revision: str | None) -> str:
    """The folder of the plain files and of one file of weights, so pickles only where nothing else holds them."""
    if _offline():
        return _kept(hub, repository, revision)
    try:
        there = {file.rfilename for file in hub.HfApi().model_info(repository, revision=revision).siblings or ()}
    except Exception as error:
        if not _is_network(error):
            raise
        return _kept(hub, repository, revision)
    weights = next((file for file in FOLDER_FILES if file in there), None)
    if weights is None:
        raise BadInput(f"The hub's model '{printable(repository, 100)}' has none of {', '.join(FOLDER_FILES)}.")
    return hub.snapshot_download(repository, revision=revision, allow_patterns=[*PLAIN, weights])


def _download_pipeline(hub: Any, repository: str, revision: str | None) -> str | None:
    """The folder of a pipeline: for each part its settings, and its safetensors in full precision or, failing that,
    in half."""
    if _offline():
        return _kept_pipeline(hub, repository, revision)
    try:
        info = hub.HfApi().model_info(repository, revision=revision)
    except Exception as error:
        if not _is_network(error):
            raise
        return _kept_pipeline(hub, repository, revision)
    there = [file.rfilename for file in info.siblings or ()]
    if PIPELINE_INDEX not in there:
        return None
    folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=[PIPELINE_INDEX]))
    try:
        index = json.loads((folder / PIPELINE_INDEX).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"The {PIPELINE_INDEX} of '{printable(repository, 100)}' is broken.") from error
    parts = [part for part in index if part not in NOT_FETCHED] if isinstance(index, dict) else []
    wanted = [PIPELINE_INDEX]
    for part in parts:
        wanted += _files_of(part, [file for file in there if file.startswith(f"{part}/")])
    return hub.snapshot_download(repository, revision=revision, allow_patterns=wanted)


def _files_of(part: str, there: list[str]) -> list[str]:
    """What is fetched of one part of a pipeline, out of its files.

    Raises:
        BadInput: its weights are pickles.
    """
    plain = [file for file in there if file.endswith(tuple(pattern[1:] for pattern in PLAIN))]
    full, half = (_matching(pattern, there) for pattern in (_WEIGHTS, _HALF_WEIGHTS))
    if not half and any(file.endswith((".bin", ".pt", ".ckpt")) for file in there):
        raise BadInput(f"The hub has the part '{printable(part, 60)}' only as a pickle, which Lienzo does not open.")
    return plain + (full or half)


def _matching(pattern: re.Pattern[str], files: Iterable[str]) -> list[str]:
    return [file for file in files if pattern.fullmatch(file.partition("/")[2])]


def _kept_pipeline(hub: Any, repository: str, revision: str | None) -> str | None:
    folder = hub.snapshot_download(
        repository, revision=revision, allow_patterns=[PIPELINE_INDEX], local_files_only=True
    )
    return folder if (Path(folder) / PIPELINE_INDEX).is_file() else None


def _kept(hub: Any, repository: str, revision: str | None) -> str:
    """The folder in the cache, if it has all that was fetched."""
    missing: Exception = hub.errors.LocalEntryNotFoundError("nothing is kept")
    for weights in FOLDER_FILES:
        wanted = [*PLAIN, weights]
        try:
            folder = hub.snapshot_download(repository, revision=revision, allow_patterns=wanted, local_files_only=True)
        except hub.errors.LocalEntryNotFoundError as error:
            missing = error
            continue
        if (Path(folder) / weights).is_file():
            return folder
    raise missing


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _is_network(error: Exception) -> bool:
    """Whether the hub could not be reached. The library's way of talking to the network changes between versions."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    answered = getattr(error, "response", None) is not None
    return not answered and bool(kinds & {"httpx", "httpx2", "httpcore", "httpcore2", "requests"})
