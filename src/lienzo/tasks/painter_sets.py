"""From pictures with captions to what a painter learns: codes, sentence vectors, styles; and what is mixed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.seeds import derived_seed
from lienzo.core.text import printable
from lienzo.data.phrases import find_style, plain
from lienzo.data.sets import DataSet, Pictures
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures, noise_times
from lienzo.diffusion.drawing import draw_codes
from lienzo.diffusion.linear_code import LinearCode, encode_all
from lienzo.diffusion.own_painter_recipe import pixels
from lienzo.imaging.palette import palette_of, repainted

Read = Callable[[Sequence[str]], Tensor]
SMALLEST_CROP = 0.75  # of the picture's side
MAX_STYLES = 64
CLEAREST = "flat"  # the style in which the bundled painter draws best, and which takes other colours well


@dataclass(frozen=True)
class Captioned:
    """Pictures as a painter learns them.

    Attributes:
        images: uint8 (N, S, S, 3).
        captions: of each, without words of style; none where nothing is said of it.
        style: index of each into the styles of the painter, (N,).
    """

    images: Pictures
    captions: Sequence[tuple[str, ...]]
    style: np.ndarray

    @property
    def array(self) -> np.ndarray:
        """All pictures in memory."""
        return np.asarray(self.images[np.arange(len(self.images))])


def styles_of(parts: Sequence[DataSet], given: str | None, spec: str) -> tuple[list[str], list[np.ndarray]]:
    """The styles of the parts of a data set, and which each picture is in.

    Folders of captioned pictures are styles, and so are the classes of a corpus; everything else is in one style,
    called as `given` or after the folder `spec`.

    Raises:
        BadInput: there are too many to be styles.
    """
    words = [_style_words(part, given, spec) for part in parts]
    folders = {word for part in words for word in part}
    if len(folders) > MAX_STYLES:
        raise BadInput(
            f"{printable(spec)} has {len(folders)} folders, too many to be styles; name one for all with --style."
        )
    styles = sorted(folders)
    return styles, [np.array([styles.index(word) for word in part], dtype=np.int64) for part in words]


def _style_words(data: DataSet, given: str | None, spec: str) -> list[str]:
    if given is not None:
        words = [given] * len(data)
    elif data.captions and data.labels is not None:
        words = [data.label_names[label] for label in data.labels]
    elif data.captions and len(data) and all("/" in name for name in data.names):
        words = [name.split("/")[0] for name in data.names]
    else:
        words = [Path(spec.split("::")[0]).expanduser().resolve().stem.split("{")[0]] * len(data)
    return [plain(word.replace("_", " ")) or "own" for word in words]


def captions_of_set(data: DataSet, styles: Sequence[str]) -> list[tuple[str, ...]]:
    """What is said of each picture, the style taken out: its captions, or else the name of its class."""
    if data.captions:
        told: Sequence[Sequence[str]] = data.captions
    elif data.labels is not None:
        told = [(data.label_names[label].replace("_", " "),) for label in data.labels]
    else:
        told = [()] * len(data)
    return [tuple(dict.fromkeys(find_style(text, styles)[0] for text in texts if text.strip())) for texts in told]


def coded(data: Captioned, code: LinearCode, read: Read) -> CodedPictures:
    """Codes of the pictures and vectors of their captions."""
    codes = encode_all(code, data.images) if len(data.images) else torch.zeros(0, code.config["length"])
    rows, vectors = read_all(data.captions, read)
    return CodedPictures(codes, torch.from_numpy(data.style).long(), rows, vectors)


@torch.no_grad()
def read_all(captions: Sequence[Sequence[str]], read: Read) -> tuple[list[np.ndarray], Tensor]:
    """For each picture the rows of its captions among the vectors of all texts (R, D); each text is read once."""
    texts = list(dict.fromkeys(text for own in captions for text in own)) or [""]
    row_of = {text: row for row, text in enumerate(texts)}
    vectors = torch.cat([read(texts[i : i + 1024]).half() for i in range(0, len(texts), 1024)])
    return [np.array([row_of[text] for text in own], dtype=np.int64) for own in captions], vectors


def cropped(data: Captioned, size: int, count: int, seed: int) -> Captioned:
    """Each picture as it is and in `count - 1` random crops, all at `size` pixels."""
    parts, rows = [], []
    for row in range(len(data.images)):
        rng = np.random.default_rng(derived_seed(seed, "crop", row))
        whole = torch.from_numpy(np.array(data.images[np.array([row])])).permute(0, 3, 1, 2).float()
        for i in range(count):
            side = round(whole.shape[-1] * rng.uniform(SMALLEST_CROP, 1)) if i else whole.shape[-1]
            left, top = rng.integers(0, whole.shape[-1] - side + 1, 2)
            crop = whole[..., top : top + side, left : left + side]
            small = F.interpolate(crop, (size, size), mode="bicubic", antialias=True, align_corners=False)
            parts.append(small[0].permute(1, 2, 0).clamp(0, 255).round().byte().numpy())
            rows.append(row)
    images = np.stack(parts) if parts else np.zeros((0, size, size, 3), np.uint8)
    return Captioned(images, [data.captions[row] for row in rows], data.style[rows])


@dataclass(frozen=True)
class Base:
    """The painter that is tuned, with its code and sentences that it knows."""

    painter: CodePainter
    code: LinearCode
    known: list[str]


def drawn_by(base: Base, texts: Sequence[str], read: Read, per_text: int, seed: int) -> CodedPictures:
    """Pictures of `texts` by the base, with those texts as captions: each once in its clearest style and in
    `per_text - 1` drawn at random."""
    rng = np.random.default_rng(derived_seed(seed, "prior"))
    others = torch.from_numpy(rng.integers(0, max(base.painter.no_style, 1), len(texts) * (per_text - 1)))
    style = torch.cat([torch.full((len(texts),), clearest_style(base)), others])
    rows, vectors = read_all([(text,) for text in texts], read)
    row = torch.from_numpy(np.concatenate(rows)).repeat(per_text)
    codes = _many(base, vectors[row], style, derived_seed(seed, "prior codes"), guidance=1.0)
    return CodedPictures(codes, style, [np.array([r]) for r in row.tolist()], vectors)


def in_palettes(base: Base, paintings: Captioned, names: Sequence[str], read: Read, count: int, seed: int) -> Captioned:
    """Drawings by the base in the palette and on the ground of the paintings: `count` in all, as many in each style.

    In each style the names are evenly taken, every other one with an article.
    """
    images, captions, styles = [], [], []
    for n, style in enumerate(sorted(set(paintings.style.tolist()))):
        chosen = some(names, -(-count // len(set(paintings.style.tolist()))))
        texts = [name if (i + n) % 2 else f"a {name}" for i, name in enumerate(chosen)]
        drawn_in = torch.full((len(texts),), clearest_style(base))
        rows, vectors = read_all([(text,) for text in texts], read)
        codes = _many(base, vectors[np.concatenate(rows)], drawn_in, derived_seed(seed, "drawn", n), guidance=2.0)
        drawings = np.concatenate([pixels(base.code, part) for part in codes.split(256)])
        images.append(repainted(drawings, palette_of(paintings.array[paintings.style == style], drawings)))
        captions += [(text,) for text in texts]
        styles += [style] * len(texts)
    return Captioned(np.concatenate(images), captions, np.array(styles))


def clearest_style(base: Base) -> int:
    """The style that repainted drawings are drawn in."""
    known = base.painter.config["styles"]
    return known.index(CLEAREST) if CLEAREST in known else 0


def beside_clearest(base: Base, seed: int) -> Tensor:
    """Where a new style starts: near the clearest one, whose shapes it shares, but to be told from it: (condition,)."""
    rows = base.painter.style.weight
    away = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(derived_seed(seed, "style")))
    return rows[clearest_style(base)] + 0.5 * rows.std() * away


def some(items: Sequence[str], count: int) -> list[str]:
    """Up to `count` different items, evenly taken."""
    items = list(dict.fromkeys(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def with_words(names: Sequence[str]) -> list[str]:
    """Names and the words in them, of more than two letters: what a prompt may say for short."""
    words = (word for name in names for word in name.split() if len(word) > 2 and word.isalpha())
    return list(dict.fromkeys([*names, *sorted(set(words) - _SMALL_WORDS)]))


_SMALL_WORDS = frozenset("and for from in of on the with without its".split())


@torch.no_grad()
def nearest_style(base: Base, data: CodedPictures, rows: np.ndarray, seed: int = 0) -> Tensor:
    """The embedding of that style under which the base is least surprised by some pictures: (condition,)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.from_numpy(rows)
    clean = data.codes[chosen, : base.painter.config["length"]]
    t, noise = noise_times(len(clean), generator), torch.randn(clean.shape, generator=generator)
    noisy = (1 - t[:, None]) * clean + t[:, None] * noise
    text = data.vectors[[int(data.caption_rows[r][0]) if len(data.caption_rows[r]) else 0 for r in rows]].float()
    keep = torch.tensor([len(data.caption_rows[r]) > 0 for r in rows])
    errors = []
    for style in range(base.painter.style.num_embeddings):
        answer = base.painter(noisy, t, text=text, style=torch.full((len(clean),), style), keep=keep)
        errors.append((((answer - clean) ** 2).mean(1) / t.clamp_min(0.1) ** 2).mean())
    return base.painter.style.weight[int(torch.stack(errors).argmin())].clone()


def _many(base: Base, vectors: Tensor, style: Tensor, seed: int, guidance: float) -> Tensor:
    """Codes of many sentences, in batches that a laptop can hold."""
    seeds = [derived_seed(seed, i) for i in range(len(vectors))]
    length = base.painter.config["length"]
    parts = [
        draw_codes(
            base.painter, vectors[i : i + 512], style[i : i + 512], seeds[i : i + 512], length=length, guidance=guidance
        )
        for i in range(0, len(vectors), 512)
    ]
    return torch.cat(parts)
