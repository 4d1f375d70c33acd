"""What the bundled painter remembers: its training pictures by their names, in several poses, and their colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.data.fingerprints import fingerprint
from lienzo.data.recolour import PAINTS
from lienzo.data.records import Record
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode, picture_batches
from lienzo.diffusion.picture_memory import memorise
from lienzo.diffusion.poses import moved, random_poses
from lienzo.diffusion.refiner_recipe import Reminded
from lienzo.diffusion.remembering_recipe import Remembered
from lienzo.tasks.training_sets import Prepared, encode_texts, kept

POSES = 16  # in which each picture is seen, upright first
TRANSLATED = 0.5  # weight of a Spanish or Russian name in a key, beside the English one


def remembered(
    prepared: Prepared, rows: np.ndarray, data: CodedPictures, code: LinearCode
) -> tuple[CodedPictures, Remembered]:
    """The pictures with captions that name no colour, and what the recipe knows of them besides.

    Args:
        prepared: all pictures.
        rows: those that the painter learns, originals before repainted copies.
        data: their codes, styles and captions.
        code: the linear code.
    """
    told = reminded(prepared, rows, data.caption_rows)
    records = [prepared.data.records[row] for row in rows if row < prepared.plain]
    called = [name_of(record) for record in records]
    names = list(dict.fromkeys(called))
    by_name = dict(zip(called, records, strict=True))
    keys = name_vectors([by_name[word] for word in names], prepared)
    name = torch.tensor([names.index(word) for word in called])
    originals = torch.from_numpy(np.flatnonzero(rows < prepared.plain))
    memory = memorise(data.codes[originals], data.style[originals], name, names, keys)
    known = Remembered(memory, originals, told.own, told.colour, posed_codes(prepared, rows, code))
    return replace(data, caption_rows=told.caption_rows), known


def reminded(prepared: Prepared, rows: np.ndarray, said: Sequence[np.ndarray]) -> Reminded:
    """Of pictures in any order: the row in the memory of each or of its original, its colour, what is said without it.

    Args:
        prepared: all pictures.
        rows: the pictures; every original of a repainted copy is among them.
        said: the captions of each.
    """
    records = [prepared.data.records[row] for row in rows]
    originals = [int(i) for i in np.argsort(rows) if rows[i] < prepared.plain]  # the memory's order is the corpus's
    slot = {records[i].key: n for n, i in enumerate(originals)}
    own = torch.tensor([slot[record.key] for record in records])
    paints = list(PAINTS)
    colour = [paints.index(word) if (word := prepared.data.colours[row]) else len(paints) for row in rows]
    return Reminded(own, torch.tensor(colour), [said[originals[n]] for n in own.tolist()])


def name_of(record: Record) -> str:
    """What a picture is remembered as."""
    english = record.captions.get("en")
    return english[0] if english else record.concept


def name_vectors(records: list[Record], prepared: Prepared) -> Tensor:
    """Directions of names: the English one, drawn a little towards its translations, (N, D)."""
    keys = encode_texts([name_of(record) for record in records], prepared.encode).float()
    for language in ("es", "ru"):
        told = [(i, own[0]) for i, record in enumerate(records) if (own := record.captions.get(language))]
        if told:
            vectors = encode_texts([text for _, text in told], prepared.encode).float()
            keys[torch.tensor([i for i, _ in told])] += TRANSLATED * F.normalize(vectors, dim=-1)
    return keys


def posed_codes(prepared: Prepared, rows: np.ndarray, code: LinearCode) -> Tensor:
    """Codes of pictures in `POSES` poses, the first upright: (POSES, N, K) fp16."""
    poses = random_poses(POSES - 1, torch.Generator().manual_seed(prepared.seed))

    def make() -> dict[str, Tensor]:
        found = torch.empty(POSES, len(rows), code.config["length"], dtype=torch.float16)
        start = 0
        for x in picture_batches(prepared.data.images[rows]):
            here = slice(start, start := start + len(x))
            found[0, here] = code.encode(x).half()
            for i, pose in enumerate(poses, 1):
                found[i, here] = code.encode(moved(x, pose.expand(len(x), 4))).half()
        return {"codes": found}

    state = (value.float().numpy() for value in code.state_dict().values())
    name = fingerprint([prepared.name, str(POSES)], rows, poses.numpy(), *state)
    return kept(prepared.folder / f"posed-{name}.safetensors", make)["codes"]
