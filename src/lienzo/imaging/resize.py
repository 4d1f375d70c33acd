"""Resizing uint8 pictures with antialiasing."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resize_array(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3) to (height, width, 3), Lanczos; the same array when the size fits already.

    The aspect is kept by cropping the longer side around the centre first.
    """
    old_height, old_width = image.shape[:2]
    if (old_height, old_width) == (height, width):
        return image
    scale = min(old_height / height, old_width / width)
    crop_h, crop_w = min(old_height, round(height * scale)), min(old_width, round(width * scale))
    top, left = (old_height - crop_h) // 2, (old_width - crop_w) // 2
    part = Image.fromarray(image[top : top + crop_h, left : left + crop_w])
    return np.asarray(part.resize((width, height), Image.Resampling.LANCZOS)).copy()
