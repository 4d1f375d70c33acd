"""Names of models and where their files are: those that come with the package, the user's own, and the hub's.

Nothing here loads torch, so that a task which only looks a name up begins at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.files import replacing
from lienzo.core.text import printable

BUNDLED = Path(__file__).parent.parent / "bundled"
RUN_MODEL = "model.safetensors"  # what a training run leaves in its folder, and Hugging Face's models
FOLDER_FILES = (RUN_MODEL, "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
"""The weights that stand for a folder; the first that is there."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".tar", ".pkl", ".bin")
HUB = "hub:"
_HEAD = 100 << 20  # bytes that safetensors allows for names and shapes
_NAME = re.compile(r"\w[\w.+-]{0,199}")


def home() -> Path:
    """The user's folder of Lienzo: $LIENZO_HOME, or the platform's place for user data."""
    given = os.environ.get("LIENZO_HOME")
    if given:
        return Path(given)
    import platformdirs  # here, for bundled models are trained where it is not installed

    return Path(platformdirs.user_data_dir("lienzo", appauthor=False))


def models_folder() -> Path:
    """The user's own models. It may not exist yet."""
    return home() / "models"


def resolve(name_or_path: str | Path) -> Path:
    """The file of a model given by name or by path.

    A name is looked up in the user's models first, then among those that come with Lienzo. Anything with a folder
    in it or with the suffix of a weight file is a path; the folder of a training run, or of a model of Hugging Face
    or open_clip, stands for the model in it. `hub:org/name` is downloaded from huggingface.co once and then kept.

    Raises:
        BadInput: there is no such model; the sentence names the closest ones.
    """
    text = os.fspath(name_or_path)
    if text.startswith(HUB):
        from lienzo.weights.hub import fetch

        return weights_in(fetch(text.removeprefix(HUB)), text)
    path = Path(text).expanduser()
    if isinstance(name_or_path, Path) or path.name != text or path.suffix.lower() in SUFFIXES:
        if path.is_file():
            return path
        if path.is_dir():
            return weights_in(path, text)
        raise BadInput(f"The model file '{printable(text, 200)}' does not exist.")
    paths = model_paths()
    if _NAME.fullmatch(text) and text in paths:
        return paths[text]
    if path.is_dir() and any((path / name).is_file() for name in FOLDER_FILES):
        return weights_in(path, text)
    close = difflib.get_close_matches(text, paths, n=2, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(repr(name) for name in close)}?"
    else:
        hint = f"there are {', '.join(sorted(paths))}." if paths else "no models are installed; give a file."
    raise BadInput(f"There is no model '{printable(text, 100)}'; {hint}")


def weights_in(folder: Path, name: str) -> Path:
    """The weight file that a folder stands for; `name` is what an error calls the folder.

    Raises:
        BadInput: there is none.
    """
    for file in FOLDER_FILES:
        if (folder / file).is_file():
            return folder / file
    raise BadInput(f"The model file '{printable(name, 200)}' is a folder without {RUN_MODEL}; give a file in it.")


def sha256(path: str | Path) -> str:
    """The sha256 of a file in hexadecimal; remembered in the store until its size or time changes.

    Raises:
        BadInput: the file cannot be read.
    """
    return _remembered(Path(path), "", lambda file: hashlib.file_digest(file, "sha256").hexdigest())  # type: ignore[arg-type]


def weights_digest(path: str | Path) -> str:
    """A sha256 of a weight file's tensors, remembered like that of a file: their names, shapes, types and numbers.

    What a safetensors file says about itself, such as a model's card, does not count. The digest of a file of another
    format is its sha256.

    Raises:
        BadInput: the file cannot be read.
    """
    path = Path(path)
    return _remembered(path, ":tensors", _of_tensors) if path.suffix.lower() == ".safetensors" else sha256(path)


def _of_tensors(file: BinaryIO) -> str:
    length = int.from_bytes(file.read(8), "little")
    try:
        head: dict[str, Any] = json.loads(file.read(length) if length <= _HEAD else b"")
        tensors = {name: facts for name, facts in head.items() if name != "__metadata__"}
        digest = hashlib.sha256(json.dumps(tensors, sort_keys=True).encode())
    except (ValueError, AttributeError, RecursionError):  # broken, which whoever loads it says
        file.seek(0)
        digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def _remembered(path: Path, kind: str, compute: Callable[[BinaryIO], str]) -> str:
    """What is computed of a file, until its size or time changes."""
    try:
        status = path.stat()
        key = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}{kind}"
        known = _known_hashes()
        if key not in known:
            with path.open("rb") as file:
                known[key] = compute(file)
            _remember(known)
    except OSError as error:
        raise BadInput(f"'{printable(path.name)}' cannot be read: {error.strerror}.") from error
    return known[key]


def model_paths() -> dict[str, Path]:
    """Models of the store by name; the user's own hide bundled ones of the same name."""
    paths: dict[str, Path] = {}
    for folder in (models_folder(), BUNDLED):
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES and _NAME.fullmatch(path.stem) and path.is_file():
                    paths.setdefault(path.stem, path)
    return paths


def _cache() -> Path:
    return home() / "hashes.json"


def _known_hashes() -> dict[str, str]:
    try:
        known = json.loads(_cache().read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    plain = isinstance(known, dict) and all(isinstance(value, str) for value in known.values())
    return known if plain else {}


def _remember(known: dict[str, str]) -> None:
    """Keep the newest thousand hashes; a store that cannot be written only costs time."""
    newest = dict(list(known.items())[-1000:])
    with suppress(OSError, LienzoError):
        home().mkdir(parents=True, exist_ok=True)
        with replacing(_cache()) as temporary:
            temporary.write_text(json.dumps(newest), "utf-8")
