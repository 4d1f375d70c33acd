"""Training an ADM U-Net: the losses of DDPM and Improved DDPM with every option of guided-diffusion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet, Pictures
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.denoiser import DiscreteDenoiser, bind, clipped
from lienzo.diffusion.sampling import final, sample
from lienzo.diffusion.sigmas import discrete
from lienzo.diffusion.timestep_samplers import TIMESTEP_SAMPLERS, TimestepSampler, timesteps_at
from lienzo.nn.noise import PictureNoise
from lienzo.training.recipe import Batch, Gather, Recipe

EVALUATED = 128  # most withheld pictures for the loss
SAMPLES, SAMPLE_STEPS = 16, 25


@dataclass(frozen=True)
class AdmTraining:
    """How an ADM U-Net is trained, besides its network and its diffusion.

    Attributes:
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
        class_cond: tell the network the label of each picture.
        label_dropout: share of the labels replaced by "no class", which classifier-free guidance needs.
        random_flip: mirror every other picture. Off, though guided-diffusion mirrors always: it turns letters,
            clocks and left-handed brushwork around, and that is learned too.
        schedule_sampler: a name of `TIMESTEP_SAMPLERS`.
        bpd: withheld pictures whose bits/dim `evaluate` computes, at one network call a timestep.
    """

    batch_size: int = 32
    seed: int = 0
    class_cond: bool = False
    label_dropout: float = 0.0
    random_flip: bool = False
    schedule_sampler: str = "uniform"
    bpd: int = 0


class AdmRecipe(Recipe):
    """Diffusion of pictures in pixels, with or without classes.

    Args:
        data: training pictures, with labels where the training is class-conditional.
        held: withheld pictures for `evaluate`; may be empty.
        config: arguments of `Adm`; `num_classes`, `classes` and `diffusion` are set here.
        diffusion: the process and its loss; the model remembers it.
        training: everything else.

    Raises:
        BadInput: labels are wanted and there are none, or the options do not fit together.
    """

    name = "adm"
    network = "adm"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        config: Mapping[str, Any],
        diffusion: DiffusionSettings,
        training: AdmTraining = AdmTraining(),
    ):
        if training.label_dropout and not training.class_cond:
            raise BadInput("Labels can be dropped from class-conditional training only; add --class-cond.")
        if training.class_cond:
            check_labels(data)
        self.data, self.held, self.training = data, held, training
        self.batch_size = training.batch_size
        self.settings, self.diffusion = diffusion, diffusion.process()
        self.sampler: TimestepSampler = TIMESTEP_SAMPLERS.load(training.schedule_sampler)(diffusion.steps)
        self.config: dict[str, Any] = json.loads(json.dumps({**config, **self._told()}))
        self._measured: list[tuple[Tensor, Tensor]] = []

    def _told(self) -> dict[str, Any]:
        """What the network's config says of its training."""
        names = list(self.data.label_names) if self.training.class_cond else None
        count = None if names is None else len(names) + (self.training.label_dropout > 0)
        return {"num_classes": count, "classes": names, "diffusion": asdict(self.settings)}

    def build(self) -> nn.Module:
        return Adm(**self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def facts(self) -> dict[str, Any]:
        options = {name: value for name, value in asdict(self.training).items() if name not in ("seed", "bpd")}
        data = {"data": self.data.fingerprint, "items": len(self.data), "order_seed": self.training.seed}
        return {**super().facts(), **options, **data, "config": self.config}

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.data), start, self.batch_size, self.training.seed)
        x0 = signed_pictures(self.data.images, rows)
        if self.training.random_flip:
            x0 = mirrored(x0, torch.rand(len(rows), generator=generator) < 0.5)
        batch = {"x0": x0, "noise": torch.randn(x0.shape, generator=generator)}
        # The timestep itself hangs on the losses of earlier steps, which are not known yet when batches are made.
        batch["u"] = torch.rand(len(rows), generator=generator)
        if self.training.class_cond:
            labels = torch.from_numpy(np.asarray(self.data.labels)[rows]).long()
            dropped = torch.rand(len(rows), generator=generator) < self.training.label_dropout
            batch["y"] = torch.where(dropped, len(self.data.label_names), labels)
        return batch

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        t, weights = timesteps_at(self.sampler.weights(), batch["u"])
        terms = self._losses(model, batch, t)
        if self.training.schedule_sampler != "uniform":
            self._measured.append((t, sum(terms.values()).detach()))  # type: ignore[union-attr]
        return {name: (weights * values).mean() for name, values in terms.items()}

    def _losses(self, model: nn.Module, batch: Batch, t: Tensor) -> dict[str, Tensor]:
        """The parts of each item's loss, (B,) each: their sum is what is minimised."""
        y = {"y": batch["y"]} if "y" in batch else {}
        terms = self.diffusion.training_losses(
            lambda x, timesteps: model(x.contiguous(memory_format=torch.channels_last), timesteps, **y).float(),
            batch["x0"],
            t,
            batch["noise"],
        )
        loss = terms.pop("loss")
        return terms or {"vb": loss}

    def learn(self, gather: Gather) -> None:
        """Tell the timestep sampler the losses of the last optimiser step, those of all processes."""
        if self._measured:
            t, losses = (torch.cat(parts) for parts in zip(*self._measured, strict=True))
            self._measured.clear()
            self.sampler.update(gather(t), gather(losses))

    def state(self) -> dict[str, Tensor]:
        return self.sampler.state_dict()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if state:
            self.sampler.load_state_dict(state)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on withheld pictures, each at its own fixed noise and timestep, and perhaps their bits/dim."""
        rows = spread_rows(len(self.held), EVALUATED)
        if not len(rows):
            return {}
        order = np.random.default_rng(0).permutation(len(rows))  # or the timestep would follow the order of the files
        times = torch.from_numpy((order + 0.5) / len(rows) * self.settings.steps).long()
        sums: dict[str, float] = {}
        for part in torch.arange(len(rows)).split(self.batch_size):
            batch = self._held(model, rows[part.numpy()], part.tolist())
            for name, values in self._losses(model, batch, times[part].to(batch["x0"].device)).items():
                sums[name] = sums.get(name, 0.0) + values.double().sum().item()
        protocol = f"withheld,{self.settings.prediction},n={len(rows)}"
        figures = {f"{name}[{protocol}]": total / len(rows) for name, total in sums.items()}
        return figures | (self._bits_per_dim(model) if self.training.bpd else {})

    def _bits_per_dim(self, model: nn.Module) -> dict[str, float]:
        """The whole variational bound of a few withheld pictures."""
        rows = spread_rows(len(self.held), self.training.bpd)
        batch = self._held(model, rows, list(range(len(rows))))
        y = {"y": batch["y"]} if "y" in batch else {}
        bound = self.diffusion.bits_per_dim(
            lambda x, t: model(x, t, **y).float(), batch["x0"], noise=PictureNoise(range(len(rows)))
        )
        return {f"bpd[withheld,n={len(rows)},T={self.settings.steps}]": bound.total.mean().item()}

    def _held(self, model: nn.Module, rows: np.ndarray, seeds: list[int]) -> Batch:
        """Withheld pictures with the noise of their seeds, on the device of the model."""
        device = next(model.parameters()).device
        x0 = signed_pictures(self.held.images, rows).to(device)
        batch = {"x0": x0, "noise": PictureNoise(seeds)(x0)}
        if self.training.class_cond:
            batch["y"] = torch.from_numpy(np.asarray(self.held.labels)[rows]).long().to(device)
        return batch

    def samples(self, model: nn.Module) -> np.ndarray:
        """Sixteen samples by DDIM in float32, the seed of each fixed; with classes, one of them a column."""
        device = next(model.parameters()).device
        denoiser = DiscreteDenoiser(
            model,
            self.diffusion.betas,
            prediction=self.settings.prediction,  # type: ignore[arg-type]
            learned_range=self.settings.learn_sigma,
            rescale_timesteps=self.settings.rescale_timesteps,
        )
        y = {"y": self._sample_labels().to(device)} if self.training.class_cond else {}
        size = self.config["image_size"]
        sigmas = discrete(self.diffusion.betas, min(SAMPLE_STEPS, self.settings.steps)).float().to(device)
        x = sigmas[0] * PictureNoise(range(SAMPLES))(torch.zeros(SAMPLES, 3, size, size, device=device))
        with torch.autocast(device.type, enabled=False):
            x = final(sample("ddim", clipped(bind(denoiser, **y)), x, sigmas))
        return picture_sheet(x, 4)

    def _sample_labels(self) -> Tensor:
        """Four classes, evenly spread over all, in the columns of the sheet."""
        count = len(self.data.label_names)
        columns = torch.arange(4) * max(count, 4) // 4 % count
        return columns.repeat(SAMPLES // 4)


def check_labels(data: DataSet) -> None:
    """Refuse data without classes."""
    if data.labels is None or not data.label_names:
        raise BadInput("These pictures have no classes; put them into one folder a class, or train without classes.")


def signed_pictures(images: Pictures, rows: np.ndarray) -> Tensor:
    """Pictures of some rows in [-1, 1]: (B, 3, S, S) float32."""
    return torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1


def mirrored(x: Tensor, flips: Tensor) -> Tensor:
    """x (B, C, H, W) with left and right swapped where `flips` (B,) says so."""
    return torch.where(flips[:, None, None, None], x.flip(3), x)


def spread_rows(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, evenly spread: files are often ordered by class."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def picture_sheet(x: Tensor, columns: int) -> np.ndarray:
    """Pictures (B, 3, S, S) in [-1, 1] side by side, uint8 (B / columns * S, columns * S, 3)."""
    size = x.shape[-1]
    grid = x.float().unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).reshape(-1, columns * size, 3)
    return ((grid + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
