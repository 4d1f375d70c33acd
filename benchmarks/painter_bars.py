"""What the bundled painter can and cannot do, beside real pictures: one table, and 64 unpicked samples to look at.

    python benchmarks/painter_bars.py CORPUS [--models DIR] [--sheet out.png] [--count 100] [--json FILE]

* R@1: the judge finds the right one of 100 sentences for a picture; training prompts and withheld pairs of thing and
  style, against the real pictures.
* colour and style: "a purple cat", "a cat, soft shaded"; the word is right when a logistic regression on the judge's
  vectors, fitted to real pictures, says so. Its accuracy on real pictures that it was not fitted to stands beside.
* two things: "a fox left of a car"; both are there when the judge names each half right among 20 names. Beside it
  pictures put together from two real drawings.
* seeds: how far two pictures of one sentence differ, against two real drawings of one thing (root mean square of
  pixels in [0, 1] at 64 px).
* copies: the share of pictures that are nearer to a training picture than that one is to itself moved by two pixels
  (64 px).

The judge guides nothing and chooses nothing. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.recolour import PAINTS, recolour
from lienzo.data.told_scenes import told_scene
from lienzo.diffusion.sampling import sample
from lienzo.imaging.grids import contact_sheet
from lienzo.metrics.judging import prompt_recall
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.bench import to_bytes
from lienzo.tasks.bundled_stages import NOT_JUDGED, painted
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.painter import PainterEngine
from lienzo.tasks.engines.scene import composed, placed
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

GUIDANCE = Create.model_fields["guidance"].default
TWENTY = 20


class Studio:
    """The painter, the judge and the pictures.

    Args:
        corpus: folder of the art corpus.
        models: folder of model files, or None for the installed ones.
        count: prompts a figure.
    """

    def __init__(self, corpus: Path, models: Path | None, count: int):
        def opened(name: str) -> torch.nn.Module:
            return load_model(models / f"{name}.safetensors" if models else resolve(name))

        self.data: Corpus = load_corpus(corpus, 128, permissive=True)
        self.judge, self.read, self.count = opened("judge"), opened("sentence"), count
        device = torch.device("cpu")
        self.engine = PainterEngine(
            opened("painter"), opened("code"), self.read, opened("refiner"), device, on_white=True
        )
        self.things = [i for i, record in enumerate(self.data.records) if record.source not in NOT_JUDGED]

    def real(self, rows: Sequence[int]) -> Tensor:
        """Pictures of the corpus, (N, 3, 128, 128) in [-1, 1]."""
        return torch.from_numpy(self.data.images[list(rows)]).permute(0, 3, 1, 2).float() / 127.5 - 1

    @torch.no_grad()
    def draw(self, wish: Wish, seed: int) -> Tensor:
        """One picture (3, 128, 128) as `lienzo create` draws it before it enlarges."""
        engine, wish = composed(self.engine, wish), replace(wish, seeds=(seed,))
        noise = PictureNoise([seed], torch.device("cpu"))
        sigmas = engine.sigmas(engine.steps)
        x = sigmas[0] * noise(torch.zeros(1, *engine.latents.shape))
        for step in sample(engine.sampler, engine.denoiser(wish, 1, GUIDANCE), x, sigmas, noise=noise):
            x = step.x
        return engine.latents.finish(x, wish)[0]

    def draw_all(self, wishes: Sequence[Wish], seed: int = 0) -> Tensor:
        return torch.stack([self.draw(wish, 1000 * seed + i) for i, wish in enumerate(wishes)])

    @torch.no_grad()
    def vectors(self, pictures: Tensor) -> Tensor:
        """The judge's unit vectors of pictures in [-1, 1]."""
        return torch.cat([self.judge.encode_image((part + 1) / 2) for part in pictures.split(64)])  # type: ignore[operator]

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        return self.judge.encode_text(self.read(list(texts)))  # type: ignore[operator]

    def chosen(self, rows: Sequence[int], seed: int = 0) -> list[int]:
        """Up to `count` of the rows, at random, each of another thing with an English name."""
        rows, seen, found = list(rows), set(), []
        random.Random(seed).shuffle(rows)
        for row in rows:
            record = self.data.records[row]
            if record.concept not in seen and record.captions.get("en"):
                seen.add(record.concept)
                found.append(row)
        return found[: self.count]

    def name(self, row: int) -> str:
        return self.data.records[row].captions["en"][0]

    def learned(self) -> list[int]:
        """Rows that the painter learned from."""
        return [row for row in self.things if painted(self.data.records[row])]


@dataclass
class Figure:
    """A line of the table."""

    name: str
    ours: float
    real: float | None = None
    note: str = ""


def recall(studio: Studio, rows: list[int], name: str) -> tuple[Figure, Tensor]:
    """R@1 of pictures to their names."""
    wishes = [Wish(((studio.name(row), 1.0),), style=studio.data.records[row].style) for row in rows]
    pictures, said = studio.draw_all(wishes), studio.texts([studio.name(row) for row in rows])
    ours, real = (100 * prompt_recall(studio.vectors(x), said) for x in (pictures, studio.real(rows)))
    return Figure(f"R@1, {name}", ours, real, f"{100 * ours / real:.0f} % of real"), pictures


def fitted(studio: Studio, pictures: Tensor, labels: list[str]) -> tuple[LogisticRegression, float]:
    """A classifier fitted to four fifths of real pictures, and its accuracy in per cent on the rest."""
    vectors = studio.vectors(pictures).numpy()
    order = np.random.default_rng(0).permutation(len(labels))
    learn, rest = np.split(order, [len(order) * 4 // 5])
    known = np.array(labels)
    model = LogisticRegression(C=100.0, max_iter=2000).fit(vectors[learn], known[learn])
    return model, 100 * model.score(vectors[rest], known[rest])


def right(studio: Studio, model: LogisticRegression, pictures: Tensor, wanted: list[str]) -> float:
    return 100 * float((model.predict(studio.vectors(pictures).numpy()) == np.array(wanted)).mean())


def colours(studio: Studio) -> tuple[Figure, Tensor]:
    """Colour words."""
    rng = random.Random(1)
    images, labels = [], []
    for row in rng.sample(studio.learned(), 2500):
        colour = rng.choice(list(PAINTS))
        turned = recolour(studio.data.images[row][::2, ::2], colour)
        if turned is not None:
            images.append(turned)
            labels.append(colour)
    real = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    model, accuracy = fitted(studio, real, labels)
    able = [row for row in studio.learned() if recolour(studio.data.images[row][::2, ::2], "green") is not None]
    wanted = [list(PAINTS)[i % len(PAINTS)] for i in range(studio.count)]
    rows = studio.chosen(able, seed=2)
    wishes = [Wish(((f"a {colour} {studio.name(row)}", 1.0),)) for colour, row in zip(wanted, rows, strict=False)]
    pictures = studio.draw_all(wishes)
    return Figure("colour word", right(studio, model, pictures, wanted[: len(wishes)]), accuracy), pictures


def styles(studio: Studio) -> tuple[Figure, Tensor]:
    """Style words: things of the training set in all styles of the painter."""
    rng = random.Random(3)
    rows = rng.sample(studio.learned(), 4000)
    model, accuracy = fitted(studio, studio.real(rows), [studio.data.records[row].style for row in rows])
    known = [style for style in studio.engine.styles if style in model.classes_]
    chosen = studio.chosen(studio.learned(), seed=4)
    wanted = [known[i % len(known)] for i in range(len(chosen))]
    wishes = [Wish(((studio.name(row), 1.0),), style=style) for row, style in zip(chosen, wanted, strict=True)]
    pictures = studio.draw_all(wishes)
    return Figure("style word", right(studio, model, pictures, wanted), accuracy), pictures


def two_things(studio: Studio) -> tuple[Figure, Tensor]:
    """Both things of a sentence are there."""
    rng = random.Random(5)
    rows = studio.chosen(studio.learned(), seed=6)
    pairs = list(zip(rows, rows[1:] + rows[:1], strict=True))[: studio.count // 2]
    relations = [rng.choice(("left of", "right of", "above", "below", "and")) for _ in pairs]
    texts = [f"a {studio.name(a)} {said} a {studio.name(b)}" for (a, b), said in zip(pairs, relations, strict=True)]
    scenes = [told_scene(text) for text in texts]
    pictures = studio.draw_all([Wish(((text, 1.0),)) for text in texts])
    names = [studio.name(row) for row in rows]
    said, found = studio.texts(names), {"ours": 0, "real": 0}
    for (a, b), scene, picture in zip(pairs, scenes, pictures, strict=True):
        if scene is None:  # the sentence was not understood, so the things cannot stand anywhere
            continue
        real = torch.minimum(*(placed(studio.real([row]), box) for row, box in zip((a, b), scene.boxes, strict=True)))
        for which, whole in (("ours", picture), ("real", real[0])):
            there = []
            for row, (left, top, side) in zip((a, b), scene.boxes, strict=True):
                x, y, s = (round(share * whole.shape[-1]) for share in (left, top, side))
                part = F.interpolate(whole[None, :, y : y + s, x : x + s], (128, 128), mode="bilinear")
                own = names.index(studio.name(row))
                among = [own, *rng.sample([i for i in range(len(names)) if i != own], TWENTY - 1)]
                there.append(int((said[among] @ studio.vectors(part)[0]).argmax()) == 0)
            found[which] += all(there)
    return Figure("both things are there", *(100 * found[which] / len(pairs) for which in ("ours", "real"))), pictures


def apart(one: Tensor, other: Tensor) -> float:
    return float(((small(one) - small(other)) / 2).square().mean((1, 2, 3)).sqrt().mean())


def small(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, (64, 64), mode="bilinear", antialias=True)


def seeds(studio: Studio) -> Figure:
    """Two pictures of one sentence that names no style."""
    rows = studio.chosen(studio.learned(), seed=7)[: studio.count // 2]
    wishes = [Wish(((studio.name(row), 1.0),)) for row in rows]
    ours = apart(studio.draw_all(wishes, 1), studio.draw_all(wishes, 2))
    of: dict[str, list[int]] = {}
    for row in studio.learned():
        of.setdefault(studio.data.records[row].concept, []).append(row)
    pairs = [random.Random(row).sample(of[studio.data.records[row].concept], 2) for row in rows
             if len(of[studio.data.records[row].concept]) > 1]  # fmt: skip
    real = apart(studio.real([a for a, _ in pairs]), studio.real([b for _, b in pairs]))
    return Figure("two seeds differ by", ours, real, f"{ours / real:.2f} of two real drawings of one thing")


def copies(studio: Studio, pictures: Tensor) -> Figure:
    """Pictures that are nearer to a training picture than two pixels' move."""
    learned = small(studio.real(studio.learned())).flatten(1)
    squares, near = learned.square().sum(1), 0
    for picture in small(pictures):
        best = int((squares - 2 * learned @ picture.flatten()).argmin())
        own = learned[best].view(3, 64, 64)
        moved = F.pad(own[:, 2:, 2:], (0, 2, 0, 2), value=1.0)
        near += bool((picture - own).square().sum() < (moved - own).square().sum())
    return Figure("copies of a training picture", 100 * near / len(pictures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="folder of model files; default: the installed ones")
    parser.add_argument("--count", type=int, default=100, help="prompts a figure")
    parser.add_argument("--sheet", type=Path, default=Path("painter_bars.png"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    studio = Studio(given.corpus, given.models, given.count)
    pairs = [row for row in studio.things if studio.data.records[row].withheld_pair]
    known, known_pictures = recall(studio, studio.chosen(studio.learned()), "training prompts")
    figures, sheet = [known], [known_pictures]
    unseen, unseen_pictures = recall(studio, studio.chosen(pairs), "withheld pairs")
    for figure, pictures in ((unseen, unseen_pictures), colours(studio), styles(studio), two_things(studio)):
        figures.append(figure)
        sheet.append(pictures)
    figures += [seeds(studio), copies(studio, torch.cat([known_pictures, unseen_pictures]))]
    print(f"{'':30}{'painted':>9}{'real':>9}")
    for figure in figures:
        real = "" if figure.real is None else f"{figure.real:9.3g}"
        print(f"{figure.name:30}{figure.ours:9.3g}{real:>9}  {figure.note}")
    cells = [to_bytes(picture) for group in sheet for picture in group[:13]][:64]
    Image.fromarray(contact_sheet(cells, [""] * len(cells), columns=8)).save(given.sheet)
    print(f"{given.sheet}: the first 13 of each of five groups, unpicked")
    if given.json:
        given.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1), "utf-8")


if __name__ == "__main__":
    main()
