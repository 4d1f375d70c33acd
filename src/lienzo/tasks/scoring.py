"""The figures of an evaluation: metrics of sets, of pairs with equal names, and of a model's likelihood."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadPicture
from lienzo.core.events import Event, Note, Progress
from lienzo.core.text import printable
from lienzo.data.native import NativePictures
from lienzo.imaging.reading import to_tensor
from lienzo.metrics.bits_per_dim import diffusion_bits_per_dim
from lienzo.metrics.bootstrap import mean_interval
from lienzo.metrics.clip_score import clip_score
from lienzo.metrics.fid import Statistics
from lienzo.metrics.lpips import LPIPS, feature_distance, lpips
from lienzo.metrics.nets import FeatureNet
from lienzo.metrics.pairs import PAIR_METRICS
from lienzo.metrics.protocol import Protocol, Score
from lienzo.metrics.table import METRICS, measure
from lienzo.tasks.sides import Side, is_model, real_pictures
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

if TYPE_CHECKING:
    from lienzo.tasks.evaluate import Evaluate

PERCEPTUAL = ("lpips-like", "lpips")
OTHERS = ("clip_score", "bits_per_dim", *PERCEPTUAL)
CHEAP = 512  # features up to which FID's interval costs little
DRAWS = 50
BITS_PICTURES = 16  # bits/dim takes one pass a timestep, so few pictures
FEWEST = {"precision_recall": 6}
"""Pictures that a metric of sets needs a side, where those are more than two: here density's five neighbours."""
OF_STATISTICS = ("fid", "fid_infinity", "clip_score")
"""Metrics that need no more of the real side than mean and covariance."""


def check_names(names: Sequence[str]) -> None:
    """Pass where every metric exists; BadInput with the closest name else."""
    for name in names:
        if name not in METRICS and name not in PAIR_METRICS and name not in OTHERS:
            known = ", ".join([*METRICS, *PAIR_METRICS, *OTHERS])
            raise BadInput(f"There is no metric '{name}'; there are {known}.")


def check_counts(names: Sequence[str], count: int, side: str) -> None:
    """Pass where `count` pictures are enough for the metrics; BadInput that names the metric else."""
    for name in names:
        fewest = FEWEST.get(name, 2 if name in METRICS else 1)
        if count < fewest:
            there = f"there {'is' if count == 1 else 'are'} {count}"
            raise BadInput(f"{name} needs at least {fewest} {side} pictures; {there}. Choose others by --metrics.")


def check_statistics(names: Sequence[str]) -> None:
    """Pass where mean and covariance of the real side serve all metrics; BadInput that names the metric else."""
    for name in names:
        if name not in OF_STATISTICS:
            known = ", ".join(OF_STATISTICS)
            raise BadInput(f"{name} needs the real pictures; their statistics serve --metrics {known} only.")


def needs_sets(names: Sequence[str]) -> bool:
    """Whether any metric looks at features of whole sets."""
    return any(name in METRICS or name == "clip_score" for name in names)


def by_sets(options: Evaluate, net: FeatureNet, real: Side | Statistics, fake: Side) -> list[Score]:
    """Metrics of two sets, with one pass over all pairs of pictures."""
    draws = options.draws if options.draws is not None else (DRAWS if fake.features.dim <= CHEAP else 0)
    chosen = []
    for name in options.metrics:
        if name in METRICS:
            metric = METRICS.load(name)()
            chosen.append(dataclasses.replace(metric, draws=draws) if name == "fid" else metric)
    reference = real if isinstance(real, Statistics) else real.features
    scores = list(measure(chosen, reference, fake.features).values())
    if "clip_score" in options.metrics:
        scores.append(score_of_words(net, fake))
    return scores


def score_of_words(net: FeatureNet, fake: Side) -> Score:
    """CLIPScore of the pictures with what they should show.

    Raises:
        BadInput: nobody knows what they should show, or the net reads no words.
    """
    if net.encode_text is None:
        raise BadInput(f"The net '{net.tag}' reads no words; clip_score needs e.g. --net judge-embedding.")
    if len(fake.texts) != len(fake.names) or not any(fake.texts):
        raise BadInput("clip_score needs a caption for every judged picture: a model's prompts, or captions beside.")
    each = clip_score(fake.features.rows, net.encode_text(fake.texts))
    protocol = Protocol.of("clip_score", fake.features.made, {"w": 2.5, "n": len(each)})
    return Score("clip_score", float(each.mean()), protocol, mean_interval(each, 100, 1))


def by_pairs(options: Evaluate, pictures: NativePictures | None) -> Generator[Event, None, list[Score]]:
    """Metrics of pairs of pictures with equal names, and bits/dim of a diffusion model on the real pictures."""
    scores: list[Score] = []
    named = [name for name in options.metrics if name in PAIR_METRICS or name in PERCEPTUAL]
    if (named or "bits_per_dim" in options.metrics) and pictures is None:
        raise BadInput("Metrics of pictures need the real pictures, not their statistics.")
    if named and pictures is not None:
        scores += yield from _paired(options, named, pictures)
    if "bits_per_dim" in options.metrics and pictures is not None:
        scores += yield from _bits(options, pictures)
    return scores


def _paired(options: Evaluate, names: list[str], real: NativePictures) -> Generator[Event, None, list[Score]]:
    if is_model(options.fake):
        raise BadInput(f"{names[0]} compares pictures of equal names; give two folders, not a model.")
    fake = real_pictures(options.fake, options.size, "all")
    row_of = {Path(name).with_suffix("").as_posix(): row for row, name in enumerate(fake.names)}
    pairs = [(row, row_of[key]) for row in real.some(None) if (key := _key(real.names[row])) in row_of][: options.n]
    if not pairs:
        raise BadInput("The two sides have no pictures of equal names to compare.")
    measures = {name: _pair_measure(name, options) for name in names}
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    began = time.monotonic()
    for done, (a, b) in enumerate(pairs, 1):
        try:
            x, y = (to_tensor(side.read(row)).double() for side, row in ((fake, b), (real, a)))
        except BadPicture as error:
            yield Note(f"The pair '{printable(real.names[a])}' was left out: {error}", "warning")
            continue
        if x.shape != y.shape:
            raise BadInput(
                f"'{printable(fake.names[b])}' has {_size(x)} pixels and its real picture {_size(y)}; both of a pair "
                "must have the same size."
            )
        for name, (measured, _) in measures.items():
            values[name].append(measured(x, y).detach().double().reshape(-1).cpu())
        yield Progress("pairs", done, len(pairs), time.monotonic() - began, "image")
    if not values[names[0]]:
        raise BadInput("None of the pairs can be read.")
    return [_pair_score(name, torch.cat(each), measures[name][1]) for name, each in values.items()]


def _key(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]} x {x.shape[-2]}"


def _pair_measure(name: str, options: Evaluate) -> tuple[Callable[[Tensor, Tensor], Tensor], dict[str, str]]:
    """The measure and what names its net."""
    if name == "lpips-like":
        net = feature_distance("guide")
        return lambda x, y: net(x.float(), y.float()), {"net": "guide"}
    if name == "lpips":
        if options.weights is None:
            raise BadInput("lpips needs --weights with a file of backbone and heads; lpips-like needs none.")
        model = load_model(resolve(options.weights))
        if not isinstance(model, LPIPS):
            raise BadInput(f"'{options.weights}' holds no LPIPS; lpips-like needs no file.")
        return lambda x, y: lpips(model, x.float(), y.float()), {"net": Path(options.weights).stem}
    return PAIR_METRICS.load(name), {"space": "rgb"}


def _pair_score(name: str, each: Tensor, made: dict[str, str]) -> Score:
    key, spread = name.replace("-", "_"), mean_interval(each, 100, 1)
    if spread is not None and not all(map(math.isfinite, spread)):  # equal pictures have an infinite psnr
        spread = None
    return Score(key, float(each.mean()), Protocol.of(key, made, {"n": len(each)}), spread)


def _bits(options: Evaluate, pictures: NativePictures) -> Generator[Event, None, list[Score]]:
    """Bits/dim of an ADM model on the first real pictures at its own size."""
    from lienzo.diffusion.adm import Adm
    from lienzo.diffusion.adm_checkpoints import diffusion_of
    from lienzo.imaging.resize import resize_array

    model = load_model(resolve(options.fake)) if is_model(options.fake) else None
    if not isinstance(model, Adm) or model.config.get("num_classes"):
        raise BadInput("bits_per_dim is of an unconditional diffusion model of pixels (ADM); --fake is none.")
    diffusion, size = diffusion_of(model).process(), model.config["image_size"]
    rows = pictures.some(min(options.n or BITS_PICTURES, BITS_PICTURES))
    found = []
    for done, row in enumerate(rows, 1):
        x = to_tensor(resize_array(pictures.read(row), size, size))
        found.append(diffusion_bits_per_dim(diffusion, model, x, seeds=[row]).total)
        yield Progress("bits per dim", done, len(rows), 0.0, "image")
    each = torch.cat(found).double()
    protocol = Protocol.of(
        "bits_per_dim", {"bound": "vlb", "size": size, "steps": diffusion.num_timesteps, "n": len(rows)}
    )
    return [Score("bits_per_dim", float(each.mean()), protocol, mean_interval(each, 100, 1))]
