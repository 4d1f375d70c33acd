"""Tensors into a safetensors file, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, str], *, exist_ok: bool = True
) -> None:
    """Write contiguous tensors that share no memory.

    Raises:
        BadInput: the file exists and may not be replaced, or the disk refuses.
    """
    with replacing(path, exist_ok=exist_ok) as temporary:
        try:
            save_file(tensors, temporary, dict(metadata))
        except SafetensorError as error:
            reason = str(error).rpartition("error: ")[2].partition(" (os error")[0]
            raise BadInput(f"'{printable(path.name)}' cannot be written: {reason}.") from error
