"""Training the classifier of noisy pictures that guides ADM (Dhariwal and Nichol 2021, section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.adm_recipe import check_labels, mirrored, picture_sheet, signed_pictures, spread_rows
from lienzo.nn.noise import PictureNoise
from lienzo.training.recipe import Batch, Recipe

EVALUATED = 256  # most withheld pictures
BANDS = (0.0, 0.25, 0.5, 0.75)  # shares of the timesteps at which accuracy is measured
SHOWN = 8  # pictures of a sheet
RIGHT, WRONG = (-0.6, 0.6, -0.6), (0.7, -0.8, -0.8)  # border colours in [-1, 1]


@dataclass(frozen=True)
class ClassifierTraining:
    """How a noisy classifier is trained, besides its network and its diffusion.

    Attributes:
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
        noised: train on noise of every timestep; else on clean pictures, for a classifier that cannot guide.
        random_flip: mirror every other picture; see `AdmTraining`.
    """

    batch_size: int = 32
    seed: int = 0
    noised: bool = True
    random_flip: bool = False


class ClassifierRecipe(Recipe):
    """Cross entropy of the class of q(x_t | x_0), at timesteps drawn uniformly.

    Args:
        data: training pictures with labels.
        held: withheld pictures with labels; may be empty.
        config: arguments of `AdmClassifier`; `out_channels`, `classes` and `diffusion` are set here.
        diffusion: the noise; the diffusion model that it guides must have the same. The classifier remembers it.
        training: everything else.

    Raises:
        BadInput: there are no labels, or fewer than two classes.
    """

    name = "classifier"
    network = "adm"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        config: Mapping[str, Any],
        diffusion: DiffusionSettings,
        training: ClassifierTraining = ClassifierTraining(),
    ):
        check_labels(data)
        if len(data.label_names) < 2:
            raise BadInput(f"A classifier needs two classes or more; there is only '{data.label_names[0]}'.")
        self.data, self.held, self.training = data, held, training
        self.batch_size = training.batch_size
        self.settings, self.diffusion = diffusion, diffusion.process()
        names = list(data.label_names)
        told = {"out_channels": len(names), "classes": names, "diffusion": asdict(diffusion)}
        self.config: dict[str, Any] = json.loads(json.dumps({**config, **told}))

    def build(self) -> nn.Module:
        return AdmClassifier(**self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def facts(self) -> dict[str, Any]:
        options = {name: value for name, value in asdict(self.training).items() if name != "seed"}
        data = {"data": self.data.fingerprint, "items": len(self.data), "order_seed": self.training.seed}
        return {**super().facts(), **options, **data, "config": self.config}

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.data), start, self.batch_size, self.training.seed)
        x0 = signed_pictures(self.data.images, rows)
        if self.training.random_flip:
            x0 = mirrored(x0, torch.rand(len(rows), generator=generator) < 0.5)
        y = torch.from_numpy(np.asarray(self.data.labels)[rows]).long()
        if not self.training.noised:
            return {"x": x0, "t": torch.zeros(len(rows), dtype=torch.int64), "y": y}
        t = torch.randint(self.settings.steps, (len(rows),), generator=generator)
        return {"x": self.diffusion.q_sample(x0, t, torch.randn(x0.shape, generator=generator)), "t": t, "y": y}

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(self._logits(model, batch["x"], batch["t"]), batch["y"])}

    def _logits(self, model: nn.Module, x: Tensor, t: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return model(x, self.diffusion.model_timesteps(t)).float()

    def _bands(self) -> list[int]:
        return [round(share * (self.settings.steps - 1)) for share in (BANDS if self.training.noised else BANDS[:1])]

    def _noisy(self, rows: np.ndarray, band: int) -> tuple[Tensor, Tensor]:
        """Withheld pictures at timestep `band` with noise fixed by their row; their timesteps."""
        x0 = signed_pictures(self.held.images, rows)
        t = torch.full((len(rows),), band)
        return self.diffusion.q_sample(x0, t, PictureNoise(rows.tolist())(x0)), t

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """How often the class of a withheld picture is the first guess, or among five, at four levels of noise."""
        rows = spread_rows(len(self.held), EVALUATED)
        if not len(rows):
            return {}
        labels = torch.from_numpy(np.asarray(self.held.labels)[rows]).long()
        figures: dict[str, float] = {}
        for band in self._bands():
            logits = self._guess(model, rows, band)
            ranked = logits.argsort(dim=1, descending=True)
            protocol = f"[withheld,t={band} of {self.settings.steps},n={len(rows)}]"
            for most in (1, 5) if logits.shape[1] > 5 else (1,):
                hits = (ranked[:, :most] == labels[:, None]).any(1)
                figures[f"accuracy@{most}{protocol}"] = hits.double().mean().item()
            figures[f"cross_entropy{protocol}"] = F.cross_entropy(logits, labels).item()
        return figures

    def _guess(self, model: nn.Module, rows: np.ndarray, band: int) -> Tensor:
        """Logits (N, classes) of withheld pictures at a timestep, on the CPU."""
        device = next(model.parameters()).device
        parts = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        noisy = (self._noisy(part, band) for part in parts)
        return torch.cat([self._logits(model, x.to(device), t.to(device)).cpu() for x, t in noisy])

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Withheld pictures, a row for each level of noise, bordered green where the first guess is right, else red."""
        rows = spread_rows(len(self.held), SHOWN)
        if not len(rows):
            return None
        labels = torch.from_numpy(np.asarray(self.held.labels)[rows]).long()
        shown = []
        for band in self._bands():
            right = self._guess(model, rows, band).argmax(1) == labels
            shown.append(bordered(self._noisy(rows, band)[0], right))
        return picture_sheet(torch.cat(shown), len(rows))


def bordered(x: Tensor, right: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) in [-1, 1] with a border that says whether each of `right` (B,) holds."""
    width = max(1, x.shape[-1] // 16)
    colours = torch.where(right[:, None], torch.tensor(RIGHT), torch.tensor(WRONG))  # (B, 3)
    framed = colours[:, :, None, None].expand_as(x).clone()
    inside = slice(width, -width)
    framed[:, :, inside, inside] = x[:, :, inside, inside].clamp(-1, 1)
    return framed
