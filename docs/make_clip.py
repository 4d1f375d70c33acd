"""Run the commands of docs/clip.md and put what they print back under them: python docs/make_clip.py

    python docs/make_clip.py --folders walk     # only the three folders of pictures that the walk uses

Every line of a ```console block that begins with "$ " is run, in order, in a working folder of its own with an empty
LIENZO_HOME; what it prints replaces the lines under it, without progress lines and cut to a dozen lines. The pictures
of docs/clip/ are what those commands leave, made smaller. Two to three minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import torch
from PIL import Image

from lienzo.tasks.drawing import Artist

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "clip.md"
HOME = "/home/you/lienzo/walk"  # shown in place of the working folder
LINES = 13
WIDTH = 960  # pixels of the widest picture
PICTURES = {  # what a command leaves: its name in docs/clip
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
PROGRESS = re.compile(r"^\S+ [\d,]+ of [\d,]+[,.]|^saved ")


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


class Shell:
    """Runs commands in a working folder where `lienzo` and `python` are this Python's; `examples` is beside it."""

    def __init__(self, root: Path):
        self.root = root / "walk"
        self.root.mkdir()
        commands = root / "bin"
        commands.mkdir()
        for name, arguments in {"lienzo": " -m lienzo", "python": ""}.items():
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n', encoding="utf-8")
            (commands / name).chmod(0o755)
        (root / "examples").symlink_to(DOCS.parent / "examples")
        self.environment = {
            **os.environ,
            "LIENZO_HOME": str(root / "home"),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "120",
            "LC_ALL": "C.UTF-8",
        }

    def __call__(self, command: str) -> list[str]:
        """The lines that a command prints, as the page shows them."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        sys.stdout.write(f"{command}\n{done.stdout}\n")
        sys.stdout.flush()
        shown = done.stdout.replace(str(self.root), HOME)
        lines = [line.rstrip() for line in shown.splitlines() if line.strip() and not PROGRESS.match(line)]
        return lines if len(lines) <= LINES + 1 else [*lines[:LINES], "…"]


def rerun(page: str, shell: Shell) -> str:
    """The page with what its commands print now."""

    def block(match: re.Match[str]) -> str:
        lines: list[str] = []
        for line in match[1].splitlines():
            if line.startswith("$ "):
                lines += [line, *shell(line[2:])]
        return "\n".join(["```console", *lines, "```"])

    return re.sub(r"^```console\n(.*?)^```$", block, page, flags=re.MULTILINE | re.DOTALL)


def keep_pictures(root: Path) -> None:
    """What the commands left, in docs/clip, no wider than WIDTH."""
    (DOCS / "clip").mkdir(exist_ok=True)
    for source, name in PICTURES.items():
        picture = Image.open(root / source).convert("RGB")
        picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
        picture.save(DOCS / "clip" / name, quality=80, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=Path, metavar="DIR", help="write the folders of pictures there and stop")
    folders = parser.parse_args().folders
    if folders is not None:
        make_folders(folders)
        return
    with tempfile.TemporaryDirectory(prefix="l") as temporary:
        # As long as what is shown in its place, so that the columns of tables stay in line.
        root = Path(temporary) / "l".ljust(max(len(HOME) - len(temporary) - len("/walk") - 1, 1), "-")
        root.mkdir()
        shell = Shell(root)
        make_folders(shell.root)
        PAGE.write_text(rerun(PAGE.read_text(encoding="utf-8"), shell), encoding="utf-8")
        keep_pictures(shell.root)


if __name__ == "__main__":
    main()
