"""`lienzo card`: quality, coverage and speed of models under one protocol, as a page, a table and a plot."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note
from lienzo.core.options import Options

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lienzo.data.native import NativePictures
    from lienzo.metrics.protocol import Score
    from lienzo.tasks.card_figures import Drawing, Eyes, RealSide
    from lienzo.tasks.card_file import CardFile, Entry, Real
    from lienzo.tasks.card_models import Candidate
    from lienzo.tasks.card_speed import Job

LEAST = 6  # pictures of a side: density looks at a picture's 5 nearest others
COMMAND_ONLY = ("models", "earlier", "real")


class MakeCard(Options):
    """Measure models under one protocol: quality, coverage and speed.

    Every model draws the same number of pictures with the same seeds for the same prompts, and is compared with the
    same real pictures by the same net. Writes card.json, a page a model, card.md that compares them, and pareto.png.
    """

    models: tuple[str, ...] = Field((), json_schema_extra={"positional": True})
    """Models by name, file or run folder."""
    real: str | None = None
    """Real pictures: folder, .zip, shards, IDX folder or corpus. Captions serve as prompts, labels as modes."""
    n: int = Field(500, ge=LEAST)
    """Pictures of each side."""
    out: Path = Path("card")
    """Folder for the card."""
    earlier: tuple[Path, ...] = Field((), json_schema_extra={"flag": "with"})
    """card.json files whose models join this card; refused where they were measured differently."""
    net: str = "judge"
    """Feature net: judge, guide, efficientnet-lite0, inception, inception-tf, inception-clean, clip, …"""
    weights: str | None = None
    """The feature net's weight file, where it does not come with Lienzo."""
    prompts: Path | None = None
    """Text file with a prompt a line; default: the real pictures' captions, else their classes."""
    steps: int | None = Field(None, ge=1)
    """Steps of the sampler; default: each model's own."""
    sampler: str | None = None
    """Sampler; default: each model's own."""
    guidance: float | None = None
    """Classifier-free guidance; default: that of create."""
    seed: int = Field(0, ge=0)
    """Seed of each model's first picture; picture i has seed + i."""
    batch: int = Field(16, ge=1)
    """Pictures drawn at once for the figures of quality and coverage; it does not change them."""
    timings: int = Field(5, ge=2)
    """Timed draws, after one for warming up, of 1 and of 16 pictures."""
    draws: int | None = Field(None, ge=2)
    """Redrawings for FID's interval; default: 50 with up to 512 features, else none."""
    bits: bool = False
    """Measure bits per dimension too, of models that have them; a thousand passes for each of 16 pictures."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Part of divided real data."""
    size: int = Field(64, ge=8)
    """Pixels at which a corpus or IDX files are read."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to draw and compute."""


def run(options: MakeCard) -> Iterator[Event]:
    """Measure and write.

    Yields:
        Progress of timing and drawing, Notes, a Metric for each figure, a Table that compares the models.

    Raises:
        BadInput: a model does not draw or not what is asked, pictures are too few, or earlier cards do not fit.
    """
    from lienzo.tasks.card_file import check_comparable, read_card_file
    from lienzo.tasks.card_pages import overview, publish
    from lienzo.tasks.pareto_plot import why_no_plot

    check_asked(options)
    cards = [read_card_file(path) for path in options.earlier]
    check_comparable(entry for card in cards for entry in card.models)
    _make_folder(options.out)
    entries = _together(cards, options)
    if (missing := why_no_plot()) is not None:
        yield Note(missing, "warning")
    if not options.models:
        publish(options.out, cards[0].real, entries)
    else:
        entries = yield from _measured(options, entries)
    yield overview(entries)
    yield Note(f"The card is in {options.out}: card.md compares the models, card.json keeps the figures.")


def check_asked(options: MakeCard) -> None:
    """Refuse what cannot be measured before anything is read."""
    if not options.models and not options.earlier:
        raise BadInput("Name one or more models to measure, e.g. lienzo card painter --real DIR.")
    if options.models and options.real is None:
        raise BadInput("Quality and coverage are measured against real pictures; give them with --real.")
    if options.real is not None and options.real.lower().endswith(".npz"):
        raise BadInput("A card needs real pictures: coverage cannot be told from their mean and covariance.")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"The folder '{out}' cannot be made: {error.strerror}.") from error


def _together(cards: Sequence[CardFile], options: MakeCard) -> list[Entry]:
    """The earlier models with their sample sheets, under labels that no two share."""
    from lienzo.tasks.card_file import joined
    from lienzo.tasks.card_pages import read_samples, write_samples

    entries: list[Entry] = []
    sheets: dict[str, np.ndarray] = {}
    for path, card in zip(options.earlier, cards, strict=True):
        for entry in card.models:
            entries = joined(entries, entry)
            sheet = read_samples(path.parent, entry)
            if sheet is not None:  # all are read before any is written, since a folder may be both
                sheets[entries[-1].label] = sheet
    return [write_samples(options.out, entry, sheets.get(entry.label)) for entry in entries]


def _measured(options: MakeCard, entries: list[Entry]) -> Generator[Event, None, list[Entry]]:
    """Time all models, which also shows whether they can draw, then let each draw; its figures are kept at once."""
    from lienzo.tasks.card_figures import Eyes, real_side
    from lienzo.tasks.card_file import check_comparable, joined
    from lienzo.tasks.card_pages import publish, publish_figures, sheet_of, write_samples
    from lienzo.tasks.card_speed import place_of, scores_of, time_model
    from lienzo.tasks.devices import pick_device

    device = pick_device(options.device)
    pictures = yield from enough_pictures(options)
    candidates = [_looked_at(given, options, pictures, device) for given in options.models]
    jobs, place = [job_of(each, options, device) for each in candidates], place_of(device)
    eyes = Eyes(options, device)
    real = yield from real_side(eyes, pictures, options.n)
    check_before(options, entries, real, jobs[0], place)
    speeds = []
    for candidate, job in zip(candidates, jobs, strict=True):
        timing = yield from time_model(job, candidate.label)
        speeds.append(scores_of(timing, job, place, candidate.bytes_on_disk))
    about = yield from _about(options, eyes, real, pictures)
    for candidate, speed in zip(candidates, speeds, strict=True):
        drawn = yield from _drawn(options, candidate, eyes, device)
        scores = yield from _scores(options, candidate, eyes, real, drawn, pictures)
        entries = joined(entries, _entry(options, candidate, real, scores, speed))
        check_comparable(entries)
        entries[-1] = write_samples(options.out, entries[-1], sheet_of(drawn.first, drawn.captions))
        publish_figures(options.out, about, entries)
        label = entries[-1].label
        for each in entries[-1].figures:
            yield Metric(f"{label}.{each.name}", each.value, each.protocol[len(each.name) + 1 : -1])
    publish(options.out, about, entries)
    return entries


def _about(options: MakeCard, eyes: Eyes, real: RealSide, pictures: NativePictures) -> Generator[Event, None, Real]:
    """The real pictures as the card tells of them."""
    from lienzo.tasks.card_figures import other_real, picture_scores
    from lienzo.tasks.card_file import Real, as_figure

    others = yield from other_real(eyes, pictures, options.n)
    scores = [] if others is None else picture_scores(options, eyes, real, others)
    return Real(
        given=str(options.real),
        digest=real.digest,
        pictures=len(real.features),
        classes=real.classes,
        others=tuple(as_figure(score, real=real.digest) for score in scores),
    )


def _looked_at(given: str, options: MakeCard, pictures: NativePictures, device: torch.device) -> Candidate:
    from lienzo.tasks.card_models import look_at

    try:
        return look_at(given, options, pictures, device)
    except BadInput as error:
        if len(options.models) == 1:
            raise
        raise BadInput(f"'{given}' cannot be measured: {error}") from error


def enough_pictures(options: MakeCard) -> Generator[Event, None, NativePictures]:
    """The real pictures; a Note where a model will draw more than there are.

    Raises:
        BadInput: there are too few.
    """
    from lienzo.tasks.sides import real_pictures

    pictures = real_pictures(str(options.real), options.size, options.split)
    if len(pictures) < LEAST:
        raise BadInput(f"A card needs {LEAST} or more real pictures; '{options.real}' holds {len(pictures)}.")
    if len(pictures) < options.n:
        yield Note(f"There are {len(pictures)} real pictures for {options.n} generated ones.", "warning")
    return pictures


def job_of(candidate: Candidate, options: MakeCard, device: torch.device) -> Job:
    """What the timing process does."""
    import torch

    from lienzo.tasks.card_speed import Job

    return Job(
        str(candidate.path),
        device.type,
        torch.get_num_threads(),
        candidate.prompts[0],
        options.seed,
        options.timings,
        options.steps,
        options.sampler,
        options.guidance,
    )


def check_before(
    options: MakeCard, entries: Sequence[Entry], real: RealSide, job: Job, place: dict[str, str | int]
) -> None:
    """Refuse earlier models that were measured differently, before hours are spent."""
    from lienzo.metrics.protocol import Protocol, comparable
    from lienzo.tasks.card_figures import expected_fid
    from lienzo.tasks.card_speed import seconds_protocol

    fid = expected_fid(real.features, options.n)
    wanted = [Protocol.of("fid", dict(fid.fields), _shared(options, real)), seconds_protocol(job, place, 1)]
    for entry in entries:
        for protocol in wanted:
            figure = entry.figure(protocol.name)
            if figure is None:
                continue
            try:
                comparable(protocol, Protocol.parse(figure.protocol))
            except BadInput as error:
                raise BadInput(f"'{entry.label}' of the earlier card does not fit on this one: {error}") from error


def _shared(options: MakeCard, real: RealSide) -> dict[str, object]:
    """What the protocol of every figure of pictures holds besides the metric's own fields."""
    return {"real": real.digest, "first_seed": options.seed}


def _drawn(
    options: MakeCard, candidate: Candidate, eyes: Eyes, device: torch.device
) -> Generator[Event, None, Drawing]:
    from lienzo.tasks.card_figures import drawing
    from lienzo.tasks.card_models import open_artist

    artist = open_artist(candidate.path, options, device)
    return (yield from drawing(eyes, artist, candidate, options.seed, options.batch))


def _scores(
    options: MakeCard, candidate: Candidate, eyes: Eyes, real: RealSide, drawn: Drawing, pictures: NativePictures
) -> Generator[Event, None, list[Score]]:
    from lienzo.tasks.card_figures import bits_score, picture_scores

    scores = picture_scores(options, eyes, real, drawn)
    if options.bits:
        scores += yield from bits_score(options, candidate, pictures)
    return scores


def _entry(
    options: MakeCard, candidate: Candidate, real: RealSide, scores: Sequence[Score], speed: Sequence[Score]
) -> Entry:
    """What the card keeps of a model."""
    from lienzo.tasks.card_file import Entry, as_figure
    from lienzo.tasks.card_models import facts_of

    shared = _shared(options, real)
    return Entry(
        label=candidate.label,
        network=candidate.network,
        sha256=candidate.sha256,
        files=tuple(path.name for path in candidate.files),
        settings=candidate.settings,
        prompts=candidate.prompt_kind,
        command=command_of(options, candidate.given),
        facts=facts_of(candidate.path),
        figures=(*(as_figure(score, **shared) for score in scores), *(as_figure(score) for score in speed)),
    )


def command_of(options: MakeCard, model: str) -> str:
    """The command that measures one model in this way."""
    words = ["lienzo", "card", model, "--real", str(options.real)]
    for name, value in options.model_dump(mode="json", exclude=set(COMMAND_ONLY)).items():
        default = type(options).model_fields[name].default
        if value != (str(default) if isinstance(default, Path) else default):
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return shlex.join(words)
