"""Run the commands of docs/painting.md and put what they print back under them: python docs/make_painting.py

As make_clip.py. Where a model named `vqgan` is bundled, the page shows its canvas too. Some seven minutes on a quiet
core.
"""

from __future__ import annotations

import argparse
import shutil
from itertools import product
from pathlib import Path

from pages import DOCS, Page, Pictures, fill
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.weights.store import resolve

PICTURES: Pictures = {
    "apples.png": "apples.jpg",
    ("both.png", "story.png", "spots.png"): "told.jpg",
    ("castle.png", "from-castle.png", "sunset.png"): "castles.jpg",
    ("fish/plain.png", "fish/symmetry.png", "fish/edge.png", "fish/palette.png"): "fish.jpg",
    "trip.gif": "trip.gif",
}
CODES: Pictures = {("codes-1.png", "codes-2.png", "codes-3.png", "codes-4.png"): "vqgan.jpg"}
IN_CODES = "\n".join(
    f'$ lienzo paint "{prompt}" --canvas vqgan{begin} --size 128 --iterations 60 --cuts 8 --seed 0 '
    f"--out codes-{index}.png | grep seed"
    for index, (begin, prompt) in enumerate(product(("", " --begin drawing"), ("a red apple", "a blue fish")), 1)
)
WITH_CODES = f"""```console
{IN_CODES}
```

![A red apple and a blue fish in the codes of the bundled VQGAN, then begun from drawings](painting/vqgan.jpg)"""
WITHOUT_CODES = "No `vqgan` was among the bundled models when this page was made."


def prepare(root: Path) -> None:
    """A picture to start from, and masks: its upper part, and the halves of a wide one."""
    (root / "apples").mkdir()
    (root / "fish").mkdir()
    shutil.copy(DOCS / "gallery/05.png", root / "castle.png")
    for name, size, white in (
        ("left", (192, 96), (0, 0, 96, 96)),
        ("right", (192, 96), (96, 0, 192, 96)),
        ("sky", (256, 256), (0, 0, 256, 110)),
    ):
        mask = Image.new("L", size, "black")
        mask.paste("white", white)
        mask.save(root / f"{name}.png")


def has_codes() -> bool:
    """Whether a VQGAN is bundled."""
    try:
        resolve("vqgan")
    except BadInput:
        return False
    return True


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    codes = has_codes()
    text = WITH_CODES if codes else WITHOUT_CODES
    pictures = {**PICTURES, **(CODES if codes else {})}
    Page("painting", "/home/you/lienzo/paint", pictures, prepare, lambda page: fill(page, "vqgan", text)).make()


if __name__ == "__main__":
    main()
