"""The trade-off of the factor f: how fast diffusion in the latents is against how well they keep the picture.

Autoencoders of f = 2, 4, 8 and 16 are trained equally long on the corpus at 64 px. Of each: PSNR and Frechet distance
of withheld pictures to their reconstructions (features of the judge's CLIP), and the seconds of one step of a U-Net of
one and the same width on its latents. Rombach et al. 2022, section 4.1.

    python benchmarks/autoencoder_factors.py CORPUS --images 4000
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lienzo.autoencoders.small_pictures import spread_rows
from lienzo.autoencoders.stage_recipe import StageLosses, StageRecipe, StageTraining, signed, stage_config
from lienzo.data.corpus import load_corpus
from lienzo.data.sets import DataSet
from lienzo.diffusion.latent_painter import LatentDenoiser
from lienzo.imaging.psnr import psnr
from lienzo.metrics.fid import fid
from lienzo.metrics.nets.clip_features import compact_clip
from lienzo.tasks.perceptual import open_perceptual
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.state import trained

CHANNELS = {2: 3, 4: 4, 8: 8, 16: 16}  # of the latents; as many numbers less as the factor asks, but not fewer
SIZE, AT_ONCE, STEPS = 64, 16, 5


def autoencoder(data: DataSet, held: DataSet, factor: int, images: int, folder: Path) -> tuple[torch.nn.Module, dict]:
    """A KL autoencoder after `images` pictures, and its figures."""
    config = stage_config("kl", factor, CHANNELS[factor], width=32, resolution=SIZE)
    recipe = StageRecipe(
        data, held, config, StageTraining("kl", StageLosses(adversary=0.0), batch_size=8), open_perceptual("guide")
    )
    plan = Training(
        images=images, learning_rate=1e-3, warmup=images // 20, fall=0.5, weight_decay=1e-4, precision="bf16",
        ema_half_lives=(max(1, images // 20),),
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    for _ in fit(recipe, plan, folder):
        pass
    model = trained(recipe, folder)
    return recipe.export(model), recipe.evaluate(model)


@torch.no_grad()
def rebuilt(stage: torch.nn.Module, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pictures and their reconstructions in [0, 1]."""
    x = signed(images, np.arange(len(images)))
    made = torch.cat([stage.decode(stage.encode(part)) for part in x.split(AT_ONCE)]).clamp(-1, 1)  # type: ignore[operator]
    return (x + 1) / 2, (made + 1) / 2


@torch.no_grad()
def features(pictures: Tensor) -> Tensor:
    """Pooled features (N, D) of the judge."""
    judge = compact_clip("judge")
    return torch.cat([judge.features(part) for part in pictures.split(AT_ONCE)])


@torch.no_grad()
def seconds_a_step(factor: int, batch: int = 4) -> float:
    """Of a U-Net of width 64 on latents of SIZE px, for one picture; the best of some."""
    side = SIZE // factor
    levels = (1, 2, 2)[: max(1, side.bit_length() - 2)]
    network = LatentDenoiser(channels=CHANNELS[factor], side=side, width=64, multiples=levels).eval()
    x, t = torch.randn(batch, CHANNELS[factor], side, side), torch.full((batch,), 0.5)
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        network(x, t)
        times.append(time.perf_counter() - began)
    return min(times) / batch


def plot(rows: list[dict[str, float]]) -> str:
    """The trade-off as an SVG: seconds a step across (log), PSNR up, the Frechet distance beside each point."""
    width, height, margin = 640, 420, 60
    across, up = [np.log10([row["seconds"] for row in rows]), np.array([row["psnr"] for row in rows])]

    def place(values: np.ndarray, low: float, high: float) -> np.ndarray:
        span = max(float(values.max() - values.min()), 1e-6)
        return low + (values - values.min()) / span * (high - low)

    xs, ys = place(across, margin + 40, width - margin - 90), place(up, height - margin - 30, margin + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="14"><rect width="100%" height="100%" fill="white"/>',
        f'<polyline points="{" ".join(f"{x:.0f},{y:.0f}" for x, y in zip(xs, ys, strict=True))}" fill="none" '
        'stroke="#9bb" stroke-width="2"/>',
        f'<text x="{width / 2}" y="{height - 15}" text-anchor="middle">seconds a step of diffusion (log)</text>',
        f'<text x="20" y="{height / 2}" text-anchor="middle" transform="rotate(-90 20 {height / 2})">PSNR, dB</text>',
    ]
    for row, x, y in zip(rows, xs, ys, strict=True):
        label = f"f={row['factor']:.0f}: {row['psnr']:.1f} dB, FD {row['rfd']:.1f}, {row['seconds'] * 1e3:.1f} ms"
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="#166"/>')
        anchor = "end" if x > width / 2 else "start"
        beside = x + (-9 if anchor == "end" else 9)
        parts.append(f'<text x="{beside:.0f}" y="{y - 9:.0f}" text-anchor="{anchor}">{label}</text>')
    return "\n".join([*parts, "</svg>"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--images", type=int, default=4000, help="training pictures of each autoencoder")
    parser.add_argument("--held", type=int, default=1000, help="withheld pictures for the figures")
    parser.add_argument("--factors", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--out", type=Path, default=Path("runs/autoencoder_factors"))
    given = parser.parse_args()
    corpus = load_corpus(given.corpus, SIZE, permissive=True)
    names = tuple(record.key for record in corpus.records)
    data = DataSet(corpus.images, names, fingerprint="corpus")
    learned = [i for i, record in enumerate(corpus.records) if record.split == "train"]
    judged = np.array([i for i, record in enumerate(corpus.records) if record.split == "test"])
    judged = judged[spread_rows(len(judged), given.held)]
    rows = []
    for factor in given.factors:
        stage, _ = autoencoder(data.select(learned), data.select([]), factor, given.images, given.out / f"f{factor}")
        real, made = rebuilt(stage, corpus.images[judged])
        distance = fid(features(real), features(made))
        quality = float(psnr(made, real).clamp(max=100).mean())
        rows.append({"factor": factor, "psnr": quality, "rfd": float(distance), "seconds": seconds_a_step(factor)})
        print(json.dumps(rows[-1]), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "factors.json").write_text(json.dumps({"images": given.images, "held": len(judged), "rows": rows}))
    (given.out / "factors.svg").write_text(plot(rows))
    print(f"{given.out / 'factors.svg'} is written.")


if __name__ == "__main__":
    main()
