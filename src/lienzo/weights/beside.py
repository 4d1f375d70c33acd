"""The JSON files that Hugging Face and open_clip keep beside a model's weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lienzo.core.errors import BadWeights
from lienzo.core.text import printable

OPEN_CLIP = "open_clip_config.json"
HUGGING_FACE = "config.json"
_MAX_BYTES = 16 << 20


def read_json(path: Path) -> dict[str, Any] | None:
    """The table in a JSON file; None where there is no such file.

    Raises:
        BadWeights: it cannot be read, or is no table.
    """
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _MAX_BYTES:
            raise BadWeights(f"The file '{printable(path.name)}' beside the weights is far too large.")
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadWeights(f"The file '{printable(path.name)}' beside the weights is no sound JSON.") from error
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
