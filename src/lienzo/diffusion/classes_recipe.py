"""Training networks that draw numbered classes: the course's U-Net by its own procedure, and faster ones.

The recipes differ in their network, in the noise levels they learn and in what is compared; data, labels, figures and
sheets are common. `u` is uniform in (0, 1) for each picture, and `level` turns it into a noise level.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet, Pictures
from lienzo.diffusion.adm_recipe import check_labels, picture_sheet, signed_pictures, spread_rows
from lienzo.diffusion.class_denoisers import NOTEBOOK_STEPS, class_denoiser
from lienzo.diffusion.classcond_unet import ClassCondUnet
from lienzo.diffusion.denoiser import bind, clipped, spread
from lienzo.diffusion.dit import DiT
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.sampling import final, sample
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.shuffle_unet import ShuffleUnet
from lienzo.diffusion.sigmas import schedule
from lienzo.nn.noise import PictureNoise
from lienzo.training.recipe import Batch, Recipe

EVALUATED = 512  # most withheld pictures for the loss
SHEET_CLASSES, SHEET_COLUMNS = 10, 8
UNIFORM_SHARE = 0.1  # of the flow times, so that the ends are learned too
LOOKED_AT = 4096  # pictures read at once to find out whether all are grey


@dataclass(frozen=True)
class ClassTraining:
    """How classes are learned, besides the network.

    Attributes:
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
        label_dropout: share of the labels replaced by "no class", which classifier-free guidance needs.
    """

    batch_size: int = 64
    seed: int = 0
    label_dropout: float = 0.1


class ClassesRecipe(Recipe):
    """What the recipes share.

    Args:
        data: training pictures with labels. Where all are grey the network has one channel, else three.
        held: withheld pictures for `evaluate`; may be empty.
        config: arguments of the network; channels, classes and whatever else the data tell are set here.
        training: everything else.

    Raises:
        BadInput: the pictures have no classes, or the network has no place for hidden labels.
    """

    sampler: ClassVar[tuple[str, str, int]]
    """Name of the sampler, schedule and steps of the sheets."""
    objective: ClassVar[str]
    """What the loss compares, as figures name it."""

    def __init__(
        self, data: DataSet, held: DataSet, config: Mapping[str, Any], training: ClassTraining = ClassTraining()
    ):
        check_labels(data)
        if len(held):
            check_labels(held)
        self.data, self.held, self.training = data, held, training
        self.batch_size = training.batch_size
        self.channels = 1 if all_grey(data.images) else 3
        self.config: dict[str, Any] = {**config, "classes": list(data.label_names), **self.told()}

    @property
    def classes(self) -> int:
        return len(self.data.label_names)

    @abstractmethod
    def told(self) -> dict[str, Any]:
        """What the data and the training say of the network's arguments."""

    @abstractmethod
    def level(self, u: Tensor) -> Tensor:
        """The noise levels (B,), as the recipe counts them, of uniform numbers (B,)."""

    @abstractmethod
    def losses(self, model: nn.Module, x0: Tensor, noise: Tensor, level: Tensor, y: Tensor) -> Tensor:
        """The loss of each picture, (B,), from one call of the network."""

    def facts(self) -> dict[str, Any]:
        options = {name: value for name, value in asdict(self.training).items() if name != "seed"}
        data = {"data": self.data.fingerprint, "items": len(self.data), "order_seed": self.training.seed}
        return {**super().facts(), **options, **data, "config": self.config}

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.data), start, self.batch_size, self.training.seed)
        x0 = self._pictures(self.data, rows)
        hidden = torch.rand(len(rows), generator=generator) < self.training.label_dropout
        return {
            "x0": x0,
            "y": torch.where(hidden, self.classes, labels_at(self.data, rows)),
            "u": torch.rand(len(rows), generator=generator),
            "noise": torch.randn(x0.shape, generator=generator),
        }

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._losses(model, batch).mean()}

    def _losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return self.losses(model, batch["x0"], batch["noise"], self.level(batch["u"]), batch["y"])

    def _pictures(self, data: DataSet, rows: np.ndarray) -> Tensor:
        """Pictures in [-1, 1]: (B, channels, S, S)."""
        return signed_pictures(data.images, rows)[:, : self.channels].contiguous()

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on withheld pictures, each at its own fixed noise and level."""
        rows = spread_rows(len(self.held), EVALUATED)
        if not len(rows):
            return {}
        device = next(model.parameters()).device
        # In the order of the files the level would follow the class.
        levels = torch.from_numpy((np.random.default_rng(0).permutation(len(rows)) + 0.5) / len(rows)).float()
        total = 0.0
        for part in torch.arange(len(rows)).split(self.batch_size):
            chosen = rows[part.numpy()]
            x0 = self._pictures(self.held, chosen)
            batch = {"x0": x0, "noise": PictureNoise(part.tolist())(x0), "u": levels[part]}
            batch["y"] = labels_at(self.held, chosen)
            total += self._losses(model, {k: v.to(device) for k, v in batch.items()}).double().sum().item()
        return {f"loss[withheld,{self.objective},n={len(rows)}]": total / len(rows)}

    def samples(self, model: nn.Module) -> np.ndarray:
        """One row a class (of at most ten), eight pictures of fixed seeds each."""
        shown = np.linspace(0, self.classes - 1, min(self.classes, SHEET_CLASSES)).round().astype(int)
        y = torch.from_numpy(shown).repeat_interleave(SHEET_COLUMNS)
        x = draw(model, y, self.data.size, range(len(y)), *self.sampler)
        return picture_sheet(x.expand(-1, 3, -1, -1), SHEET_COLUMNS)


class ShuffleRecipe(ClassesRecipe):
    """The fast one: a `ShuffleUnet` preconditioned as in EDM (Karras et al. 2022), at noise levels whose logarithm is
    normal (they are logit-normal times of a flow, with a tenth uniform)."""

    name = "classes"
    network = "shuffle-unet"
    sampler = ("dpmpp_2m", "karras", 16)
    objective = "edm"

    def told(self) -> dict[str, Any]:
        return {
            "image_size": self.data.size,
            "channels": self.channels,
            "num_classes": self.classes,
            "sigma_data": spread_of(self.data.images),
        }

    def build(self) -> nn.Module:
        return ShuffleUnet(**self.config)

    def level(self, u: Tensor) -> Tensor:
        t = flow_times(u)
        return t / (1 - t)

    def losses(self, model: nn.Module, x0: Tensor, noise: Tensor, level: Tensor, y: Tensor) -> Tensor:
        data, sigma = self.config["sigma_data"], spread(level, x0)
        total = (sigma**2 + data**2).sqrt()
        noisy = x0 + sigma * noise
        wanted = (x0 - (data / total) ** 2 * noisy) * total / (sigma * data)
        output = model(noisy / total, level.log() / 4, y).float()
        return ((output - wanted) ** 2).flatten(1).mean(1)


class DiTRecipe(ClassesRecipe):
    """A transformer on patches of pixels, as a rectified flow."""

    name = "classes-dit"
    network = "dit"
    sampler = ("dpmpp_2m", "native", 25)
    objective = "velocity"

    def told(self) -> dict[str, Any]:
        return {
            "input_size": self.data.size,
            "in_channels": self.channels,
            "num_classes": self.classes,
            "class_dropout_prob": self.training.label_dropout,
            "learn_sigma": False,
            "objective": "flow",
        }

    def build(self) -> nn.Module:
        return DiT(**self.config)

    def level(self, u: Tensor) -> Tensor:
        return flow_times(u)

    def losses(self, model: nn.Module, x0: Tensor, noise: Tensor, level: Tensor, y: Tensor) -> Tensor:
        t = spread(level, x0)
        output = model((1 - t) * x0 + t * noise, level, y).float()
        return ((output - (noise - x0)) ** 2).flatten(1).mean(1)


class NotebookRecipe(ClassesRecipe):
    """The course's own: the noise of the cosine schedule, every timestep alike.

    The notebook draws `torch.randint(0, 999, ...)`, so it never learns timestep 999, at which sampling starts; here it
    is learned.
    """

    name = "classes-notebook"
    network = "classcond-unet"
    sampler = ("ddim", "native", 25)
    objective = "eps"

    def __init__(
        self, data: DataSet, held: DataSet, config: Mapping[str, Any], training: ClassTraining = ClassTraining()
    ):
        super().__init__(data, held, config, training)
        self.diffusion = GaussianDiffusion(make_betas("cosine", NOTEBOOK_STEPS))

    def told(self) -> dict[str, Any]:
        return {
            "sample_size": self.data.size,
            "in_channels": self.channels,
            "out_channels": self.channels,
            "num_classes": self.classes,
            "null_class": self.training.label_dropout > 0,
        }

    def build(self) -> nn.Module:
        return ClassCondUnet(**self.config)

    def level(self, u: Tensor) -> Tensor:
        return (u * NOTEBOOK_STEPS).long().clamp(max=NOTEBOOK_STEPS - 1)

    def losses(self, model: nn.Module, x0: Tensor, noise: Tensor, level: Tensor, y: Tensor) -> Tensor:
        output = model(self.diffusion.q_sample(x0, level, noise), level, y).float()
        return ((output - noise) ** 2).flatten(1).mean(1)


def flow_times(u: Tensor) -> Tensor:
    """Times in [0.01, 0.985] of uniform numbers: a tenth stays uniform, others are logit-normal (Esser et al. 2024)."""
    inner = ((u - UNIFORM_SHARE) / (1 - UNIFORM_SHARE)).clamp(1e-6, 1 - 1e-6)
    t = torch.where(u < UNIFORM_SHARE, u / UNIFORM_SHARE, torch.special.ndtri(inner).sigmoid())
    return t.clamp(0.01, 0.985)


@torch.no_grad()
def draw(
    model: nn.Module, y: Tensor, size: int, seeds: range, sampler: str, sigmas: str, steps: int, batch: int = 250
) -> Tensor:
    """Pictures of labels (B,) in [-1, 1], (B, C, size, size), in float32 and each from its own seed."""
    device = next(model.parameters()).device
    denoiser = class_denoiser(model)
    levels = schedule(sigmas, denoiser, steps).float().to(device)
    channels = model.config.get("in_channels", model.config.get("channels"))  # type: ignore[union-attr, operator]
    drawn = []
    for part in torch.arange(len(y)).split(batch):
        blank = torch.zeros(len(part), channels, size, size, device=device)
        start = levels[0] * PictureNoise([seeds[i] for i in part.tolist()])(blank)
        told = clipped(bind(denoiser, y=y[part].to(device)))
        with torch.autocast(device.type, enabled=False):
            drawn.append(final(sample(sampler, told, start, levels)).clamp(-1, 1))
    return torch.cat(drawn)


def labels_at(data: DataSet, rows: np.ndarray) -> Tensor:
    """The labels of some rows: (B,) int64."""
    return torch.from_numpy(np.asarray(data.labels)[rows]).long()


def all_grey(images: Pictures) -> bool:
    """Whether the colours of every pixel are equal."""
    for start in range(0, len(images), LOOKED_AT):
        part = images[np.arange(start, min(start + LOOKED_AT, len(images)))]
        if (part != part[..., :1]).any():
            return False
    return True


def spread_of(images: Pictures) -> float:
    """Standard deviation of the pixels of up to 4096 pictures in [-1, 1]; at least 0.1."""
    rows = spread_rows(len(images), LOOKED_AT)
    return max(round(float((images[rows] / 127.5).std()), 3), 0.1)
