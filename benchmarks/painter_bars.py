"""What the bundled painter can and cannot do, beside real pictures: one table, and 63 unpicked samples to look at.

    python benchmarks/painter_bars.py CORPUS [--models DIR] [--sheet out.png] [--count 100] [--json FILE]

* R@1: the judge finds the right one of 100 sentences for a picture; training prompts and withheld pairs of thing and
  style, against the real pictures; mean over `--seeds`.
* colour and style: "a purple cat", "a cat, soft shaded"; the word is right when a logistic regression on the judge's
  vectors, fitted to real pictures, says so. Its accuracy on real pictures that it was not fitted to stands beside.
  Style: mean over `--seeds`.
* two things: "a fox left of a car"; both are there when the judge names each half right among 20 names. Beside it
  pictures put together from two real drawings.
* touching things: "a cat wearing a crown", "a cat on a car"; both are there when the judge names the picture of each,
  where it stands, right among 20 names. Beside it scenes of real drawings, put together in the same way.
* numbers: "three cats"; right when there are so many islands of ink on the paper, each of them named right among 20.
* seeds: how far two pictures of one sentence differ, against two real drawings of one thing (root mean square of
  pixels in [0, 1] at 64 px).
* copies: the share of pictures that are nearer to a training picture than that one is to itself moved by two pixels, at
  the painter's own 128 px and at 64 px, where two pixels are twice as far.

Pictures are those of `lienzo create` before it enlarges them; of a single thing the guide chooses among as many as
there.
The judge guides nothing and chooses nothing. About fifteen minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from lienzo.core.seeds import derived_seed
from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.recolour import PAINTS, recolour
from lienzo.data.told_scenes import Apart, Thing, ToldScene, boxes_of, told_scene, worn_where
from lienzo.diffusion.sampling import sample
from lienzo.imaging.grids import contact_sheet
from lienzo.metrics.judging import prompt_recall
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.bench import to_bytes
from lienzo.tasks.bundled_stages import NOT_JUDGED, painted
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Engine, Wish
from lienzo.tasks.engines.cutouts import cut_out, grown, reached
from lienzo.tasks.engines.painter import PainterEngine
from lienzo.tasks.engines.scene import SceneEngine, composed, placed
from lienzo.tasks.perceptors import Judges, perceptor_of
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

GUIDANCE = Create.model_fields["guidance"].default
TWENTY, FEWEST = 20, 40
CELLS = 64


class Studio:
    """The painter, the judge and the pictures.

    Args:
        corpus: folder of the art corpus.
        models: folder of model files, or None for the installed ones.
        count: prompts a figure.
        seeds: seeds of each prompt of the figures that are means.
    """

    def __init__(self, corpus: Path, models: Path | None, count: int, seeds: int = 1):
        def opened(name: str) -> Any:  # each file holds a network of its own kind
            return load_model(models / f"{name}.safetensors" if models else resolve(name))

        self.data: Corpus = load_corpus(corpus, 128, permissive=True)
        self.judge, self.read, self.count, self.seeds = opened("judge"), opened("sentence"), count, range(seeds)
        device = torch.device("cpu")
        self.guide = Judges([perceptor_of(opened("guide"), "guide", device)], device)
        self.engine = PainterEngine(
            opened("painter"), opened("code"), self.read, opened("refiner"), device, on_white=True
        )
        self.things = [i for i, record in enumerate(self.data.records) if record.source not in NOT_JUDGED]

    def real(self, rows: Sequence[int]) -> Tensor:
        """Pictures of the corpus, (N, 3, 128, 128) in [-1, 1]."""
        return torch.from_numpy(self.data.images[list(rows)]).permute(0, 3, 1, 2).float() / 127.5 - 1

    @torch.no_grad()
    def draw(self, wish: Wish, seed: int) -> Tensor:
        """One picture as `lienzo create` draws it before it enlarges: (3, 128, 128), of many scenes (3, 256, 256)."""
        tries = [seed, *(derived_seed(seed, "candidate", j) for j in range(1, self.engine.candidates))]
        if isinstance(composed(self.engine, wish), SceneEngine):
            tries = tries[:1]
        found = []
        for each in tries:
            engine, told, x = self.latents(wish, each)
            found.append(engine.latents.finish(x, told))
        scores = self.guide.score(torch.cat(found), wish.in_style)
        return found[scores.index(max(scores))][0]

    @torch.no_grad()
    def scene(self, wish: Wish, seed: int) -> tuple[SceneEngine, list[Tensor]]:
        """The engine of a scene, and each of its things on a sheet of its own, (3, 128, 128)."""
        engine, wish, x = self.latents(wish, seed)
        assert isinstance(engine, SceneEngine)
        return engine, [drawing[0] for drawing in engine.drawings(x, wish)]

    def latents(self, wish: Wish, seed: int) -> tuple[Engine, Wish, Tensor]:
        """The engine that paints a wish, the wish of this seed, and its latents (1, ...)."""
        engine, wish = composed(self.engine, wish), replace(wish, seeds=(seed,))
        noise = PictureNoise([seed], torch.device("cpu"))
        sigmas = engine.sigmas(engine.steps)
        x = sigmas[0] * noise(torch.zeros(1, *engine.latents.shape))
        for step in sample(engine.sampler, engine.denoiser(wish, 1, GUIDANCE), x, sigmas, noise=noise):
            x = step.x
        return engine, wish, x

    def draw_all(self, wishes: Sequence[Wish], seed: int = 0) -> Tensor:
        return alike([self.draw(wish, 1000 * seed + i) for i, wish in enumerate(wishes)])

    @torch.no_grad()
    def vectors(self, pictures: Tensor) -> Tensor:
        """The judge's unit vectors of pictures in [-1, 1]."""
        return torch.cat([self.judge.encode_image((part + 1) / 2) for part in pictures.split(64)])

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        return self.judge.encode_text(self.read(list(texts)))

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


def alike(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (3, S, S) as one tensor, the smaller ones made as large as the largest."""
    size = (max(picture.shape[-1] for picture in pictures),) * 2
    return torch.cat([F.interpolate(picture[None], size, mode="bilinear") for picture in pictures])


@dataclass
class Figure:
    """A line of the table."""

    name: str
    ours: float
    real: float | None = None
    note: str = ""


def shares(name: str, found: dict[str, int], asked: int) -> Figure:
    """Per cent of what was asked for that was found in ours and in real pictures."""
    return Figure(name, 100 * found["ours"] / asked, 100 * found["real"] / asked)


def recall(studio: Studio, rows: list[int], name: str) -> tuple[Figure, Tensor]:
    """R@1 of pictures to their names."""
    wishes = [Wish(((studio.name(row), 1.0),), style=studio.data.records[row].style) for row in rows]
    drawn, said = [studio.draw_all(wishes, seed) for seed in studio.seeds], studio.texts([studio.name(r) for r in rows])
    each, real = ([100 * prompt_recall(studio.vectors(x), said) for x in xs] for xs in (drawn, [studio.real(rows)]))
    ours = mean(each)
    return Figure(f"R@1, {name}", ours, real[0], f"{100 * ours / real[0]:.0f} % of real"), drawn[0]


def fitted(studio: Studio, pictures: Tensor, labels: list[str]) -> tuple[LogisticRegression, float, str]:
    """A classifier fitted to four fifths of real pictures, its accuracy in per cent on the rest, and a note on it.

    The painter is asked for each word as often; among real pictures some are rarer than others.
    """
    vectors = studio.vectors(pictures).numpy()
    order = np.random.default_rng(0).permutation(len(labels))
    learn, rest = np.split(order, [len(order) * 4 // 5])
    known = np.array(labels)
    model = LogisticRegression(C=100.0, max_iter=2000).fit(vectors[learn], known[learn])
    alike = balanced_accuracy_score(known[rest], model.predict(vectors[rest]))
    return model, 100 * model.score(vectors[rest], known[rest]), f"real, each word counted alike: {100 * alike:.0f}"


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
    model, accuracy, note = fitted(studio, real, labels)
    able = [row for row in studio.learned() if recolour(studio.data.images[row][::2, ::2], "green") is not None]
    wanted = [list(PAINTS)[i % len(PAINTS)] for i in range(studio.count)]
    rows = studio.chosen(able, seed=2)
    wishes = [Wish(((f"a {colour} {studio.name(row)}", 1.0),)) for colour, row in zip(wanted, rows, strict=False)]
    pictures = studio.draw_all(wishes)
    return Figure("colour word", right(studio, model, pictures, wanted[: len(wishes)]), accuracy, note), pictures


def styles(studio: Studio) -> tuple[Figure, Tensor]:
    """Style words: things of the training set in all styles of the painter."""
    rng = random.Random(3)
    rows = rng.sample(studio.learned(), 4000)
    model, accuracy, note = fitted(studio, studio.real(rows), [studio.data.records[row].style for row in rows])
    known = [style for style in studio.engine.styles if style in model.classes_]
    chosen = studio.chosen(studio.learned(), seed=4)
    wanted = [known[i % len(known)] for i in range(len(chosen))]
    wishes = [Wish(((studio.name(row), 1.0),), style=style) for row, style in zip(chosen, wanted, strict=True)]
    drawn = [studio.draw_all(wishes, seed) for seed in studio.seeds]
    return Figure("style word", mean(right(studio, model, x, wanted) for x in drawn), accuracy, note), drawn[0]


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
        if (
            scene is None or not isinstance(scene.layout, Apart) or len(scene.layout.boxes) != 2
        ):  # the sentence was not understood, so the things cannot stand anywhere
            continue
        boxes = scene.layout.boxes
        real = torch.minimum(*(placed(studio.real([row]), box) for row, box in zip((a, b), boxes, strict=True)))
        for which, whole in (("ours", picture), ("real", real[0])):
            there = []
            for row, (left, top, side) in zip((a, b), boxes, strict=True):
                x, y, s = (round(share * whole.shape[-1]) for share in (left, top, side))
                part = F.interpolate(whole[None, :, y : y + s, x : x + s], (128, 128), mode="bilinear")
                there.append(named(studio, part, names.index(studio.name(row)), said, rng))
            found[which] += all(there)
    return shares("both things are there", found, len(pairs)), pictures


def named(studio: Studio, picture: Tensor, own: int, said: Tensor, rng: random.Random) -> bool:
    """Whether the judge finds a picture's own name among twenty."""
    among = [own, *rng.sample([i for i in range(len(said)) if i != own], TWENTY - 1)]
    return int((said[among] @ studio.vectors(picture)[0]).argmax()) == 0


def touching(studio: Studio) -> tuple[Figure, Tensor]:
    """Who wears something, or stands on it, is there, and so is what is worn or stood on."""
    rng = random.Random(7)
    rows = studio.chosen(studio.learned(), seed=8)
    worn = [row for row in studio.chosen(studio.learned(), seed=9) if worn_where(studio.name(row))]
    names = [studio.name(row) for row in [*rows, *worn]]
    said, pictures, found, asked = studio.texts(names), [], {"ours": 0, "real": 0}, studio.count // 2
    for i in range(asked):
        a, b = rows[2 * i % len(rows)], worn[i % len(worn)] if i % 2 and worn else rows[(2 * i + 1) % len(rows)]
        relation = "wearing" if worn_where(studio.name(b)) else "on"
        wish = Wish(((f"a {studio.name(a)} {relation} a {studio.name(b)}", 1.0),))
        pictures.append(studio.draw(wish, i))
        if not isinstance(composed(studio.engine, wish), SceneEngine):
            continue
        engine, drawings = studio.scene(wish, i)
        if len(drawings) != 2:
            continue
        real = list(studio.real([a, b]))
        for which, own in (("ours", drawings), ("real", real)):
            whole = engine.composed([drawing[None] for drawing in own])[0]
            sprites = engine.arrangement([cut_out(drawing) for drawing in own]).sprites
            places = {sprite.thing: sprite.frame for sprite in sprites}
            found[which] += all(
                named(studio, part_of(whole, places[j]), names.index(studio.name(row)), said, rng)
                for j, row in enumerate((a, b))
            )
    return shares("touching things are there", found, asked), alike(pictures)


def numbers(studio: Studio) -> tuple[Figure, Tensor]:
    """As many things as were told."""
    rng = random.Random(10)
    rows = [row for row in studio.chosen(studio.learned(), seed=11) if " " not in studio.name(row)]
    names = [studio.name(row) for row in rows]
    said, pictures, found = studio.texts(names), [], {"ours": 0, "real": 0}
    rows = rows[: studio.count // 2]
    for i, row in enumerate(rows):
        number = 2 + i % 5
        wish = Wish(((f"{('two', 'three', 'four', 'five', 'six')[i % 5]} {names[i]}s", 1.0),))
        pictures.append(studio.draw(wish, i))
        boxes = Apart((Thing(names[i], True),) * number, boxes_of(number, "group"))
        real = SceneEngine(studio.engine, ToldScene(boxes)).composed([studio.real([row])] * number)[0]
        for which, whole in (("ours", pictures[-1]), ("real", real)):
            islands = islands_of(whole)
            parts = [part_of(whole, island) for island in islands]
            found[which] += len(islands) == number and all(named(studio, part, i, said, rng) for part in parts)
    return shares("numbers", found, len(rows)), alike(pictures)


def islands_of(picture: Tensor) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of what lies apart on the paper, each in shares of the side; specks left out."""
    size = 128
    ink = F.interpolate(picture[None], (size, size), mode="area")[0].amin(0) < 0.9
    ink, found = grown(ink, 1), []
    while ink.any():
        start = torch.zeros_like(ink)
        start.view(-1)[int(ink.view(-1).float().argmax())] = True
        island = reached(start, ink)
        ink = ink & ~island
        rows, columns = (island.any(axis).nonzero()[:, 0] for axis in (1, 0))
        top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        if island.sum() > 0.004 * size**2:
            found.append((left / size, top / size, (right - left) / size, (bottom - top) / size))
    return found


def part_of(whole: Tensor, frame: tuple[float, float, float, float]) -> Tensor:
    """A square of a picture around a frame, (1, 3, 128, 128)."""
    size = whole.shape[-1]
    side = max(frame[2:])
    left, top = (round((frame[i] + frame[i + 2] / 2 - side / 2) * size) for i in (0, 1))
    pixels = max(1, round(side * size))
    white = F.pad(whole[None], (size,) * 4, value=1.0)
    part = white[:, :, top + size : top + size + pixels, left + size : left + size + pixels]
    return F.interpolate(part, (128, 128), mode="bilinear", antialias=True)


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


def copies(studio: Studio, pictures: Tensor, side: int) -> Figure:
    """Pictures that are nearer to a training picture than two pixels' move, at a side of so many pixels."""

    def sized(pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)

    learned = sized(studio.real(studio.learned())).flatten(1)
    squares, near = learned.square().sum(1), 0
    for picture in sized(pictures):
        best = int((squares - 2 * learned @ picture.flatten()).argmin())
        own = learned[best].view(3, side, side)
        moved = F.pad(own[:, 2:, 2:], (0, 2, 0, 2), value=1.0)
        near += bool((picture - own).square().sum() < (moved - own).square().sum())
    return Figure(f"copies, at {side} px", 100 * near / len(pictures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="folder of model files; default: the installed ones")
    parser.add_argument("--count", type=int, default=100, help="prompts a figure")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each prompt, for R@1 and style")
    parser.add_argument("--sheet", type=Path, default=Path("painter_bars.png"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    if given.count < FEWEST:
        parser.error(f"--count must be at least {FEWEST}: a thing with a short name is named among {TWENTY}.")
    studio = Studio(given.corpus, given.models, given.count, given.seeds)
    pairs = [row for row in studio.things if studio.data.records[row].withheld_pair]
    known, known_pictures = recall(studio, studio.chosen(studio.learned()), "training prompts")
    figures, sheet = [known], [known_pictures]
    scenes = [kind(studio) for kind in (two_things, touching, numbers)]
    unseen, unseen_pictures = recall(studio, studio.chosen(pairs), "withheld pairs")
    for figure, pictures in ((unseen, unseen_pictures), colours(studio), styles(studio), *scenes):
        figures.append(figure)
        sheet.append(pictures)
    drawn = torch.cat([known_pictures, unseen_pictures])
    figures += [seeds(studio), *(copies(studio, drawn, side) for side in (128, 64))]
    print(f"{'':30}{'painted':>9}{'real':>9}")
    for figure in figures:
        real = "" if figure.real is None else f"{figure.real:9.3g}"
        print(f"{figure.name:30}{figure.ours:9.3g}{real:>9}  {figure.note}")
    each = CELLS // len(sheet)
    cells = [to_bytes(picture) for picture in alike([picture for group in sheet for picture in group[:each]])]
    Image.fromarray(contact_sheet(cells, [""] * len(cells), columns=each)).save(given.sheet)
    print(f"{given.sheet}: the first {each} of each of {len(sheet)} groups, a row each, unpicked")
    if given.json:
        given.json.write_text(json.dumps([vars(figure) for figure in figures], indent=1), "utf-8")


if __name__ == "__main__":
    main()
