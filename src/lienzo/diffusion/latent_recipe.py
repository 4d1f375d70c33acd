"""Training a diffusion model in the latents of an autoencoder (Rombach et al. 2022, arXiv 2112.10752).

Objectives: the noise (Ho et al. 2020), v (Salimans and Ho 2022), or the velocity of a rectified flow (Liu et al. 2022)
at logit-normal times (Esser et al. 2024, arXiv 2403.03206).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.autoencoders.small_pictures import grid, spread_rows
from lienzo.core.errors import BadInput
from lienzo.core.events import Progress
from lienzo.core.files import replacing
from lienzo.data.fingerprints import fingerprint
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet, Pictures
from lienzo.diffusion.code_painter_recipe import noise_times
from lienzo.diffusion.latent_painter import SCHEDULE, STEPS, LatentDenoiser, Stage, joined, latent_denoiser
from lienzo.diffusion.losses import mean_flat
from lienzo.diffusion.sampling import sample
from lienzo.diffusion.schedules import alphas_cumprod, make_betas
from lienzo.diffusion.sigmas import schedule
from lienzo.nn.noise import PictureNoise
from lienzo.training.recipe import Batch, Recipe

AT_ONCE = 16  # pictures encoded at a time
EVALUATED, SHEET = 256, 6  # most withheld pictures for the loss; columns of the sample sheet
SHEET_STEPS, GUIDANCE = 12, 3.0
SMALLER = 4  # times, of the picture that a model with the hint `small` is told


@dataclass(frozen=True)
class Texts:
    """What is said of the pictures.

    Attributes:
        vectors: (R, L, D) of all captions, float16 or float32; may be a memory map.
        rows: for each picture the rows of `vectors` that caption it; maybe none.
        read: how they were made, see `LatentPainter`.
        known: some of the captions.
    """

    vectors: np.ndarray
    rows: Sequence[np.ndarray]
    read: Mapping[str, Any]
    known: Sequence[str] = ()


@dataclass(frozen=True)
class LatentTraining:
    """How a latent diffusion model is trained, besides its network.

    Attributes:
        batch_size: latents of one forward pass.
        seed: of their order.
        dropout: share of conditions hidden, which classifier-free guidance needs.
        min_snr: largest weight of the signal-to-noise ratio (Hang et al. 2023, arXiv 2303.09556); None weighs all
            timesteps alike. For eps and v.
    """

    batch_size: int = 64
    seed: int = 0
    dropout: float = 0.1
    min_snr: float | None = None


class LatentRecipe(Recipe):
    """Latent diffusion.

    Args:
        data: training pictures, with labels for the condition class.
        held: withheld ones; may be empty.
        latents: (N, C, h, w) of `data` and of `held`, scaled to a standard deviation of about 1; see `cached_latents`.
        stage: the autoencoder that made them, with the scale that they have.
        config: arguments of `LatentDenoiser`; what data and stage tell is set here.
        training: everything else.
        texts: of `data` and of `held`, for the condition text.

    Raises:
        BadInput: what the condition needs is missing.
    """

    name = "latent"
    network = "latent-painter"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        latents: tuple[np.ndarray, np.ndarray],
        stage: Stage,
        config: Mapping[str, Any],
        training: LatentTraining = LatentTraining(),
        texts: tuple[Texts, Texts] | None = None,
    ):
        self.sets, self.latents, self.texts = (data, held), latents, texts
        self.stage = copy.deepcopy(stage).cpu().eval().requires_grad_(False)
        self.training, self.batch_size = training, training.batch_size
        self.condition = config.get("condition", "none")
        _, channels, side, _ = latents[0].shape
        told: dict[str, Any] = {"channels": channels, "side": side}
        if self.condition == "class":
            if data.labels is None:
                raise BadInput("Classes can only be learned of pictures in one folder a class, or with labels.")
            told["classes"] = list(data.label_names)
        if self.condition == "text":
            if texts is None:
                raise BadInput("Texts can only be learned of pictures with captions.")
            told["text_width"] = texts[0].vectors.shape[2]
        self.config = {**config, **told}
        self.objective = self.config.get("objective", "flow")
        with torch.device("meta"):
            LatentDenoiser(**self.config)

    def build(self) -> nn.Module:
        return LatentDenoiser(**self.config)

    def facts(self) -> dict[str, Any]:
        data = self.sets[0]
        read = {} if self.texts is None else {"text": dict(self.texts[0].read)}
        return {
            **super().facts(), **asdict(self.training), "config": self.config, "data": data.fingerprint,
            "items": len(data), "stage": self._stage_name, **read,
        }  # fmt: skip

    @cached_property
    def _stage_name(self) -> str:
        return stage_fingerprint(self.stage)

    @cached_property
    def alpha_bar(self) -> Tensor:
        """(T,) of eps and v."""
        return alphas_cumprod(make_betas(SCHEDULE, STEPS)).float()

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.sets[0]), start, self.batch_size, self.training.seed)
        hidden = torch.rand(len(rows), generator=generator) < self.training.dropout
        return self._items(0, rows, generator) | self._told(0, rows, hidden, generator)

    def _items(self, which: int, rows: np.ndarray, generator: Generator) -> Batch:
        """Clean latents, noise and times of training or withheld pictures."""
        x0 = torch.from_numpy(np.array(self.latents[which][rows])).float()
        noise = torch.randn(x0.shape, generator=generator)
        if self.objective == "flow":
            t = noise_times(len(rows), generator)
        else:
            t = torch.randint(STEPS, (len(rows),), generator=generator)
        return {"x0": x0, "noise": noise, "t": t}

    def _told(self, which: int, rows: np.ndarray, hidden: Tensor, generator: Generator) -> Batch:
        """The conditions of pictures, as arguments of the network."""
        data = self.sets[which]
        if self.condition == "class":
            assert data.labels is not None
            y = torch.from_numpy(data.labels[rows])
            return {"y": torch.where(hidden, len(self.config["classes"]), y)}
        if self.condition == "text":
            assert self.texts is not None
            texts = self.texts[which]
            choice = torch.rand(len(rows), generator=generator).tolist()
            own = [texts.rows[row] for row in rows]
            said = [int(each[int(c * len(each))]) if len(each) else -1 for each, c in zip(own, choice, strict=True)]
            silent = torch.tensor([row < 0 for row in said])
            vectors = torch.from_numpy(np.array(texts.vectors[np.maximum(said, 0)])).float()
            return {"text": vectors, "keep": ~(hidden | silent)}
        if self.condition == "picture":
            x = torch.from_numpy(np.array(data.images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
            return {"picture": self._hint(x, generator), "keep": ~hidden}
        return {}

    def _hint(self, x: Tensor, generator: Generator) -> Tensor:
        if self.config.get("hint", "mask") == "small":
            return hint_of_small(self.stage, x)
        return hint_of_mask(self.stage, x, random_masks(len(x), x.shape[-1], generator))

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._losses(model, batch).mean()}

    def _losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of each item, (B,)."""
        x0, noise, t = batch["x0"], batch["noise"], batch["t"]
        told = {name: batch[name] for name in ("text", "keep", "y", "picture") if name in batch}
        if self.objective == "flow":
            part = t[:, None, None, None]
            answer = model((1 - part) * x0 + part * noise, t, **told)
            return mean_flat((answer.float() - (noise - x0)).square())
        kept = self.alpha_bar.to(t.device)[t]
        alpha, sigma = (value.sqrt()[:, None, None, None] for value in (kept, 1 - kept))
        target = noise if self.objective == "eps" else alpha * noise - sigma * x0
        answer = model(alpha * x0 + sigma * noise, t, **told)
        return mean_flat((answer.float() - target).square()) * self._weights(kept)

    def _weights(self, kept: Tensor) -> Tensor:
        if self.training.min_snr is None:
            return torch.ones_like(kept)
        snr = kept / (1 - kept)
        return snr.clamp(max=self.training.min_snr) / (snr if self.objective == "eps" else snr + 1)

    def export(self, model: nn.Module) -> nn.Module:
        """The network with its autoencoder."""
        assert isinstance(model, LatentDenoiser)
        read, known = (None, ()) if self.texts is None else (self.texts[0].read, self.texts[0].known)
        return joined(copy.deepcopy(self.stage), copy.deepcopy(model).cpu(), self.sets[0].size, read, known)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on withheld pictures, each with a time and noise of its own that stay the same."""
        rows, device = spread_rows(len(self.sets[1]), EVALUATED), next(model.parameters()).device
        if not len(rows):
            return {}
        generator, total = Generator().manual_seed(0), 0.0
        for part in np.array_split(rows, -(-len(rows) // self.batch_size)):
            batch = self._items(1, part, generator)
            batch |= self._told(1, part, torch.zeros(len(part), dtype=torch.bool), generator)
            total += float(self._losses(model, {k: v.to(device) for k, v in batch.items()}).sum())
        return {f"mse[{self.objective},withheld,n={len(rows)}]": total / len(rows)}

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray:
        """Two rows: pictures as the autoencoder keeps them, and new ones for what these show."""
        which = 1 if len(self.sets[1]) else 0
        rows, device = spread_rows(len(self.sets[which]), SHEET), next(model.parameters()).device
        generator = Generator().manual_seed(0)
        told = self._told(which, rows, torch.zeros(len(rows), dtype=torch.bool), generator)
        told = {name: value.to(device) for name, value in told.items()}
        real = torch.from_numpy(np.array(self.latents[which][rows])).float()
        drawn = draw_latents(model, self.objective, real.shape, told, len(self.config.get("classes") or ()))
        pictures = torch.cat([self.stage.decode(part) for part in (real, drawn.cpu())])
        return grid((pictures + 1) / 2, len(rows))


@torch.no_grad()
def draw_latents(
    model: nn.Module, objective: str, shape: Sequence[int], told: Mapping[str, Tensor], no_class: int
) -> Tensor:
    """New latents of a shape (B, C, h, w), picture i from seed i, with classifier-free guidance where there is a
    condition; `no_class` is the class that stands for none."""
    device = next(model.parameters()).device
    denoise = latent_denoiser(model, objective)
    free = dict(told)
    if "keep" in told:
        free["keep"] = torch.zeros_like(told["keep"])
    if "y" in told:
        free["y"] = torch.full_like(told["y"], no_class)

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        wanted = denoise(x, sigma, **told)
        if not told:
            return wanted
        without = denoise(x, sigma, **free)
        return without + GUIDANCE * (wanted - without)

    noise = PictureNoise(list(range(shape[0])), device)
    sigmas = schedule("native", denoise, SHEET_STEPS).float().to(device)
    x = sigmas[0] * noise(torch.zeros(tuple(shape), device=device))
    for step in sample("euler", guided, x, sigmas, noise=noise):
        x = step.x
    return x


@torch.no_grad()
def hint_of_mask(stage: Stage, pictures: Tensor, masks: Tensor) -> Tensor:
    """What a model that fills holes is told: the mask and the latents of the picture without that.

    Args:
        stage: the autoencoder.
        pictures: (B, 3, H, W) in [-1, 1].
        masks: (B, 1, H, W), 1 where to paint.

    Returns:
        (B, 1 + C, h, w).
    """
    left = stage.encode(pictures * (1 - masks))
    return torch.cat([F.adaptive_max_pool2d(masks, left.shape[2:]), left], dim=1)


@torch.no_grad()
def hint_of_small(stage: Stage, pictures: Tensor) -> Tensor:
    """What a model that adds detail is told: the latents (B, C, h, w) of the pictures at a quarter of their size."""
    small = F.interpolate(pictures, scale_factor=1 / SMALLER, mode="area")
    return stage.encode(F.interpolate(small, pictures.shape[2:], mode="bicubic").clamp(-1, 1))


def random_masks(count: int, size: int, generator: Generator) -> Tensor:
    """Rectangles of a sixteenth to all of the picture, one in ten everything: (B, 1, S, S)."""
    sides = (size * (0.25 + 0.75 * torch.rand(count, 2, generator=generator))).long().clamp(1, size)
    places = (torch.rand(count, 2, generator=generator) * (size + 1 - sides)).long()
    everything = torch.rand(count, generator=generator) < 0.1
    line = torch.arange(size)
    inside = [(line >= places[:, i, None]) & (line < (places + sides)[:, i, None]) for i in range(2)]
    masks = inside[0][:, :, None] & inside[1][:, None, :]
    return (masks | everything[:, None, None])[:, None].float()


def stage_fingerprint(stage: Stage) -> str:
    """A short name of an autoencoder's weights, whatever the scale of its latents."""
    return fingerprint(*(value.detach().float().cpu().numpy() for value in stage.state_dict().values()))


def cached_latents(
    stage: Stage, images: Pictures, name: str, folder: Path, device: torch.device
) -> Iterator[Progress | np.ndarray]:
    """Encode pictures once, into a memory-mapped file of float16 that is written whole or not at all.

    Args:
        stage: the autoencoder, as it is scaled; the file has its units before scaling.
        images: (N, S, S, 3) uint8.
        name: fingerprint of the pictures.
        folder: gets the file, named after pictures and weights.
        device: where to encode.

    Yields:
        Progress, then the latents (N, C, h, w) as they lie in the file.
    """
    path = folder / f"latents-{fingerprint([name, stage_fingerprint(stage), str(len(images))])}.npy"
    if not path.is_file() and len(images):
        folder.mkdir(parents=True, exist_ok=True)
        stage = copy.deepcopy(stage).to(device).eval()
        stage.rescale(1.0)
        with replacing(path) as work:
            yield from _encode(stage, images, work, device)
    if not len(images):
        yield np.zeros(
            (0, stage.channels, images.shape[1] // stage.factor, images.shape[1] // stage.factor), np.float16
        )
    else:
        yield np.load(path, mmap_mode="r")


def _encode(stage: Stage, images: Pictures, path: Path, device: torch.device) -> Iterator[Progress]:
    count, side = len(images), images.shape[1] // stage.factor
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(count, stage.channels, side, side))
    for first in range(0, count, AT_ONCE):
        rows = np.arange(first, min(first + AT_ONCE, count))
        x = torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            file[rows] = stage.encode(x.to(device)).cpu().numpy().astype(np.float16)
        yield Progress("Encoding pictures", int(rows[-1]) + 1, count, 0.0, "picture")
    file.flush()


@dataclass(frozen=True)
class Scaled:
    """Latents of a file in other units: (x - shift) * scale, as they are read."""

    stored: np.ndarray
    scale: float
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return (np.asarray(self.stored[rows], np.float32) - self.shift) * self.scale


def measured_scale(stored: np.ndarray, most: int = 1024) -> float:
    """1 / standard deviation of latents as they lie in a file; 1 where they do not vary."""
    spread = float(np.asarray(stored[spread_rows(len(stored), most)], np.float32).std())
    return 1 / spread if np.isfinite(spread) and spread > 1e-6 else 1.0
