"""Run the commands of docs/clip.md and put what they print back under them: python docs/make_clip.py

    python docs/make_clip.py --folders walk     # only the three folders of pictures that the walk uses

Every line of a ```console block that begins with "$ " is run, in order, in a working folder of its own with an empty
LIENZO_HOME; what it prints replaces the lines under it, without progress lines and cut to a dozen lines. The pictures
of docs/clip/ are what those commands leave, made smaller. Two to three minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tomllib
from pathlib import Path

import torch
from pages import DOCS, Page
from PIL import Image

from lienzo.tasks.drawing import Artist

PICTURES = {
    "answers.png": "answers.jpg",
    "found.png": "found.jpg",
    "copies.png": "copies.jpg",
    "pair-explained.png": "explained.jpg",
    "confusion.png": "confusion.png",
    "answer.png": "ten_lines.jpg",
}
THINGS = ("apple", "car", "cat", "fish", "house", "tree", "flower", "mushroom", "hat", "guitar")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey", "black")
MANNERS = ("", ", watercolor")


def make_folders(root: Path) -> None:
    """`album`: the gallery by its sentences; `drawn`: 200 captioned drawings; `things`: the same in folders; a pair."""
    for name in ("album", "drawn", "things"):
        (root / name).mkdir(parents=True)
    entries = tomllib.loads((DOCS / "gallery.toml").read_text(encoding="utf-8"))["picture"]
    for number, entry in enumerate(entries, 1):
        shutil.copy(DOCS / f"gallery/{number:02}.png", root / "album" / f"{named(entry['prompt'])}.png")
    make_pair(root / "album", root / "pair.png")
    things = {
        f"{'an' if colour == 'orange' else 'a'} {colour} {thing}{manner}": thing
        for thing in THINGS
        for colour in COLOURS
        for manner in MANNERS
    }
    for drawn in Artist("painter", torch.device("cpu")).draw(list(things)):
        name = named(drawn.prompt)
        picture = root / "drawn" / f"{name}.png"
        Image.fromarray(drawn.image).save(picture)
        picture.with_suffix(".txt").write_text(drawn.prompt + "\n", encoding="utf-8")
        folder = root / "things" / things[drawn.prompt]
        folder.mkdir(exist_ok=True)
        shutil.copy(picture, folder)


def make_pair(album: Path, out: Path) -> None:
    """The album's red apple and blue car side by side on white."""
    pair = Image.new("RGB", (512, 256), "white")
    for x, name in ((0, "a-red-apple"), (256, "a-blue-car")):
        pair.paste(Image.open(album / f"{name}.png").convert("RGB"), (x, 0))
    pair.save(out)


def named(prompt: str) -> str:
    """A prompt as a file name without spaces."""
    return re.sub(r"\W+", "-", prompt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=Path, metavar="DIR", help="write the folders of pictures there and stop")
    folders = parser.parse_args().folders
    if folders is not None:
        make_folders(folders)
        return
    Page("clip", "/home/you/lienzo/walk", PICTURES, make_folders).make()


if __name__ == "__main__":
    main()
