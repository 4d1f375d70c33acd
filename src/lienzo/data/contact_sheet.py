"""A labelled sheet of pictures, to look at a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_HEIGHT = 30


def contact_sheet(images: Sequence[np.ndarray], labels: Sequence[tuple[str, str]], columns: int = 12) -> Image.Image:
    """Pictures (S, S, 3) uint8 in rows, each above its label of two lines, cut to the width of the picture."""
    side = images[0].shape[0] if len(images) else 1
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (side + 6) + 6, rows * (side + LABEL_HEIGHT) + 6), (236, 236, 236))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, (image, lines) in enumerate(zip(images, labels, strict=True)):
        left = 6 + number % columns * (side + 6)
        top = 6 + number // columns * (side + LABEL_HEIGHT)
        sheet.paste(Image.fromarray(np.asarray(image)), (left, top))
        for line, (text, colour) in enumerate(zip(lines, ("#000000", "#6e6e6e"))):
            while draw.textlength(text, font=font) > side and len(text) > 1:
                text = text[:-1]
            draw.text((left, top + side + 1 + 12 * line), text, fill=colour, font=font)
    return sheet
