"""Models of huggingface.co by name, through `huggingface_hub` (extra `hub`): fetched once, then read from its cache."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.weights.places import FOLDER_FILES

PLAIN = ("*.json", "*.txt", "*.model")
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@\w[\w./-]*)?")


def fetch(name: str) -> Path:
    """The folder of a model, downloaded where it is not in the cache.

    Args:
        name: `org/name`, or `org/name@revision`.

    Raises:
        BadInput: `huggingface_hub` is missing, the name is none, there is no such model, or no network and no copy.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"'hub:{printable(name, 100)}' is no model of the hub; write hub:org/name.")
    repository, _, revision = name.partition("@")
    try:
        import huggingface_hub
    except ImportError as error:
        raise BadInput("Models of the hub need huggingface_hub: pip install 'lienzo[hub]'.") from error
    from huggingface_hub import errors

    try:
        return Path(_download(huggingface_hub, repository, revision or None))
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
