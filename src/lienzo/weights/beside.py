"""The settings that lie beside a model's weights: JSON of Hugging Face and open_clip, YAML of CompVis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from lienzo.core.errors import BadWeights
from lienzo.core.text import printable

OPEN_CLIP = "open_clip_config.json"
HUGGING_FACE = "config.json"
_MAX_BYTES = 16 << 20
_BROKEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, yaml.YAMLError)
"""What a reader of JSON or YAML may raise over a file that is not."""
_MAX_YAML = 64 << 10  # the published ones have 3 KiB


class _Plain(yaml.SafeLoader):
    """Plain values only, and no references, by which a small file can stand for an endless one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("references are not read")
        return super().compose_node(parent, index)


def read_json(path: Path) -> dict[str, Any] | None:
    """The table in a JSON file; None where there is no such file.

    Raises:
        BadWeights: it cannot be read, or is no table.
    """
    return _table(path, json.loads, "JSON", _MAX_BYTES)


def read_yaml(path: Path) -> dict[str, Any] | None:
    """The table in a YAML file of plain values; None where there is no such file. Nothing in it is run.

    Raises:
        BadWeights: it cannot be read, or is no table.
    """
    return _table(path, lambda text: yaml.load(text, _Plain), "YAML", _MAX_YAML)  # a SafeLoader


def _table(path: Path, parse: Callable[[str], Any], kind: str, most: int) -> dict[str, Any] | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > most:
            raise BadWeights(f"The file '{printable(path.name)}' beside the weights is far too large.")
        table = parse(path.read_text("utf-8"))
    except (OSError, *_BROKEN) as error:
        raise BadWeights(f"The file '{printable(path.name)}' beside the weights is no sound {kind}.") from error
    if not isinstance(table, dict):
        raise BadWeights(f"The file '{printable(path.name)}' beside the weights is no table.")
    return table


def clip_config_beside(path: Path, keys: Iterable[str]) -> dict[str, Any] | None:
    """The configuration of a CLIP's or SigLIP's weights, in the file of the program whose names the tensors have.

    Args:
        path: the weight file.
        keys: names of its tensors.
    """
    if any(key.startswith("vision_model.") for key in keys):
        config = read_json(path.with_name(HUGGING_FACE))
        return config if config and ("text_config" in config or "vision_config" in config) else None
    config = read_json(path.with_name(OPEN_CLIP))
    return config if config and ("model_cfg" in config or "vision_cfg" in config) else None
