"""FID, KID, precision, recall, density and coverage of two sets of features: Lienzo against the programs in use.

Both get the same features, so that only the metrics' own work is timed. The peers, as they are published:

* FID by the formula of pytorch-fid (numpy's covariance, `scipy.linalg.sqrtm`) and by torchmetrics; the faster counts;
* KID by torchmetrics (100 subsets of 1000);
* precision, recall, density and coverage by the package `prdc` (k = 5).

Features are made: rectified mixtures whose covariance falls off like a power law. 2048 numbers a picture stand for
FID's Inception, 512 for a small net. The promise, in processor seconds for all of it and with the same figures: at
least 10 times faster up to 2000 pictures a side, 3 times above; exit code 1 when it is broken. With many pictures
both are bound by the same products of all pairs, which Lienzo computes once, and by symmetry half of them.

It needs a virtual environment of its own, so that nothing of the peers gets into the project's:

    python -m venv peers && peers/bin/pip install torch torchmetrics==1.9.* scipy==1.17.1 prdc scikit-learn . &&
    peers/bin/python benchmarks/metrics_speed.py

It takes about 5 minutes on two idle cores and 4 GB; `--pictures 1000` is a look of a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lienzo.metrics.features import FeatureSet
from lienzo.metrics.fid import Fid
from lienzo.metrics.kid import Kid
from lienzo.metrics.precision_recall import PrecisionRecall
from lienzo.metrics.table import Metric, measure

SUBSETS, SIZE, K = 100, 1000, 5
Figures = dict[str, float]


@dataclass
class Timed:
    """Figures, and what they cost."""

    figures: Figures
    wall: float
    processor: float


def timed(work: Callable[[], Figures]) -> Timed:
    wall, processor = time.perf_counter(), time.process_time()
    figures = work()
    return Timed(figures, time.perf_counter() - wall, time.process_time() - processor)


def made(pictures: int, dim: int, seed: int, shift: float) -> np.ndarray:
    """Features (N, D) float32, non-negative as after a ReLU; `shift` moves the leading directions."""
    world, random = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = world.standard_normal((dim, dim)) * np.arange(1, dim + 1)[:, None] ** -0.6 / 4
    hidden = random.standard_normal((pictures, dim))
    hidden[:, :8] *= 1 + shift
    hidden[:, 0] += shift
    return np.maximum(hidden @ mixing + 0.3 * world.standard_normal(dim) + 0.2, 0).astype(np.float32)


def lienzo(real: np.ndarray, fake: np.ndarray, *metrics: Metric) -> Figures:
    sets = (FeatureSet(torch.from_numpy(one)) for one in (real, fake))
    return {name: score.value for name, score in measure(metrics, *sets).items()}


def pytorch_fid(real: np.ndarray, fake: np.ndarray) -> Figures:
    from scipy.linalg import sqrtm

    mu1, mu2 = real.mean(0, dtype=np.float64), fake.mean(0, dtype=np.float64)
    sigma1, sigma2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy announces the end of `disp`
        root, _ = sqrtm(sigma1 @ sigma2, disp=False)
    total = np.square(mu1 - mu2).sum() + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(root).real
    return {"fid": float(total)}


def torchmetrics_fid(real: np.ndarray, fake: np.ndarray) -> Figures:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_identity(real.shape[1]), input_img_size=(1, 1, real.shape[1]))
    metric.set_dtype(torch.float64)
    _feed(metric, real, fake)
    return {"fid": float(metric.compute())}


def torchmetrics_kid(real: np.ndarray, fake: np.ndarray) -> Figures:
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces that it keeps the features
        size = min(SIZE, len(real))
        metric = KernelInceptionDistance(feature=_identity(real.shape[1]), subsets=SUBSETS, subset_size=size)
    torch.manual_seed(0)
    _feed(metric, real, fake)
    mean, deviation = metric.compute()
    return {"kid": float(mean), "kid_std": float(deviation)}


def _feed(metric: torch.nn.Module, real: np.ndarray, fake: np.ndarray) -> None:
    for rows, is_real in ((real, True), (fake, False)):
        for part in torch.from_numpy(rows).split(1000):
            metric.update(part, real=is_real)


def _identity(dim: int) -> torch.nn.Module:
    net = torch.nn.Flatten()
    net.num_features = dim
    return net


def prdc(real: np.ndarray, fake: np.ndarray) -> Figures:
    from prdc import compute_prdc

    return {name: float(value) for name, value in compute_prdc(real, fake, K).items()}


def exact_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """The mean over Lienzo's subsets, in float64 and as the formula reads; a judge of both, not timed."""
    random, total, size = np.random.RandomState(2020), 0.0, min(SIZE, len(real))
    for _ in range(SUBSETS):
        y = fake[random.choice(len(fake), size, replace=False)].astype(np.float64)
        x = real[random.choice(len(real), size, replace=False)].astype(np.float64)
        xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
        total += within / (size * (size - 1)) - 2 * xy.sum() / size**2
    return total / SUBSETS


def compare(pictures: int, dim: int, exact: bool) -> float:
    """Print the table of one width; how many times faster all three parts together are, in processor seconds."""
    real, fake = made(pictures, dim, 1, 0.0), made(pictures, dim, 2, 0.15)
    for work in (pytorch_fid, torchmetrics_fid, torchmetrics_kid, prdc):  # imports are not part of the timing
        work(real[:16, :4], fake[:16, :4])
    lienzo(real[:16, :4], fake[:16, :4], Fid(), Kid(), PrecisionRecall())
    kid, balls = Kid(SUBSETS, SIZE, draws=0), PrecisionRecall(k=K, rim=False, density_k=K, draws=0)
    peers = {
        f.__name__: timed(lambda f=f: f(real, fake)) for f in (pytorch_fid, torchmetrics_fid, torchmetrics_kid, prdc)
    }
    ours = {
        "FID": timed(lambda: lienzo(real, fake, Fid())),
        "KID": timed(lambda: lienzo(real, fake, kid)),
        "PRDC": timed(lambda: lienzo(real, fake, balls)),
        "all": timed(lambda: lienzo(real, fake, Fid(), kid, balls)),
    }
    fid = min(peers["pytorch_fid"], peers["torchmetrics_fid"], key=lambda one: one.processor)
    against = {"FID": fid, "KID": peers["torchmetrics_kid"], "PRDC": peers["prdc"]}
    against["all"] = Timed({}, *(sum(getattr(p, kind) for p in against.values()) for kind in ("wall", "processor")))
    print(f"\n{pictures} pictures a side, {dim} features, {torch.get_num_threads()} threads; wall (processor) seconds")
    for name, peer in peers.items():
        print(f"  {name:17} {peer.wall:7.2f} ({peer.processor:7.2f})  {peer.figures}")
    for name, mine in ours.items():
        print(
            f"  Lienzo {name:10} {mine.wall:7.2f} ({mine.processor:7.2f})  {against[name].wall / mine.wall:.1f}x "
            f"({against[name].processor / mine.processor:.1f}x)"
        )
    together = ours["all"].figures
    for name in ("fid", "precision", "recall", "density", "coverage"):
        theirs = (peers["pytorch_fid"].figures | peers["prdc"].figures)[name]
        print(f"  {name}: {together[name]:.12g}, {together[name] - theirs:+.2g} from the peer")
    print(f"  kid: {together['kid']:.9g}, the peer's subsets give {against['KID'].figures['kid']:.9g}")
    if exact:
        print(f"  kid: {together['kid'] - exact_kid(real, fake):+.2g} from the formula in float64 on the same subsets")
    return against["all"].processor / ours["all"].processor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 1000])
    parser.add_argument("--features", type=int, nargs="+", default=[2048, 512])
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument("--exact", action="store_true", help="check KID against the plain formula (a minute more)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    kept = True
    for n in options.pictures:
        for dim in options.features:
            promised, ratio = (10 if n <= 2000 else 3), compare(n, dim, options.exact)
            print(f"  in total {ratio:.1f} times faster by processor seconds; promised {promised}")
            kept &= ratio >= promised
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
