"""What the pages of docs/ that are made by running their own commands share: a shell, and the page with its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
LINES = 13
WIDTH = 960  # pixels of the widest picture
Pictures = Mapping[str | tuple[str, ...], str]
PROGRESS = re.compile(r"^\S+ [\d,]+ of [\d,]+[,.]|^saved ")


class Shell:
    """Runs commands in a working folder where `lienzo` and `python` are this Python's; `examples` is beside it.

    Args:
        root: an empty folder; the commands run in a folder of it.
        shown: what the page shows in place of that folder; its last part is the folder's name.
        lines: most lines of output that the page shows of a command.
    """

    def __init__(self, root: Path, shown: str, lines: int = LINES):
        self.root, self.shown, self.lines = root / Path(shown).name, shown, lines
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
        shown = done.stdout.replace(str(self.root), self.shown)
        lines = [line.rstrip() for line in shown.splitlines() if line.strip() and not PROGRESS.match(line)]
        return lines if len(lines) <= self.lines + 1 else [*lines[: self.lines], "…"]


@contextmanager
def shell(shown: str, lines: int = LINES) -> Iterator[Shell]:
    """A shell in a temporary folder whose name is as long as `shown`, so that the columns of tables stay in line."""
    with tempfile.TemporaryDirectory(prefix="l") as temporary:
        rest = len(shown) - len(temporary) - len(f"/{Path(shown).name}") - 1
        root = Path(temporary) / "l".ljust(max(rest, 1), "-")
        root.mkdir()
        yield Shell(root, shown, lines)


def rerun(page: str, shell: Shell) -> str:
    """The page with what its commands print now: the lines of ```console blocks that begin with "$ "."""

    def block(match: re.Match[str]) -> str:
        lines: list[str] = []
        for line in match[1].splitlines():
            if line.startswith("$ "):
                lines += [line, *shell(line[2:])]
        return "\n".join(["```console", *lines, "```"])

    return re.sub(r"^```console\n(.*?)^```$", block, page, flags=re.MULTILINE | re.DOTALL)


def fill(page: str, name: str, text: str) -> str:
    """The page with `text` between the lines ``<!-- name -->`` and ``<!-- /name -->``."""
    opening, closing = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(opening)
    _, found, after = rest.partition(closing)
    if not found:
        raise ValueError(f"The page has no part '{name}'.")
    return f"{before}{opening}{text}{closing}{after}"


def keep_pictures(root: Path, folder: Path, pictures: Pictures, width: int = WIDTH) -> None:
    """What the commands left, in a folder of docs, no wider than `width`; animations go there as they are.

    Args:
        root: where the commands ran.
        folder: of docs.
        pictures: what the commands left: its name in the folder. Several files are put side by side.
        width: in pixels.
    """
    folder.mkdir(exist_ok=True)
    for source, name in pictures.items():
        if isinstance(source, tuple):
            picture = row([Image.open(root / file).convert("RGB") for file in source])
        elif name.endswith(".gif"):
            (folder / name).write_bytes((root / source).read_bytes())
            continue
        else:
            picture = Image.open(root / source).convert("RGB")
        picture.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
        picture.save(folder / name, quality=80, optimize=True)


def row(pictures: Sequence[Image.Image], height: int = 256, gap: int = 12) -> Image.Image:
    """Pictures of one height side by side on white; small ones keep their pixels as squares."""
    scaled = [
        one.resize((round(one.width * height / one.height), height), Image.Resampling.NEAREST)
        if one.height < height
        else one.resize((round(one.width * height / one.height), height), Image.Resampling.LANCZOS)
        for one in pictures
    ]
    sheet = Image.new("RGB", (sum(one.width for one in scaled) + gap * (len(scaled) - 1), height), "white")
    left = 0
    for one in scaled:
        sheet.paste(one, (left, 0))
        left += one.width + gap
    return sheet


@dataclass(frozen=True)
class Page:
    """A page that is made by running its own commands.

    Attributes:
        name: of the file in docs, without its suffix; the pictures go to the folder of that name.
        shown: what the page shows in place of the working folder.
        pictures: what the commands leave: its name in the folder.
        prepare: makes what the commands expect to find in the working folder.
        change: what else changes in the page, before its commands run.
    """

    name: str
    shown: str
    pictures: Pictures
    prepare: Callable[[Path], None]
    change: Callable[[str], str] = field(default=lambda page: page)

    def make(self) -> None:
        """Run the page's commands, and write the page and its pictures."""
        path = DOCS / f"{self.name}.md"
        with shell(self.shown) as run:
            self.prepare(run.root)
            path.write_text(rerun(self.change(path.read_text(encoding="utf-8")), run), encoding="utf-8")
            keep_pictures(run.root, DOCS / self.name, self.pictures)
