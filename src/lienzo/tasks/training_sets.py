"""From the art corpus to what each recipe eats: captions with sentence vectors, recoloured pictures, codes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lienzo.clip.compact_recipe import CaptionedPictures
from lienzo.core.seeds import derived_seed
from lienzo.data.captions import Caption, captions_of
from lienzo.data.corpus import Corpus
from lienzo.data.phrases import COLOURS, coloured
from lienzo.data.recolour import PAINTS, colour_name, recolour
from lienzo.data.records import Record

Encode = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Coloured:
    """Pictures with their records and, where one is true of the picture, a colour word."""

    images: np.ndarray
    records: list[Record]
    colours: list[str | None]


def choose(corpus: Corpus, keep: Callable[[Record], bool]) -> Coloured:
    """The pictures whose record passes `keep`, without colour words."""
    rows = [i for i, record in enumerate(corpus.records) if keep(record)]
    return Coloured(corpus.images[rows], [corpus.records[i] for i in rows], [None] * len(rows))


def with_colours(data: Coloured, repaints: int, seed: int) -> Coloured:
    """Add a copy of each one-hue picture that says its colour, and `repaints` copies in other colours."""
    images, records, colours = [data.images], list(data.records), list(data.colours)
    for image, record in zip(data.images, data.records, strict=True):
        rng = random.Random(derived_seed(seed, record.key))
        true = colour_name(image)
        if true is not None:
            images.append(image[None])
            records.append(record)
            colours.append(true)
        for colour in rng.sample([c for c in PAINTS if c != true], repaints):
            painted = recolour(image, colour)
            if painted is not None:
                images.append(painted[None])
                records.append(record)
                colours.append(colour)
    return Coloured(np.concatenate(images), records, colours)


def caption_all(data: Coloured, *, styled: bool, count: int, seed: int) -> list[list[Caption]]:
    """The captions of every picture."""
    return [
        captions_of(record, random.Random(derived_seed(seed, record.key, i)), colour=colour, styled=styled, count=count)
        for i, (record, colour) in enumerate(zip(data.records, data.colours, strict=True))
    ]


@torch.no_grad()
def encode_captions(captions: list[list[Caption]], encode: Encode) -> tuple[list[np.ndarray], Tensor, Tensor]:
    """Rows of the vectors for each picture, whether each row names the style, and the vectors (fp16)."""
    row_of: dict[tuple[str, bool], int] = {}
    rows = [
        np.array(sorted({row_of.setdefault((c.text, c.names_style), len(row_of)) for c in own})) for own in captions
    ]
    texts = [text for text, _ in row_of]
    parts = [encode(texts[i : i + 1024]).half() for i in range(0, len(texts), 1024)]
    return rows, torch.tensor([named for _, named in row_of]), torch.cat(parts)


def captioned(data: Coloured, styles: Sequence[str], encode: Encode, seed: int) -> CaptionedPictures:
    """What the compact CLIP trains on; a colour makes a concept of its own ("purple cat" is not "cat")."""
    rows, names_style, vectors = encode_captions(caption_all(data, styled=True, count=3, seed=seed), encode)
    names = [f"{record.concept}|{colour or ''}" for record, colour in zip(data.records, data.colours, strict=True)]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return CaptionedPictures(
        images=data.images,
        concept=torch.tensor([index[name] for name in names]),
        style=torch.tensor([styles.index(record.style) for record in data.records]),
        caption_rows=rows,
        names_style=names_style,
        vectors=vectors,
    )


def distillation_texts(records: Sequence[Record], words: Sequence[str], seed: int) -> list[Caption]:
    """Sentences to imitate the teacher on: captions in three languages, and the teacher's own vocabulary."""
    rng = random.Random(seed)
    found: dict[str, Caption] = {}
    for record in records:
        own = captions_of(record, rng, count=3) + captions_of(record, rng, colour=rng.choice(list(COLOURS)), count=1)
        own += [Caption(text, text) for text in record.captions.get("en", ())]
        for caption in own:
            found.setdefault(caption.text, caption)
    for word in words:
        phrase = rng.choice(["a {}", "a picture of a {}", "the {}"]).format(word)
        painted = coloured(word, rng.choice(list(COLOURS)), "en", rng)
        for text in (word, phrase, painted):
            found.setdefault(text, Caption(text, text))
    return list(found.values())
