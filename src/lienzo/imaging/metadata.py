"""The recipe inside a picture: the `parameters` text that other tools read, and one JSON record of our own.

PNG carries both as text chunks, JPEG and WebP in EXIF (UserComment and MakerNote). What is read back is data: it is
capped, parsed and returned, and never changes a setting. Paths are never stored.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from PIL import Image

from lienzo import __version__
from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.imaging import containers
from lienzo.imaging.reading import FORMATS, Limits, open_picture, read_bytes

__all__ = ["LEVELS", "Level", "exif", "parse_parameters", "printable", "private", "read_recipe", "strip", "texts"]

Level = Literal["full", "parameters", "none"]
LEVELS = ("full", "parameters", "none")
VERSION = 1
KEY = "lienzo"
MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_FREE_TEXT = frozenset(
    {"prompt", "negative_prompt", "negative", "prompts", "negative_prompts", "text", "title", "caption"}
)
_EXIF_IFD, _USER_COMMENT, _MAKER_NOTE = 0x8769, 0x9286, 0x927C
_MAKER_PREFIX = b"lienzo\0"
_ROOTED = re.compile(r"(?:file:|~[\w.-]*[/\\]|[A-Za-z]:[/\\]|\\\\|\.{1,2}[/\\]|/)\S", re.IGNORECASE)
_FILE_IN_FOLDER = re.compile(r"[^:]*[/\\][^/\\]*\.[A-Za-z][A-Za-z0-9]{1,11}")
# Our name -> the name in the ecosystem's text, in the order that tools expect.
_FIELDS = {
    "steps": "Steps",
    "sampler": "Sampler",
    "schedule": "Schedule type",
    "guidance_scale": "CFG scale",
    "seed": "Seed",
    "size": "Size",
    "model_hash": "Model hash",
    "model": "Model",
    "strength": "Denoising strength",
    "clip_guidance_scale": "CLIP guidance scale",
    "version": "Version",
}
_NAMES = {label.lower(): name for name, label in _FIELDS.items()}
_NUMBERS = frozenset({"steps", "seed", "guidance_scale", "strength", "clip_guidance_scale"})


def texts(recipe: Mapping[str, Any], level: Level = "full") -> dict[str, str]:
    """The texts to store with a picture.

    Args:
        recipe: What makes the picture again: prompt, negative_prompt, steps, sampler, seed, width, height, model,
            model_hash, guidance_scale and anything else that JSON can hold.
        level: ``full`` stores the ecosystem's text and our record, ``parameters`` the former only, ``none`` nothing.

    Raises:
        BadInput: the recipe cannot become JSON, is too long, or the level is unknown.
    """
    if level not in LEVELS:
        raise BadInput(f"There is no metadata level '{printable(str(level), 40)}'; choose {', '.join(LEVELS)}.")
    if level == "none":
        return {}
    try:
        clean = private(recipe)
        found = {"parameters": format_parameters(clean)}
        if level == "full":
            found[KEY] = json.dumps({**clean, "version": VERSION}, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput("The recipe of the picture cannot be written as JSON.") from error
    found = {name: _storable(text) for name, text in found.items()}
    if any(len(text.encode()) > MAX_BYTES for text in found.values()):
        raise BadInput("The recipe of the picture is longer than 1 MiB.")
    return found


def private(value: Any, key: str = "") -> Any:
    """`value` with every path cut to its last part, so that no folder of the user's gets into a picture.

    Prompts stay as they are, unless one is nothing but an absolute path.
    """
    if isinstance(value, Mapping):
        return {str(name): private(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [private(inner, key) for inner in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str) and "://" not in value.removeprefix("file://"):
        if key in _FREE_TEXT:
            bare = not re.search(r"\s", value) and len(re.findall(r"[/\\]", value)) > 1
            is_path = bare and _ROOTED.match(value) is not None
        else:
            is_path = (_ROOTED.match(value) or _FILE_IN_FOLDER.fullmatch(value)) is not None
        return PureWindowsPath(PurePosixPath(value).name).name if is_path else value
    return value


def format_parameters(recipe: Mapping[str, Any]) -> str:
    """The text that A1111 writes and Civitai and others read: prompt, negative prompt, one line of settings."""
    values = dict(recipe)
    if "width" in values and "height" in values:
        values["size"] = f"{values['width']}x{values['height']}"
    values["version"] = f"Lienzo {__version__}"
    pairs = (f"{label}: {_quoted(values[name])}" for name, label in _FIELDS.items() if values.get(name) is not None)
    lines = [str(values.get("prompt", ""))]
    if values.get("negative_prompt"):
        lines.append(f"Negative prompt: {values['negative_prompt']}")
    return "\n".join([*lines, ", ".join(pairs)])


def parse_parameters(text: str) -> dict[str, Any]:
    """What the `parameters` text of any tool says, under our names; unknown settings keep their own in lower case.

    Never fails: a text without settings is a prompt. Longer texts than 1 MiB give nothing.
    """
    if len(text) > MAX_BYTES:
        return {}
    lines = text.strip().split("\n")
    settings = _parse_line(lines[-1])
    if len(settings) < 3:
        settings = {}
    else:
        lines.pop()
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.rstrip("\r") for line in lines):
        if line.startswith("Negative prompt:"):
            into = negative
            line = line.removeprefix("Negative prompt:").strip()
        into.append(line)
    found: dict[str, Any] = {"prompt": "\n".join(prompt)}
    if negative:
        found["negative_prompt"] = "\n".join(negative)
    for label, value in settings.items():
        _put_setting(found, _NAMES.get(label, label), value)
    return found


def read_recipe(source: str | Path | bytes) -> dict[str, Any] | None:
    """The recipe in a picture, or None when it has none.

    Our own record is taken where there is one of this version (its key "version" is 1); otherwise the `parameters`
    text of any tool. Broken or oversized metadata counts as none.

    Raises:
        BadPicture: the file cannot be read at all.
    """
    data = source if isinstance(source, bytes) else read_bytes(source, Limits().file_bytes)
    found = _stored_texts(data)
    record = _parse_record(found.get(KEY, ""))
    if record is not None:
        return record
    return parse_parameters(found["parameters"]) if found.get("parameters") else None


def strip(path: str | Path, out: str | Path, *, exist_ok: bool = False) -> None:
    """Write a copy of a picture without any metadata; its pixels stay bit for bit.

    Raises:
        BadPicture: the file is no sound PNG, JPEG or WebP.
        BadInput: `out` exists and may not be replaced, or cannot be written.
    """
    data = read_bytes(path, Limits().file_bytes)
    open_picture(data)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        try:
            orientation = int(image.getexif().get(0x0112, 1))
        except Exception:  # broken EXIF has no orientation
            orientation = 1
    plain = containers.without_metadata(data, orientation if orientation in range(1, 9) else 1)
    with replacing(out, exist_ok=exist_ok) as temporary:
        temporary.write_bytes(plain)


def exif(found: Mapping[str, str]) -> Image.Exif:
    """`texts` as EXIF for JPEG and WebP: UserComment as other tools write it, our record as MakerNote."""
    made = Image.Exif()
    table = made.get_ifd(_EXIF_IFD)
    if "parameters" in found:
        table[_USER_COMMENT] = b"UNICODE\0" + found["parameters"].encode("utf-16-be")
    if KEY in found:
        table[_MAKER_NOTE] = _MAKER_PREFIX + found[KEY].encode()
    return made


def _storable(text: str) -> str:
    """Text that every container can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n\r"]', text) else text


def _parse_line(line: str) -> dict[str, str]:
    """``Name: value, Name: "quoted, value"`` as a table with names in lower case; linear in the length."""
    found: dict[str, str] = {}
    decoder, position = json.JSONDecoder(), 0
    while position < len(line) and len(found) < 200:
        colon = line.find(":", position)
        if colon < 0:
            break
        label = line[position:colon].strip().lower()
        begin = colon + 1
        while line[begin : begin + 1] == " ":
            begin += 1
        value, end = None, -1
        if line[begin : begin + 1] == '"':
            try:
                value, end = decoder.raw_decode(line, begin)
            except ValueError:
                value = None
        if not isinstance(value, str):
            end = line.find(",", begin)
            end = len(line) if end < 0 else end
            value = line[begin:end].strip()
        comma = line.find(",", end)
        position = len(line) if comma < 0 else comma + 1
        if not re.fullmatch(r"\w[\w /().-]{0,60}", label):
            return {}
        found.setdefault(label, value)
    return found


def _put_setting(found: dict[str, Any], name: str, value: str) -> None:
    if name == "size" and (match := re.fullmatch(r"(\d{1,6})x(\d{1,6})", value)):
        found["width"], found["height"] = int(match[1]), int(match[2])
    elif name in _NUMBERS and re.fullmatch(r"-?\d{1,20}", value):
        found[name] = int(value)
    elif name in _NUMBERS and re.fullmatch(r"-?\d{1,20}\.\d{1,20}", value):
        found[name] = float(value)
    elif name == "version":
        found["made_with"] = value  # "version" itself marks our own record
    elif name not in ("prompt", "negative_prompt"):
        found[name] = value


def _parse_record(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        record = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("version") != VERSION or isinstance(record["version"], bool):
        return None
    return record if _depth_within(record, MAX_DEPTH) else None


def _depth_within(value: Any, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_depth_within(item, depth - 1) for item in inner)


def _stored_texts(data: bytes) -> dict[str, str]:
    if data.startswith(containers.PNG_SIGNATURE):
        return containers.png_texts(data, MAX_BYTES)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "WEBP")) as image:
            table = image.getexif().get_ifd(_EXIF_IFD)
    except Exception:  # whatever a broken file makes Pillow raise, it has no recipe
        return {}
    found = {}
    comment, note = table.get(_USER_COMMENT), table.get(_MAKER_NOTE)
    if isinstance(comment, bytes) and 8 <= len(comment) <= 2 * MAX_BYTES:
        encodings = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}
        found["parameters"] = comment[8:].decode(encodings.get(comment[:8], "utf-8"), "replace")
    if isinstance(note, bytes) and note.startswith(_MAKER_PREFIX) and len(note) <= MAX_BYTES:
        found[KEY] = note.removeprefix(_MAKER_PREFIX).decode("utf-8", "replace")
    return found
