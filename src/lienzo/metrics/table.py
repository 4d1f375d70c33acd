"""The metrics that compare two sets of pictures by their features, and one call that measures several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.metrics.features import FeatureSet, check_pair
from lienzo.metrics.fid import Fid, Statistics
from lienzo.metrics.fid_infinity import FidInfinity
from lienzo.metrics.products import Reader, Sides, centre, walk
from lienzo.metrics.protocol import Score

METRICS = Names(
    "metric",
    {
        "fid": "lienzo.metrics.fid:Fid",
        "fid_infinity": "lienzo.metrics.fid_infinity:FidInfinity",
        "kid": "lienzo.metrics.kid:Kid",
        "inception_score": "lienzo.metrics.inception_score:InceptionScore",
        "precision_recall": "lienzo.metrics.precision_recall:PrecisionRecall",
        "cmmd": "lienzo.metrics.cmmd:Cmmd",
        "mind": "lienzo.metrics.mind:Mind",
    },
)
"""Name -> class. `METRICS.load("kid")(subsets=10).measure(real, fake)` gives scores by name."""


class Metric(Protocol):
    """A metric is a frozen dataclass of its settings.

    Attributes:
        needs: What its features must be: ``features`` of any net, ``logits`` beside them, or ``clip`` embeddings of
            unit length.
    """

    needs: str

    def measure(self, real: FeatureSet, fake: FeatureSet) -> dict[str, Score]:
        """Scores by name; both sets were made alike (`features.check_pair`)."""


class Pass(Reader, Protocol):
    """A metric's part in one pass over all pairs of pictures."""

    def scores(self) -> dict[str, Score]:
        """After the pass: scores by name."""


@runtime_checkable
class PairwiseMetric(Protocol):
    """A metric that looks at all pairs of pictures, and can do so in a pass shared with others."""

    def start(self, real: FeatureSet, fake: FeatureSet, sides: Sides) -> Pass:
        """Its part in the pass."""


def measure(metrics: Sequence[str | Metric], real: FeatureSet | Statistics, fake: FeatureSet) -> dict[str, Score]:
    """Several metrics of the same features, with one pass over all pairs for those that need it.

    Args:
        metrics: Names of `METRICS` (with their default settings), or metrics.
        real: The reference. Published statistics (mean and covariance) serve FID and FID-infinity only.
        fake: What is judged.

    Returns:
        Scores by name, in the order of the metrics.

    Raises:
        BadInput: the sets do not fit each other or a metric; one sentence.
    """
    chosen: list[Metric] = [METRICS.load(one)() if isinstance(one, str) else one for one in metrics]
    if isinstance(real, Statistics):
        return _against_statistics(chosen, real, fake)
    check_pair(real, fake)
    shared = [metric for metric in chosen if isinstance(metric, PairwiseMetric)]
    passes = {}
    if shared:
        sides = centre(real.rows, fake.rows)
        passes = {id(metric): metric.start(real, fake, sides) for metric in shared}
        walk(sides, list(passes.values()))
    scores: dict[str, Score] = {}
    for metric in chosen:
        scores |= passes[id(metric)].scores() if id(metric) in passes else metric.measure(real, fake)
    return scores


def _against_statistics(metrics: Sequence[Metric], real: Statistics, fake: FeatureSet) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for metric in metrics:
        if not isinstance(metric, Fid | FidInfinity):
            raise BadInput(
                f"{type(metric).__name__} needs the real features; this reference holds only their mean and covariance."
            )
        scores |= metric.measure(real, fake)
    return scores
