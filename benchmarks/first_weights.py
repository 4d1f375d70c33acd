"""How good are the bundled models? The figures of their cards and of docs/models.md, measured on the art corpus.

    python benchmarks/first_weights.py CORPUS [--models DIR] [--sheet out.png] [--cards]

--cards writes the figures into the models' cards.

* painter: judge R@1 among 100 prompts, generated pictures against the real ones, on training prompts and on withheld
  pairs of concept and style; peer: returning the training picture of the same style whose caption is nearest.
* seeds: how far two pictures of one prompt differ, against how far two pictures of different prompts do.
* languages: the same R@1 for Spanish and Russian names.
* upscaler: PSNR on withheld renders against bicubic (Pillow's).

The judge is an independent CLIP (own tower, seed and split). About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.records import Record
from lienzo.diffusion.sampling import sample
from lienzo.imaging.grids import contact_sheet
from lienzo.metrics.judging import prompt_recall
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.bench import to_bytes
from lienzo.tasks.bundled_stages import NOT_PAINTED, painted
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.painter import PainterEngine
from lienzo.upscaling.recipe import SwinIRRecipe
from lienzo.weights.models import Card, Measured, load_model, read_record, save_model
from lienzo.weights.reading import read_weights
from lienzo.weights.store import resolve

COUNT = 100
GUIDANCE = Create.model_fields["guidance"].default


def distinct(corpus: Corpus, keep: Sequence[int], seed: int, language: str = "en") -> list[int]:
    """`COUNT` rows of different concepts, at random, that have a name in `language`."""
    rows, seen = list(keep), set()
    random.Random(seed).shuffle(rows)
    chosen = []
    for row in rows:
        record = corpus.records[row]
        if record.concept not in seen and record.captions.get(language):
            seen.add(record.concept)
            chosen.append(row)
    return chosen[:COUNT]


@torch.no_grad()
def paint(engine: PainterEngine, records: Sequence[Record], seed: int, language: str = "en") -> Tensor:
    """One picture a record for its name and style, (N, 3, S, S) in [-1, 1]."""
    pictures = []
    for i, record in enumerate(records):
        wish = Wish(((record.captions[language][0], 1.0),), style=record.style, seeds=(seed * COUNT + i,))
        model = engine.denoiser(wish, 1, GUIDANCE)
        noise = PictureNoise(wish.seeds, torch.device("cpu"))
        sigmas = engine.sigmas(engine.steps)
        x = sigmas[0] * noise(torch.zeros(1, *engine.latents.shape))
        for step in sample(engine.sampler, model, x, sigmas, noise=noise):
            x = step.x
        pictures.append(engine.latents.finish(x, wish))
    return torch.cat(pictures)


class Judge:
    """The judge's R@1 of pictures among the prompts of their own set."""

    def __init__(self, models: Path | None):
        self.clip = load_model(where(models, "judge"))
        self.read = load_model(where(models, "sentence"))

    @torch.no_grad()
    def recall(self, pictures: Tensor, records: Sequence[Record]) -> float:
        names = [record.captions["en"][0] for record in records]
        text = self.clip.encode_text(self.read(names))
        return 100 * prompt_recall(self.clip.encode_image((pictures + 1) / 2), text)


def where(models: Path | None, name: str) -> Path:
    return models / f"{name}.safetensors" if models else resolve(name)


def real(corpus: Corpus, rows: Sequence[int]) -> Tensor:
    return torch.from_numpy(corpus.images[list(rows)]).permute(0, 3, 1, 2).float() / 127.5 - 1


def nearest_caption(corpus: Corpus, rows: Sequence[int], read: torch.nn.Module) -> Tensor:
    """For each row the training picture of its style whose name is nearest in meaning."""
    pool = [i for i, record in enumerate(corpus.records) if painted(record)]
    pictures = []
    for row in rows:
        record = corpus.records[row]
        same = [i for i in pool if corpus.records[i].style == record.style]
        with torch.no_grad():
            vectors = read([corpus.records[i].captions["en"][0] for i in same])
            best = int((vectors @ read([record.captions["en"][0]])[0]).argmax())
        pictures.append(same[best])
    return real(corpus, pictures)


def rmse(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean((1, 2, 3)).sqrt().mean())


def upscaling(corpus_dir: Path, models: Path | None) -> dict[str, float]:
    corpus = load_corpus(corpus_dir, 256, permissive=True)
    rows = [i for i, r in enumerate(corpus.records)
            if r.split == "test" and r.source not in ("openclipart", *NOT_PAINTED)]  # fmt: skip
    chosen = np.random.default_rng(1).permutation(rows)[:120]
    images = corpus.images[np.sort(chosen)]
    recipe = SwinIRRecipe(images[:1], images)
    return recipe.evaluate(load_model(where(models, "upscaler")))


def figure(name: str, value: float, protocol: str = "100 prompts, picture to prompt, create's defaults") -> Measured:
    return Measured(name=name, value=round(value, 3), protocol=protocol)


def add_to_card(path: Path, figures: list[Measured]) -> None:
    """Write the model again with these figures in its card, in place of older ones of the same name."""
    record, weights = read_record(path), read_weights(path)
    card = Card(**record["card"])
    kept = [m for m in card.metrics if m.name not in {f.name for f in figures}]
    card = card.model_copy(update={"metrics": [*kept, *figures]})
    save_model(path, record["network"], record["config"], weights.tensors, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=Path, help="folder of model files; default: the installed ones")
    parser.add_argument("--sheet", type=Path, default=Path("first_weights.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cards", action="store_true", help="write the figures into the cards")
    args = parser.parse_args()
    corpus = load_corpus(args.corpus, 64, permissive=True)
    judge = Judge(args.models)
    figures: list[Measured] = []
    painter, refiner = load_model(where(args.models, "painter")), load_model(where(args.models, "refiner"))
    code = load_model(where(args.models, "code"))
    engine = PainterEngine(painter, code, judge.read, refiner, torch.device("cpu"))
    emoji = [i for i, r in enumerate(corpus.records) if r.source not in ("openclipart", *NOT_PAINTED)]
    sets = {
        "training prompts": distinct(corpus, [i for i in emoji if painted(corpus.records[i])], args.seed),
        "withheld pairs": distinct(corpus, [i for i in emoji if corpus.records[i].withheld_pair], args.seed),
    }
    print(f"{'R@1 among ' + str(COUNT):28}{'real':>8}{'painted':>9}{'of real':>9}{'nearest caption':>17}")
    sheets = []
    for name, rows in sets.items():
        records = [corpus.records[i] for i in rows]
        pictures = paint(engine, records, args.seed)
        truth, ours = judge.recall(real(corpus, rows), records), judge.recall(pictures, records)
        peer = judge.recall(nearest_caption(corpus, rows, judge.read), records)
        print(f"{name:28}{truth:8.1f}{ours:9.1f}{100 * ours / truth:8.0f}%{peer:17.1f}", flush=True)
        figures += [figure(f"judge R@1, {name}", ours), figure(f"judge R@1 of the real pictures, {name}", truth)]
        figures += [figure(f"judge R@1 of the nearest caption's picture, {name}", peer)]
        sheets += list(zip(real(corpus, rows), pictures, records))[:32]
        if name == "training prompts":
            again = paint(engine, records, args.seed + 1)
            figures.append(figure("difference of two seeds", rmse(pictures, again), "rmse of a range of 2"))
            print(f"{'two seeds differ by':28}{rmse(pictures, again):.3f} rmse of a range of 2; "
                  f"two prompts by {rmse(pictures, pictures.roll(1, 0)):.3f}")  # fmt: skip
    for language in ("es", "ru"):
        rows = distinct(corpus, [i for i in emoji if painted(corpus.records[i])], args.seed, language)
        records = [corpus.records[i] for i in rows]
        score = judge.recall(paint(engine, records, args.seed, language), records)
        figures.append(figure(f"judge R@1, training prompts, {language}", score))
        print(f"{'training prompts, ' + language:28}{judge.recall(real(corpus, rows), records):8.1f}{score:9.1f}")
    cells = [to_bytes(torch.cat([a, b], 2)) for a, b, _ in sheets]
    labels = [f"{record.name}, {record.style}" for _, _, record in sheets]
    Image.fromarray(contact_sheet(cells, labels, columns=8)).save(args.sheet)
    enlarged = upscaling(args.corpus, args.models)
    for name, value in enlarged.items():
        print(f"{name:40}{value:8.2f}")
    if args.cards:
        add_to_card(where(args.models, "painter"), figures)
        split = [name.partition("[") for name in enlarged]
        gains = [figure(n, v, p.rstrip("]")) for (n, _, p), v in zip(split, enlarged.values(), strict=True)]
        add_to_card(where(args.models, "upscaler"), gains)
    print(f"{args.sheet}: real and painted side by side")


if __name__ == "__main__":
    main()
