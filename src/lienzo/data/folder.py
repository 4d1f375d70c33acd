"""Pictures in folders: what each shows by captions beside it or by the folder it is in, and which split it is of."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lienzo.core.errors import BadInput
from lienzo.data.captions_beside import captions_beside
from lienzo.data.listing import Listing
from lienzo.data.trees import FileTree
from lienzo.imaging.reading import Limits

Split = Literal["train", "val", "test", "all"]
_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def rooted(tree: FileTree) -> FileTree:
    """Without folders around everything, as archives have them; one that is called after a split stays."""
    while len(tree.folders()) == 1 and all("/" in path for path in tree.files):
        (only,) = tree.folders()
        if only.lower() in _SPLIT_OF:
            break
        tree = tree.below(only)
    return tree


def pictures_in(tree: FileTree, split: Split = "train") -> Listing:
    """The pictures of a folder in the order of their paths.

    Captions come from tables and texts beside them (see `captions_beside`), never from file names. Where there are
    none and every picture lies one folder down, two folders or more, those are the classes. Folders ``train``,
    ``val`` and ``test`` around everything else are splits.

    Raises:
        BadInput: there are no pictures, none in that split, or a table of captions cannot be read.
    """
    everything = tree.pictures()
    if not everything:
        raise BadInput(f"{tree.title} holds no pictures (PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF).")
    tops = {path.partition("/")[0] if "/" in path else "" for path in everything}
    divided = all(top.lower() in _SPLIT_OF for top in tops)
    chosen = [path for path in everything if not divided or _is_of(path, split)]
    check_split(tree.title, split, {_SPLIT_OF[top.lower()] for top in tops} if divided else set())
    roots = ["", *sorted(f"{top}/" for top in tops if _is_of(top, split))] if divided else [""]
    captions, problems = captions_beside(tree, everything, roots)
    if divided:
        captions = {path: captions[path] for path in chosen}
    has_captions = any(captions.values())
    classes = [] if has_captions else _classes(everything, divided)
    numbers = {name: number for number, name in enumerate(sorted(set(classes)))}
    class_of = dict(zip(everything, classes)) if len(numbers) > 1 else {}

    def read(row: int) -> bytes:
        return tree.read(chosen[row], Limits.file_bytes)

    return Listing(
        title=tree.title,
        names=tuple(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path in chosen),
        read=read,
        stamps=tuple(tree.files[path] for path in chosen),
        captions=tuple(captions[path] for path in chosen) if has_captions else (),
        labels=np.array([numbers[class_of[path]] for path in chosen], np.int64) if class_of else None,
        label_names=tuple(numbers) if class_of else (),
        problems=(*tree.problems, *problems),
    )


def check_split(title: str, split: str, present: set[str]) -> None:
    """Say what is wrong when a split is asked for that is not there; `present` is empty where nothing is divided.

    Raises:
        BadInput: there is no such split.
    """
    if split not in get_args(Split):
        raise BadInput(f"There is no split '{split}'; choose one of {', '.join(get_args(Split))}.")
    if split == "all" or split in present or (split == "train" and not present):
        return
    found = f"it has {', '.join(sorted(present))}" if present else "it is not divided into splits"
    raise BadInput(f"{title} has no split '{split}'; {found}.")


def _is_of(path: str, split: str) -> bool:
    return split in ("all", _SPLIT_OF.get(path.partition("/")[0].lower()))


def _classes(paths: list[str], divided: bool) -> list[str]:
    """The folder of each picture when all lie one folder down, or nothing."""
    inner = [path.split("/")[1:] if divided else path.split("/") for path in paths]
    return [parts[0] for parts in inner] if all(len(parts) == 2 for parts in inner) else []
