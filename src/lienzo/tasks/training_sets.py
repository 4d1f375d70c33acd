"""From the art corpus to what each recipe eats: captions with sentence vectors, recoloured pictures, codes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lienzo.clip.compact_recipe import COLOUR, CONCEPT, STYLE, CaptionedPictures, Scenes
from lienzo.core.files import replacing
from lienzo.core.seeds import derived_seed
from lienzo.data.captions import Caption, captions_of, colour_captions, style_captions
from lienzo.data.composed import Scene, random_scene, sentences
from lienzo.data.corpus import Corpus
from lienzo.data.fingerprints import fingerprint
from lienzo.data.phrases import COLOURS, LANGUAGES, STYLES, coloured
from lienzo.data.recolour import PAINTS, colour_name, recolour
from lienzo.data.records import Record
from lienzo.data.sets import DataSet
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode, encode_all

LINE_WORK = frozenset({"game-icons", "icon-park"})
"""Sources of one-colour signs, which do not stand in scenes and which the painter does not learn."""

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


@dataclass(frozen=True)
class Captions:
    """What is said of each picture: rows of `vectors`, and whether each of these names the style or a colour."""

    rows: list[np.ndarray]
    names_style: Tensor
    names_colour: Tensor
    vectors: Tensor

    def of(self, pictures: np.ndarray) -> list[np.ndarray]:
        """The caption rows of some pictures."""
        return [self.rows[i] for i in pictures]


def encode_captions(captions: list[list[Caption]], encode: Encode) -> Captions:
    """The captions with their sentence vectors (fp16), each sentence encoded once."""
    row_of: dict[tuple[str, bool, bool], int] = {}
    rows = [
        np.array(sorted({row_of.setdefault((c.text, c.names_style, c.names_colour), len(row_of)) for c in own}))
        for own in captions
    ]
    texts, styled, in_colour = zip(*row_of, strict=True)
    return Captions(rows, torch.tensor(styled), torch.tensor(in_colour), encode_texts(texts, encode))


@torch.no_grad()
def encode_texts(texts: Sequence[str], encode: Encode) -> Tensor:
    """Sentence vectors (N, 384), fp16."""
    order = sorted(range(len(texts)), key=lambda i: texts[i].count(" "))  # little padding
    vectors = torch.cat(
        [encode([texts[i] for i in order[k : k + 1024]]).half().cpu() for k in range(0, len(order), 1024)]
    )
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return vectors[back]


class Prepared:
    """All pictures of the corpus with their recoloured copies behind them, captions and codes; each is computed once
    and kept in `folder`, in a file that changes its name with what it was computed from.

    Args:
        corpus: 64 px pictures.
        encode: the sentence encoder.
        encoder: name of the encoder's weights, such as their hash.
        folder: gets the files.
        seed: of colours and captions.
    """

    def __init__(self, corpus: Corpus, encode: Encode, encoder: str, folder: Path, seed: int):
        self.encode, self.folder, self.seed = encode, folder, seed
        self.plain = len(corpus)
        self.name = fingerprint(corpus.images, [record.key for record in corpus.records], [str(seed)])
        self.encoder = fingerprint([self.name, encoder])
        self.data = self._coloured(choose(corpus, lambda _: True))

    def rows(self, keep: Callable[[Record], bool], *, copies: bool) -> np.ndarray:
        """The pictures whose record passes `keep`, with their recoloured copies or without."""
        among = len(self.data.records) if copies else self.plain
        return np.array([i for i in range(among) if keep(self.data.records[i])], dtype=np.int64)

    @cached_property
    def styled(self) -> Captions:
        """Captions that may name the style."""
        return self._captions(styled=True)

    @cached_property
    def unstyled(self) -> Captions:
        """Captions that do not."""
        return self._captions(styled=False)

    def codes(self, code: LinearCode) -> Tensor:
        """The linear codes (N, K) of all pictures."""
        name = fingerprint([self.name], *(value.numpy() for value in code.state_dict().values()))
        return kept(self.folder / f"codes-{name}.safetensors", lambda: {"codes": encode_all(code, self.data.images)})[
            "codes"
        ]

    def _coloured(self, plain: Coloured) -> Coloured:
        names = list(PAINTS)

        def make() -> dict[str, Tensor]:
            data = with_colours(plain, 1, self.seed)
            row_of = {record.key: row for row, record in enumerate(plain.records)}
            rows = [row_of[record.key] for record in data.records[self.plain :]]
            colours = [names.index(colour or "") for colour in data.colours[self.plain :]]
            images = torch.from_numpy(data.images[self.plain :])
            return {"images": images, "rows": torch.tensor(rows).long(), "colours": torch.tensor(colours).long()}

        found = kept(self.folder / f"colours-{self.name}.safetensors", make)
        return Coloured(
            np.concatenate([plain.images, found["images"].numpy()]),
            [*plain.records, *(plain.records[row] for row in found["rows"].tolist())],
            [*plain.colours, *(names[colour] for colour in found["colours"].tolist())],
        )

    def _captions(self, *, styled: bool) -> Captions:
        def make() -> dict[str, Tensor]:
            made = encode_captions(caption_all(self.data, styled=styled, count=3, seed=self.seed), self.encode)
            lengths = torch.tensor([len(own) for own in made.rows])
            flat = torch.from_numpy(np.concatenate(made.rows))
            return {
                "flat": flat,
                "lengths": lengths,
                "names_style": made.names_style,
                "names_colour": made.names_colour,
                "vectors": made.vectors,
            }

        which = "styled" if styled else "unstyled"
        found = kept(self.folder / f"said-{which}-{self.encoder}.safetensors", make)
        rows = np.split(found["flat"].numpy(), found["lengths"].cumsum(0)[:-1].numpy())
        return Captions(rows, found["names_style"], found["names_colour"], found["vectors"])


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in a file; made and written, whole or not at all, where it is missing."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as work:
            save_file(make(), work)
    return load_file(path)


def captioned(prepared: Prepared, rows: np.ndarray, styles: Sequence[str]) -> CaptionedPictures:
    """What the compact CLIP trains on: captions of thing, colour and style, and some of style or colour alone."""
    data, own = prepared.data, prepared.styled
    records, colours = [data.records[i] for i in rows], [data.colours[i] for i in rows]
    names = list(dict.fromkeys(record.concept for record in records))
    index = {name: i for i, name in enumerate(names)}
    manners = {style: style_captions(style) for style in styles if style in STYLES}
    paints = {colour: colour_captions(colour) for colour in PAINTS}
    more = [(text, STYLE) for texts in manners.values() for text in texts]
    more += [(text, COLOUR) for texts in paints.values() for text in texts]
    place = {text: len(own.vectors) + i for i, (text, _) in enumerate(more)}
    rng = random.Random(prepared.seed)
    caption_rows = []
    for record, colour, said in zip(records, colours, own.of(rows), strict=True):
        alone = [rng.choice(manners[record.style])] if record.style in manners else []
        alone += [rng.choice(paints[colour])] if colour else []
        caption_rows.append(np.concatenate([said, [place[text] for text in alone]]).astype(np.int64))
    says = CONCEPT + STYLE * own.names_style.long() + COLOUR * own.names_colour.long()
    return CaptionedPictures(
        images=data.images[rows],
        concept=torch.tensor([index[record.concept] for record in records]),
        style=torch.tensor([styles.index(record.style) for record in records]),
        colour=torch.tensor([list(PAINTS).index(colour) if colour else -1 for colour in colours]),
        caption_rows=caption_rows,
        says=torch.cat([says, torch.tensor([kind for _, kind in more])]),
        vectors=torch.cat([own.vectors, encode_texts([text for text, _ in more], prepared.encode)]),
    )


def composed(prepared: Prepared, rows: np.ndarray, count: int) -> Scenes:
    """Scenes of two or three of the coloured drawings among `rows`; their `Scene.rows` count in `rows`."""
    rng = random.Random(derived_seed(prepared.seed, "scenes"))
    able = [
        i for i, row in enumerate(rows)
        if prepared.data.records[row].captions.get("en") and prepared.data.records[row].source not in LINE_WORK
    ]  # fmt: skip
    layouts = [random_scene(rng.sample(able, rng.choice((2, 2, 2, 3))), rng) for _ in range(count)]
    texts = [scene_captions(layout, prepared, rows, rng) for layout in layouts]
    flat = [text for own in texts for text in own]
    ends = np.cumsum([len(own) for own in texts])[:-1]
    return Scenes(layouts, np.split(np.arange(len(flat)), ends), encode_texts(flat, prepared.encode))


def scene_captions(layout: Scene, prepared: Prepared, rows: np.ndarray, rng: random.Random) -> list[str]:
    """What is said of a scene in the languages that have a name for each thing in it."""
    found = []
    records = [prepared.data.records[rows[i]] for i in layout.rows]
    colours = [prepared.data.colours[rows[i]] for i in layout.rows]
    for language in LANGUAGES:
        if all(record.captions.get(language) for record in records):
            plain = [record.captions[language][0] for record in records]
            names = [
                coloured(name, colour, language, rng) if colour else name
                for name, colour in zip(plain, colours, strict=True)
            ]
            found += sentences(layout, names, language)
    return found


def coded(prepared: Prepared, rows: np.ndarray, code: LinearCode, styles: Sequence[str]) -> CodedPictures:
    """What the painter trains on: codes, styles and captions of pictures."""
    return CodedPictures(
        codes=prepared.codes(code)[torch.from_numpy(rows)],
        style=torch.tensor([styles.index(prepared.data.records[i].style) for i in rows]),
        caption_rows=prepared.unstyled.of(rows),
        vectors=prepared.unstyled.vectors,
    )


def shrunk(images: np.ndarray, times: int) -> np.ndarray:
    """Pictures (N, S, S, 3) uint8 at 1/times of their size, each pixel the mean of those it stands for."""
    size = images.shape[1] // times
    parts = []
    for part in np.array_split(images, max(len(images) // 256, 1)):
        blocks = part.reshape(len(part), size, times, size, times, 3)
        parts.append(blocks.mean((2, 4), dtype=np.float32).round().astype(np.uint8))
    return np.concatenate(parts)


def picture_set(prepared: Prepared, rows: np.ndarray) -> DataSet:
    """Pictures alone, for networks that read no captions."""
    images = prepared.data.images[rows]
    names = tuple(prepared.data.records[i].key for i in rows)
    return DataSet(images, names, fingerprint=fingerprint(images, names))


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
