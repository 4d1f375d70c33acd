"""How well do the bundled CLIPs see? Retrieval, zero-shot, languages, noise and two plain baselines in one table.

    python benchmarks/clip_pair.py CORPUS [--models DIR] [--clip judge guide] [--cards] [--json FILE]

The 1,000 pictures are of concepts that no CLIP was trained on: the test split's emoji, filled up with its icons. A
query says thing and style ("otter, flat"); the pictures of that thing in that style are right. Baselines: ridge
regression from 128 principal components of pixels to sentence vectors, and the caption of the training picture that
is nearest in those components. The last lines say how independent the judge is: pictures are changed by at most 8 of
255 levels until the guide believes a wrong sentence, and the judge is asked what it makes of them. --cards writes the
figures into the models' cards. About three minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lienzo.clip.compact import CompactClip
from lienzo.clip.compact_recipe import noised
from lienzo.clip.embedder import open_embedder
from lienzo.clip.templates import templates_of
from lienzo.core.seeds import derived_seed
from lienzo.data.captions import MANNERS
from lienzo.data.corpus import load_corpus
from lienzo.data.phrases import STYLED, STYLES
from lienzo.data.recolour import PAINTS, recolour
from lienzo.data.records import Record
from lienzo.tasks.bundled_stages import LINE_WORK, judged
from lienzo.weights.models import Card, Measured, load_model, read_record, save_model
from lienzo.weights.reading import read_weights
from lienzo.weights.store import resolve

COUNT = 1000
COMPONENTS = 128
EIGHT = 8  # styles to choose among
TWENTY = 20  # names to choose among


@dataclass
class Withheld:
    """Pictures that no CLIP was trained on: uint8 (N, S, S, 3) and their records."""

    images: np.ndarray
    records: list[Record]


def withheld(corpus: Path) -> Withheld:
    """All pictures that the CLIPs are measured on, and icons of the test split up to `COUNT`."""
    data = load_corpus(corpus, 256, permissive=True)
    own = [i for i, record in enumerate(data.records) if judged(record)]
    icons = [i for i, record in enumerate(data.records) if record.split == "test" and record.source in LINE_WORK]
    icons.sort(key=lambda i: derived_seed(0, data.records[i].key))
    rows = [*own, *icons[: max(COUNT - len(own), 0)]]
    return Withheld(data.images[rows], [data.records[i] for i in rows])


def query(record: Record, language: str) -> str:
    """Thing and style of a picture, in words."""
    style = STYLES[record.style].words(language)[0]
    return STYLED[language][0].format(text=record.captions[language][0], style=style)


def ranks(scores: Tensor, records: Sequence[Record], among: Sequence[Record]) -> Tensor:
    """The rank of the first right picture for each query's record; (Q, N) scores, equal ones count half."""
    right = torch.tensor(
        [[other.concept == own.concept and other.style == own.style for other in among] for own in records]
    )
    best = scores.masked_fill(~right, -torch.inf).max(1, keepdim=True).values
    return 1 + ((scores > best) & ~right).sum(1) + 0.5 * ((scores == best) & ~right).sum(1)


def recalls(rank: Tensor) -> dict[str, float]:
    """R@1, 5, 10 in per cent, and the median rank."""
    return {f"R@{k}": 100 * (rank <= k).double().mean().item() for k in (1, 5, 10)} | {
        "median rank": rank.median().item()
    }


def choice(pictures: Tensor, texts: Tensor, options: Sequence[Sequence[int]]) -> float:
    """Share of pictures, in per cent, that are nearest to the first of their options among all of them."""
    hits = [int((texts[list(own)] @ picture).argmax()) == 0 for picture, own in zip(pictures, options, strict=True)]
    return 100 * float(np.mean(hits))


class Seen:
    """A CLIP, and what it makes of the withheld pictures."""

    def __init__(self, name: str, data: Withheld):
        self.embedder = open_embedder(name)
        self.data = data
        self.pictures = self.embed(data.images)

    def embed(self, images: np.ndarray) -> Tensor:
        """Unit vectors (N, D)."""
        prepared = np.stack([self.embedder.prepare(Image.fromarray(image)) for image in images])
        return torch.from_numpy(self.embedder.pictures(prepared))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (N, D)."""
        return torch.from_numpy(self.embedder.texts(list(texts)))

    def ensemble(self, words: Sequence[str], templates: Sequence[str]) -> Tensor:
        """The mean vector of each word in all templates, (words, D), as `lienzo classify` takes it."""
        said = [self.texts([template.replace("{}", word) for word in words]) for template in templates]
        return F.normalize(torch.stack(said).mean(0), dim=-1)

    def retrieval(self, language: str, rows: Sequence[int]) -> dict[str, float]:
        """Text to picture among all, for the queries of some pictures."""
        records = [self.data.records[i] for i in rows]
        scores = self.texts([query(record, language) for record in records]) @ self.pictures.T
        return recalls(ranks(scores, records, self.data.records))

    def names(self) -> float:
        """Zero-shot: the right name among `TWENTY`."""
        rng = random.Random(0)
        names = list(dict.fromkeys(record.name for record in self.data.records))
        texts = self.ensemble(names, templates_of("simple"))
        options = []
        for record in self.data.records:
            others = [i for i, name in enumerate(names) if name != record.name]
            options.append([names.index(record.name), *rng.sample(others, TWENTY - 1)])
        return choice(self.pictures, texts, options)

    def styles(self) -> float:
        """Zero-shot: the right style among `EIGHT`."""
        rng, styles = random.Random(0), sorted({record.style for record in self.data.records})
        texts = self.ensemble(styles, MANNERS["en"])
        options = []
        for record in self.data.records:
            others = [i for i, style in enumerate(styles) if style != record.style]
            options.append([styles.index(record.style), *rng.sample(others, min(EIGHT - 1, len(others)))])
        return choice(self.pictures, texts, options)

    def colours(self) -> tuple[float, int]:
        """Zero-shot: the right colour word among all, on withheld drawings painted in another colour; how many."""
        painted: list[np.ndarray] = []
        texts: list[str] = []
        options: list[list[int]] = []
        rng = random.Random(0)
        for image, record in zip(self.data.images, self.data.records, strict=True):
            wanted = rng.choice(list(PAINTS))
            turned = recolour(image[::2, ::2], wanted)
            if turned is None:
                continue
            order = [wanted, *(colour for colour in PAINTS if colour != wanted)]
            options.append(list(range(len(texts), len(texts) + len(order))))
            texts += [f"a {colour} {record.name}" for colour in order]
            painted.append(turned)
        return choice(self.embed(np.stack(painted)), self.texts(texts), options), len(painted)

    def noise(self, model: CompactClip, sigma: float) -> float:
        """R@5 of text to picture where every picture has noise of `sigma` and the tower is told."""
        prepared = np.stack([self.embedder.prepare(Image.fromarray(image)) for image in self.data.images])
        images = torch.from_numpy(prepared).permute(0, 3, 1, 2).float() / 255
        generator, parts = torch.Generator().manual_seed(0), []
        with torch.no_grad():
            for part in images.split(100):
                told = torch.full((len(part),), sigma)
                parts.append(model.encode_image(noised(part, told, generator), told))
        texts = self.texts([query(record, "en") for record in self.data.records])
        return recalls(ranks(texts @ torch.cat(parts).T, self.data.records, self.data.records))["R@5"]


def measured(name: str, data: Withheld) -> dict[str, float]:
    """All figures of one CLIP."""
    seen, model = Seen(name, data), load_model(resolve(name))
    everything = range(len(data.records))
    figures = seen.retrieval("en", everything)
    for language in ("es", "ru"):
        rows = [i for i in everything if data.records[i].captions.get(language)]
        there, here = seen.retrieval(language, rows)["R@10"], seen.retrieval("en", rows)["R@10"]
        figures |= {f"R@10 {language}": there, f"R@10 {language} / en": there / here}
    figures |= {f"name of {TWENTY}": seen.names(), f"style of {EIGHT}": seen.styles()}
    figures[f"colour of {len(PAINTS)}"], _ = seen.colours()
    if isinstance(model, CompactClip) and model.config["noise_aware"]:
        clean = seen.noise(model, 0.0)
        for sigma, t in ((0.325, 0.2), (1.0, 0.5), (1.963, 0.7)):
            figures[f"R@5 at t={t} / clean"] = seen.noise(model, sigma) / clean
    return figures


def baselines(corpus: Path, data: Withheld) -> dict[str, dict[str, float]]:
    """Two ways without a CLIP: ridge from pixels to sentence vectors, and the caption of the nearest picture."""
    learned = load_corpus(corpus, 64, permissive=True)
    rows = [i for i, record in enumerate(learned.records) if record.split == "train" and record.style in STYLES]
    records = [learned.records[i] for i in rows]
    small = np.stack(
        [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX)) for image in data.images]
    )
    x = torch.from_numpy(learned.images[rows]).flatten(1).float() / 255
    mean = x.mean(0)
    _, _, basis = torch.svd_lowrank(x - mean, COMPONENTS, niter=4)
    codes, unseen = (x - mean) @ basis, (torch.from_numpy(small).flatten(1).float() / 255 - mean) @ basis
    read = load_model(resolve("sentence"))
    with torch.no_grad():
        said = torch.cat([read(part) for part in chunks([query(record, "en") for record in records])])  # type: ignore[operator]
        asked = torch.cat([read(part) for part in chunks([query(record, "en") for record in data.records])])  # type: ignore[operator]
    gram = codes.T @ codes + 10.0 * torch.eye(COMPONENTS)
    ridge = F.normalize(said.mean(0) + unseen @ torch.linalg.solve(gram, codes.T @ (said - said.mean(0))), dim=-1)
    nearest = F.normalize(said[torch.cdist(unseen, codes).argmin(1)], dim=-1)
    asked = F.normalize(asked, dim=-1)
    found = {"ridge on pixels": asked @ ridge.T, "nearest picture's caption": asked @ nearest.T}
    return {name: recalls(ranks(scores, data.records, data.records)) for name, scores in found.items()}


def independence(data: Withheld, count: int = 100, reach: float = 8 / 255, steps: int = 20) -> str:
    """What the judge makes of pictures that were changed to please the guide (projected gradient ascent)."""
    guide, judge, read = (load_model(resolve(name)) for name in ("guide", "judge", "sentence"))
    rows = random.Random(1).sample(range(len(data.records)), count)
    small = [Image.fromarray(data.images[row]).resize((96, 96), Image.Resampling.BILINEAR) for row in rows]
    clean = torch.from_numpy(np.stack([np.asarray(image) for image in small])).permute(0, 3, 1, 2).float() / 255
    wrong = [query(data.records[row], "en") for row in rows[1:] + rows[:1]]
    with torch.no_grad():
        said = read(wrong)  # type: ignore[operator]
        wanted = {name: clip.encode_text(said) for name, clip in (("guide", guide), ("judge", judge))}  # type: ignore[operator]
    changed = clean.clone()
    for _ in range(steps):
        leaf = changed.clone().requires_grad_()
        (guide.encode_image(leaf) * wanted["guide"]).sum().backward()  # type: ignore[operator]
        assert leaf.grad is not None
        moved = changed + reach / 4 * leaf.grad.sign()
        changed = (clean + (moved - clean).clamp(-reach, reach)).clamp(0, 1)
    lines = []
    for name, clip in (("guide", guide), ("judge", judge)):
        with torch.no_grad():
            before, after = ((clip.encode_image(x) * wanted[name]).sum(1).mean().item() for x in (clean, changed))  # type: ignore[operator]
        lines.append(f"{name}: cosine with the wrong sentence {before:.3f}, after the change {after:.3f}")
    return "\n".join(lines)


def chunks(texts: Sequence[str], size: int = 512) -> list[list[str]]:
    """The texts in parts."""
    return [list(texts[i : i + size]) for i in range(0, len(texts), size)]


def chance(data: Withheld) -> dict[str, float]:
    """What random scores give."""
    scores = torch.rand(len(data.records), len(data.records), generator=torch.Generator().manual_seed(0))
    figures = recalls(ranks(scores, data.records, data.records))
    return figures | {
        f"name of {TWENTY}": 100 / TWENTY,
        f"style of {EIGHT}": 100 / EIGHT,
        f"colour of {len(PAINTS)}": 100 / len(PAINTS),
    }


def write_card(name: str, figures: dict[str, float], count: int) -> None:
    """Put the figures into the card of a model's file, in place of earlier ones of this script."""
    path = resolve(name)
    record, weights = read_record(path), read_weights(path)
    card, protocol = Card(**record["card"]), f"withheld concepts, n={count}"
    kept = [metric for metric in card.metrics if isinstance(metric, Measured) and metric.protocol != protocol]
    new = [Measured(name=key, value=round(value, 3), protocol=protocol) for key, value in figures.items()]
    card = card.model_copy(update={"metrics": [*kept, *new]})
    save_model(path, record["network"], record["config"], weights.tensors, card)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown: a row a figure, a column a CLIP or baseline."""
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for name in names:
        cells = (f"{figures[name]:.3g}" if name in figures else "" for figures in rows.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clip", nargs="+", default=["judge", "guide"], help="names or files of CLIPs")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cards", action="store_true", help="write the figures into the models' cards")
    given = parser.parse_args()
    data = withheld(given.corpus)
    rows = {name: measured(name, data) for name in given.clip}
    if given.cards:
        for name, figures in rows.items():
            write_card(name, figures, len(data.records))
    rows |= baselines(given.corpus, data) | {"chance": chance(data)}
    print(
        f"{len(data.records)} pictures of {len({record.concept for record in data.records})} concepts\n\n{table(rows)}"
    )
    print(f"\nPictures changed to please the guide:\n{independence(data)}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
