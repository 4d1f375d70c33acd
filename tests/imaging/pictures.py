"""Small pictures and broken files for the imaging tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def gradient(height: int = 24, width: int = 32) -> np.ndarray:
    """uint8 (H, W, 3) in which every pixel differs from its neighbours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 7 % 256, y * 9 % 256, (x + y) * 3 % 256], -1).astype(np.uint8)


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **options)
    return file.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks with right checksums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        parts.append(struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content)))
    return b"".join(parts)


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
