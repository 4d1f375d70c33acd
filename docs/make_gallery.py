"""Paint the pictures of docs/gallery.md with their commands and write the page: python docs/make_gallery.py

With --page only the page is written, from the pictures that are there; with --styles only the sheet of styles is
painted.

Every picture is the first one: seed 0, default options. What is said about each is read from docs/gallery.toml.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from PIL import Image

from lienzo.core.events import Picture
from lienzo.imaging.filters import FILTERS
from lienzo.imaging.grids import contact_sheet
from lienzo.tasks.create import Create, run
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

DOCS = Path(__file__).parent
HEAD = """# Gallery

Thirty sentences, thirty pictures: seed 0, nothing picked, nothing retouched, the models that come with Lienzo, no
network. Each picture carries its recipe: `lienzo reproduce docs/gallery/01.png` makes it again and compares.
The remark under each says what a stranger sees.

`python docs/make_gallery.py` paints them all again. Sixteen of them by the painter without a memory (upper rows) and by
the one of today (lower rows), same sentences, seed 0:

![Before and now](gallery/before-after.jpg)

`lienzo create "a castle, STYLE"`, for each style that it knows: it draws in the first eight, the others are painted
over the drawing and work with every model.

![A castle in all styles](gallery/styles.jpg)

"""
STYLED = "a castle"


def paint_styles() -> None:
    """One thing in all styles, seed 0, on one sheet."""
    styles = [*load_model(resolve("painter")).config["styles"], *FILTERS]
    wishes = [Create.make(prompt=STYLED, style=style, seed=0, size=192) for style in styles]
    pictures = [next(e.image for e in run(options) if isinstance(e, Picture)) for options in wishes]
    Image.fromarray(contact_sheet(pictures, styles, columns=6)).save(DOCS / "gallery" / "styles.jpg", quality=88)


def main() -> None:
    if "--page" not in sys.argv:
        paint_styles()
    if "--styles" in sys.argv:
        return
    entries = tomllib.loads((DOCS / "gallery.toml").read_text(encoding="utf-8"))["picture"]
    (DOCS / "gallery").mkdir(exist_ok=True)
    cells = []
    for number, entry in enumerate(entries, 1):
        path = f"docs/gallery/{number:02}.png"
        command = ["create", entry["prompt"], "--seed", "0", "--out", path, *entry.get("options", [])]
        if "--page" not in sys.argv:
            subprocess.run([sys.executable, "-m", "lienzo", *command, "--quiet"], check=True, cwd=DOCS.parent)
        shown = " ".join(["lienzo", *map(shlex.quote, command)]).replace("'", '"')
        cells.append(f"![{entry['prompt']}](gallery/{number:02}.png)<br>`{shown}`<br>{entry.get('remark', '')}")
    rows = ["| | | |", "|---|---|---|"]
    rows += ["| " + " | ".join(cells[i : i + 3]) + " |" for i in range(0, len(cells), 3)]
    (DOCS / "gallery.md").write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
