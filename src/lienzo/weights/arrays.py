"""Single tensors of a model of Lienzo as numpy arrays, for what must begin before torch could be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lienzo.core.errors import BadWeights
from lienzo.core.text import printable

VERSION = 1
KEY = "lienzo"


class Arrays:
    """A safetensors file whose tensors are read one by one.

    Attributes:
        network: the name of the network that the file says it is of; '' for a file that Lienzo did not save.
        config: the network's arguments.

    Raises:
        BadWeights: the file is missing or no sound safetensors file, or its description is broken.
    """

    def __init__(self, path: Path):
        self.name = printable(path.name, 100)
        if not path.is_file():
            raise BadWeights(f"The weight file '{self.name}' does not exist.")
        try:
            self.file = safe_open(path, "np")
            metadata = self.file.metadata() or {}
            record = json.loads(metadata[KEY]) if KEY in metadata else {}
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise BadWeights(f"The weight file '{self.name}' is broken.") from error
        self.network, self.config = "", dict[str, Any]()
        if record or KEY in metadata:
            self._describe(record)

    def _describe(self, record: Any) -> None:
        if not isinstance(record, dict) or not isinstance(record.get("version"), int):
            raise BadWeights(f"The model '{self.name}' has a broken description.")
        if record["version"] != VERSION:
            raise BadWeights(f"The model '{self.name}' was saved by a newer Lienzo (its version is newer).")
        if not isinstance(record.get("network"), str) or not isinstance(record.get("config"), dict):
            raise BadWeights(f"The model '{self.name}' does not say what network it is.")
        self.network, self.config = record["network"], record["config"]

    def read(self, key: str) -> np.ndarray:
        """A tensor in the file's number type.

        Raises:
            BadWeights: there is none of this name, or numpy lacks its number type.
        """
        try:
            return self.file.get_tensor(key)
        except (SafetensorError, TypeError, ValueError, AttributeError) as error:
            raise BadWeights(f"The weight file '{self.name}' lacks the tensor '{printable(key, 100)}'.") from error
