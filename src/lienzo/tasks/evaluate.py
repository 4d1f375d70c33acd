"""`lienzo evaluate`: how far pictures, or what a model draws, are from real ones; every figure with its protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Table
from lienzo.core.files import replacing
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    from lienzo.data.native import NativePictures
    from lienzo.metrics.fid import Statistics
    from lienzo.metrics.nets import FeatureNet
    from lienzo.metrics.protocol import Score
    from lienzo.tasks.sides import Side

VERSION = 1
MODEL_PICTURES = 1000


class Evaluate(Options):
    """Measure pictures or a model against real pictures.

    Features are taken once for all metrics, by one of our own CLIPs unless --net names another net (inception needs
    your file of its weights). A figure prints with its protocol, and figures of unequal protocols are not compared.
    """

    real: str
    """Real pictures (folder, .zip, shards, IDX folder or corpus), or .npz statistics of pytorch-fid, clean-fid or
    guided-diffusion."""
    fake: str
    """What is judged: pictures as above, or a model by name, file or run folder."""
    metrics: tuple[str, ...] = ("fid", "kid", "precision_recall")
    """Of sets: fid, fid_infinity, kid, inception_score, precision_recall, cmmd, mind, clip_score. Of pairs with equal
    names: psnr, ssim, ssim-uniform7, ms-ssim, lpips-like, lpips. Of a diffusion model: bits_per_dim."""
    net: str = "judge"
    """Feature net: judge, guide, efficientnet-lite0, inception, inception-tf, inception-clean, clip, …"""
    weights: str | None = None
    """The feature net's weight file, where it does not come with Lienzo; for lpips, the backbone's."""
    n: int | None = Field(None, ge=2)
    """Most pictures of a side; a model draws 1000 unless this says otherwise."""
    prompts: Path | None = None
    """Text file with a prompt a line for a model that reads sentences; default: the real pictures' captions."""
    steps: int | None = Field(None, ge=1)
    """Steps of a model's sampler; default: the model's own."""
    sampler: str | None = None
    """A model's sampler; default: the model's own."""
    guidance: float | None = None
    """A model's classifier-free guidance; default: that of create."""
    seed: int = Field(0, ge=0)
    """Seed of a model's first picture; picture i has seed + i."""
    batch: int = Field(16, ge=1)
    """Pictures that a model draws at once."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of divided real data."""
    size: int = Field(64, ge=8)
    """Pixels at which a corpus or IDX files are read."""
    draws: int | None = Field(None, ge=0)
    """Redrawings for FID's interval; default: 50 with up to 512 features, else none."""
    keep: Path | None = None
    """Folder in which a model's pictures are kept."""
    out: Path | None = None
    """JSON file for the figures."""
    against: Path | None = None
    """JSON file of an earlier evaluation to compare with; refused where protocols differ."""
    statistics: Path | None = None
    """Where to write the real side's mean and covariance (.npz), to be given as --real later."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(options: Evaluate) -> Iterator[Event]:
    """Measure.

    Yields:
        Progress over pictures, Notes about what was left out or is too little, a Metric for each figure, and with
        --against a Table of both evaluations.

    Raises:
        BadInput: a side cannot be read, a metric does not exist or does not fit, protocols differ.
    """
    from lienzo.metrics.nets import open_feature_net
    from lienzo.tasks.devices import pick_device
    from lienzo.tasks.scoring import check_names

    check_names(options.metrics)
    check_files(options)
    earlier = None if options.against is None else read_report(options.against)
    device = pick_device(options.device)
    net = open_feature_net(options.net, options.weights if options.net != "judge" else None, device)
    scores, source = yield from scored(options, net)
    told = set[str]()
    for score in scores:
        fields = str(score.protocol)[len(score.protocol.name) + 1 : -1]
        yield Metric(score.name, score.value, fields, interval=score.interval)
        yield from (Note(note, "warning") for note in score.notes if note not in told)
        told.update(score.notes)
    if options.out is not None:
        write_report(options.out, options, scores, source)
        yield Note(f"Written to {options.out}.")
    if earlier is not None:
        yield compared(scores, earlier)


def check_files(options: Evaluate) -> None:
    """Say at once, not after hours, what cannot be read or written.

    Raises:
        BadInput: a file or folder is not there, or is in the way.
    """
    for flag, path in (("out", options.out), ("statistics", options.statistics)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            reason = "a folder has this name" if path.is_dir() else "its folder does not exist"
            raise BadInput(f"--{flag} '{printable(str(path))}' cannot be written: {reason}.")
    if options.keep is not None and options.keep.exists() and not options.keep.is_dir():
        raise BadInput(f"--keep '{printable(str(options.keep))}' is a file; name a folder.")
    if options.prompts is not None and not options.prompts.is_file():
        raise BadInput(f"There is no file '{printable(str(options.prompts))}' with prompts.")
    if options.fake.lower().endswith(".npz"):
        raise BadInput("Statistics can stand for the real side only; give pictures or a model as --fake.")
    if options.statistics is not None and is_statistics(options.real):
        raise BadInput("--statistics are taken of real pictures, and --real is statistics already.")


def is_statistics(spec: str) -> bool:
    """Whether a real side is a file of mean and covariance."""
    return spec.lower().endswith(".npz")


def scored(options: Evaluate, net: FeatureNet) -> Generator[Event, None, tuple[list[Score], Mapping[str, object]]]:
    """All figures, and what made the judged pictures."""
    from lienzo.tasks.scoring import by_pairs, by_sets, needs_sets
    from lienzo.tasks.sides import Side, against, real_pictures

    if not needs_sets(options.metrics) and options.statistics is None:
        pictures = None if is_statistics(options.real) else real_pictures(options.real, options.size, options.split)
        return (yield from by_pairs(options, pictures)), {}
    real, pictures = yield from real_side(options, net)
    fake = yield from fake_side(options, net, pictures)
    if isinstance(real, Side):
        real, fake = (against(side, str(real.source["pixels"])) for side in (real, fake))
    elif "real" in real.made:
        fake = against(fake, str(real.made["real"]))
    scores = by_sets(options, net, real, fake)
    scores += yield from by_pairs(options, pictures)
    return scores, fake.source


def real_side(options: Evaluate, net: FeatureNet) -> Generator[Event, None, tuple[Side | Statistics, Any]]:
    """The real side's features with its pictures, or published statistics and None."""
    from lienzo.metrics.fid import statistics
    from lienzo.metrics.statistics_files import read_statistics, write_statistics
    from lienzo.tasks.scoring import check_statistics
    from lienzo.tasks.sides import against, real_pictures

    if is_statistics(options.real):
        check_statistics(options.metrics)
        return read_statistics(Path(options.real)), None
    pictures = real_pictures(options.real, options.size, options.split)
    side = yield from counted_side(options, net, pictures, "real")
    if options.statistics is not None:
        write_statistics(options.statistics, statistics(against(side, str(side.source["pixels"])).features))
        yield Note(f"Statistics are in {options.statistics}.")
    return side, pictures


def counted_side(
    options: Evaluate, net: FeatureNet, pictures: NativePictures, stage: str
) -> Generator[Event, None, Side]:
    """The features of pictures at hand.

    Raises:
        BadInput: there are too few for a metric, of all or of those that can be read.
    """
    from lienzo.tasks.scoring import check_counts
    from lienzo.tasks.sides import picture_side

    check_counts(options.metrics, len(pictures.some(options.n)), stage)
    side = yield from picture_side(net, pictures, options.n, stage)
    check_counts(options.metrics, len(side.names), stage)
    return side


def fake_side(options: Evaluate, net: FeatureNet, real: Any) -> Generator[Event, None, Side]:
    """The judged side's features."""
    from lienzo.tasks.drawing import Artist
    from lienzo.tasks.scoring import check_counts
    from lienzo.tasks.sides import is_model, model_side, prompts_for, real_pictures

    if not is_model(options.fake):
        pictures = real_pictures(options.fake, options.size, "all")
        return (yield from counted_side(options, net, pictures, "fake"))
    check_counts(options.metrics, options.n or MODEL_PICTURES, "fake")
    artist = Artist(options.fake, net.device, steps=options.steps, sampler=options.sampler, guidance=options.guidance)
    prompts = prompts_for(artist, options.prompts, real, options.n or MODEL_PICTURES)
    return (yield from model_side(net, artist, prompts, options.seed, options.batch, options.keep))


def write_report(path: Path, options: Evaluate, scores: list[Score], source: Mapping[str, object]) -> None:
    """The figures as JSON that `--against` reads; JSON has no infinity, so that of a psnr is null."""
    figures = [
        {
            "name": s.name,
            "value": s.value if math.isfinite(s.value) else None,
            "interval": s.interval,
            "protocol": str(s.protocol),
            "notes": s.notes,
        }
        for s in scores
    ]
    with replacing(path) as work:
        report = {"version": VERSION, "real": options.real, "fake": options.fake, "source": source, "scores": figures}
        work.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def read_report(path: Path) -> dict[str, tuple[float, str]]:
    """Value and protocol by name, from what `write_report` wrote.

    Raises:
        BadInput: the file is no evaluation.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
        values = {each["name"]: each["value"] for each in report["scores"]}
        protocols = {each["name"]: str(each["protocol"]) for each in report["scores"]}
        return {name: (math.inf if value is None else float(value), protocols[name]) for name, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"'{path}' is not an evaluation that lienzo evaluate --out wrote.") from error


def compared(scores: list[Score], earlier: dict[str, tuple[float, str]]) -> Table:
    """Both evaluations side by side.

    Raises:
        BadInput: a figure was measured in another way, or they share none.
    """
    from lienzo.metrics.protocol import Protocol, comparable

    rows = []
    for score in scores:
        if score.name not in earlier:
            continue
        before, protocol = earlier[score.name]
        comparable(score.protocol, Protocol.parse(protocol))
        outside = score.interval is not None and not score.interval[0] <= before <= score.interval[1]
        told = "beyond the interval" if outside else ("within the interval" if score.interval else "")
        rows.append((score.name, f"{before:.5g}", f"{score.value:.5g}", f"{score.value - before:+.4g}", told))
    if not rows:
        raise BadInput("The two evaluations share no metric.")
    return Table("Compared", ("metric", "before", "now", "change", "the change is"), tuple(rows))
