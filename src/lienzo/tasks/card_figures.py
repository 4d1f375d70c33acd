"""The figures of a card that come from pictures: each model's against the same real ones."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note
from lienzo.data.native import NativePictures
from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Fid
from lienzo.metrics.kid import Kid
from lienzo.metrics.modes import FittedModes, Modes
from lienzo.metrics.nets import FeatureNet, open_feature_net
from lienzo.metrics.precision_recall import PrecisionRecall
from lienzo.metrics.protocol import Protocol, Score
from lienzo.metrics.table import measure
from lienzo.tasks.scoring import CHEAP, DRAWS, by_pairs, score_of_words
from lienzo.tasks.sides import CHUNK, Side, embed, picture_side

if TYPE_CHECKING:
    from lienzo.tasks.card import MakeCard
    from lienzo.tasks.card_models import Candidate
    from lienzo.tasks.drawing import Artist

EMBEDDINGS = {"judge": "judge-embedding", "guide": "guide-embedding"}
"""Net -> the net of the same file whose rows have unit length, as CMMD and the CLIP score need."""
SHOWN = 16  # pictures on a sample sheet


class Watcher:
    """A second feature net that looks at pictures as they pass by."""

    def __init__(self, net: FeatureNet | None):
        self.net = net
        self.waiting: list[np.ndarray] = []
        self.rows: list[Tensor] = []

    def see(self, picture: np.ndarray) -> None:
        if self.net is not None:
            self.waiting.append(picture)
            if len(self.waiting) == CHUNK:
                self._look()

    def features(self) -> FeatureSet | None:
        """What it saw; None without a net."""
        if self.net is None:
            return None
        self._look()
        return FeatureSet(torch.cat(self.rows), None, self.net.made)

    def _look(self) -> None:
        if self.net is not None and self.waiting:
            self.rows.append(self.net(self.waiting, batch_size=CHUNK).rows)
            self.waiting.clear()


@dataclass(frozen=True, eq=False)
class RealSide:
    """The real pictures as every model of the card meets them.

    Attributes:
        features: by the card's net.
        embeddings: rows of unit length where there is a net for them, else None.
        modes: the classifier of their classes, or None.
        digest: of their pixels.
        classes: names of the classes that the classifier counts.
    """

    features: FeatureSet
    embeddings: FeatureSet | None
    modes: FittedModes | None
    digest: str
    classes: tuple[str, ...]


class Eyes:
    """The card's feature net with the one that gives embeddings."""

    def __init__(self, options: MakeCard, device: torch.device):
        self.net = open_feature_net(options.net, options.weights, device)
        second = EMBEDDINGS.get(options.net)
        self.second = open_feature_net(second, options.weights, device) if second else None

    @property
    def reader(self) -> FeatureNet:
        """The net that may read words."""
        return self.second or self.net


def real_side(eyes: Eyes, pictures: NativePictures, n: int) -> Generator[Event, None, RealSide]:
    """The real pictures' features, with a Note where their classes cannot be counted."""
    side, embeddings, digest = yield from _seen(eyes, pictures, n, "real")
    modes: FittedModes | None = None
    classes: tuple[str, ...] = ()
    if side.labels is None:
        yield Note("The real pictures have no classes, so lost modes cannot be counted.", "warning")
    else:
        try:
            modes = Modes().fit(side.features, side.labels)
            classes = tuple(pictures.label_names[each] for each in modes.classes)
            left = len(np.unique(side.labels)) - len(classes)
            if left:
                yield Note(f"{left} of the classes have too few real pictures and are not counted as modes.")
        except BadInput as error:
            yield Note(str(error), "warning")
    return RealSide(side.features, embeddings, modes, digest, classes)


def other_real(eyes: Eyes, pictures: NativePictures, n: int) -> Generator[Event, None, Drawing | None]:
    """As many other real pictures as if a model had drawn them: what no model can beat but by chance."""
    first = set(pictures.some(n))
    rows = [row for row in pictures.some(2 * n) if row not in first]
    if len(rows) < n:
        return None
    captions = tuple(pictures.captions[row] for row in rows) if pictures.captions else ()
    others = NativePictures(
        tuple(pictures.names[row] for row in rows), lambda index: pictures.read(rows[index]), captions
    )
    side, embeddings, _ = yield from _seen(eyes, others, n, "other real")
    return Drawing(side, embeddings, [], [])


def _seen(
    eyes: Eyes, pictures: NativePictures, n: int, stage: str
) -> Generator[Event, None, tuple[Side, FeatureSet | None, str]]:
    """Features and embeddings of pictures at hand, and a digest of their pixels."""
    watcher, digest = Watcher(eyes.second), blake2b(digest_size=4)

    def read(row: int) -> np.ndarray:
        picture = pictures.read(row)
        digest.update(repr(picture.shape).encode() + picture.tobytes())
        watcher.see(picture)
        return picture

    side = yield from picture_side(eyes.net, replace(pictures, read=read), n, stage)
    return side, watcher.features() or _if_unit(side.features), digest.hexdigest()


def _if_unit(features: FeatureSet) -> FeatureSet | None:
    """The features where they are embeddings of unit length."""
    return features if bool(((features.rows.norm(dim=1) - 1).abs() < 1e-3).all()) else None


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a model drew: features, embeddings, and the first pictures with their prompts and seeds."""

    side: Side
    embeddings: FeatureSet | None
    first: list[np.ndarray]
    captions: list[str]


def drawing(eyes: Eyes, artist: Artist, candidate: Candidate, seed: int, batch: int) -> Generator[Event, None, Drawing]:
    """Let a model draw and look at it."""
    watcher, first = Watcher(eyes.second), list[np.ndarray]()
    texts, captions = list[str](), list[str]()

    def stream() -> Iterator[np.ndarray]:
        for drawn in artist.draw(candidate.prompts, seed, batch):
            texts.append(drawn.prompt)
            if len(first) < SHOWN:
                first.append(drawn.image)
                captions.append(drawn.prompt or f"seed {drawn.seed}")
            watcher.see(drawn.image)
            yield drawn.image

    features = yield from embed(eyes.net, stream(), len(candidate.prompts), f"draw {candidate.label}")
    side = Side(features, [f"{i:06d}" for i in range(len(texts))], texts)
    return Drawing(side, watcher.features() or _if_unit(features), first, captions)


def picture_scores(options: MakeCard, eyes: Eyes, real: RealSide, drawn: Drawing) -> list[Score]:
    """All figures of the pictures."""
    fake = drawn.side.features
    draws = options.draws if options.draws is not None else (DRAWS if fake.dim <= CHEAP else 0)
    metrics: list[Any] = [Fid(draws), Kid(), PrecisionRecall()]
    found = measure(metrics, real.features, fake)
    scores = [found[name] for name in ("fid", "kid", "precision", "density", "recall", "coverage")]
    if real.embeddings is not None and drawn.embeddings is not None:
        scores += measure(["cmmd"], real.embeddings, drawn.embeddings).values()
        if eyes.reader.encode_text is not None and drawn.side.texts and all(drawn.side.texts):
            scores.append(score_of_words(eyes.reader, replace(drawn.side, features=drawn.embeddings)))
    if real.modes is not None:
        scores += real.modes.measure(fake).values()
    return scores


def bits_score(options: MakeCard, candidate: Candidate, real: NativePictures) -> Generator[Event, None, list[Score]]:
    """Bits per dimension where the model has them; a Note where not."""
    from lienzo.tasks.evaluate import Evaluate

    wanted = Evaluate.make(
        real=options.real, fake=str(candidate.path), metrics=("bits_per_dim",), n=options.n, net=options.net
    )
    try:
        return (yield from by_pairs(wanted, real))
    except BadInput:
        yield Note(f"'{candidate.label}' has no bits per dimension: it is no unconditional diffusion of pixels.")
        return []


def expected_fid(features: FeatureSet, n: int) -> Protocol:
    """The protocol that FID will have, to refuse cards of another one before anything is drawn."""
    return Protocol.of("fid", features.made, {"n": n, "ref": len(features)})
