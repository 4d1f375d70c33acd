"""Training any small autoencoder: one objective of `vae_objectives`, and a prior that is fitted when it is saved."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.autoencoders.latent_pictures import decoded, reconstructions
from lienzo.autoencoders.latent_samplers import (
    Prior,
    draw_codes,
    fit_flow,
    fit_mixture,
    fit_normal,
    vamp_prior,
)
from lienzo.autoencoders.small_pictures import all_grey, grid, spread_rows, unit_pictures
from lienzo.autoencoders.vae import Vae
from lienzo.autoencoders.vae_losses import importance_nll, kl, log_weights
from lienzo.autoencoders.vae_objectives import VAMP, Moment, Objective, objective
from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet
from lienzo.imaging.psnr import psnr
from lienzo.nn.noise import PictureNoise
from lienzo.training.recipe import Batch, Recipe

EVALUATED = 512  # most withheld pictures for the figures
DRAWS = 16  # of each of them, for the bound
FITTED = 10_000  # most training pictures whose codes a prior is fitted to
SHEET = 12  # columns of the sample sheet

Sampler = Literal["none", "normal", "mixture", "vamp", "flow"]


@dataclass(frozen=True)
class VaeTraining:
    """How an autoencoder is trained, besides its network.

    Attributes:
        kind: a name of `KINDS`.
        options: of that kind.
        batch_size: pictures of one forward pass.
        seed: of the order of the pictures.
        sampler: what is fitted to the codes and saved with the model; ``none`` leaves N(0, I).
        components: Gaussians of the mixture.
    """

    kind: str = "vae"
    options: Mapping[str, Any] | None = None
    batch_size: int = 128
    seed: int = 0
    sampler: Sampler = "none"
    components: int = 10


class VaeRecipe(Recipe):
    """One autoencoder of the family.

    Args:
        data: training pictures. Where all are grey the network has one channel, else three.
        held: withheld pictures for `evaluate`; may be empty.
        config: arguments of `Vae`; the shape and what the kind tells are set here.
        training: everything else.

    Raises:
        BadInput: there is no such kind or option, or the sampler does not fit the kind.
    """

    name = "vae"
    network = "vae"

    def __init__(self, data: DataSet, held: DataSet, config: Mapping[str, Any], training: VaeTraining = VaeTraining()):
        self.data, self.held, self.training = data, held, training
        self.batch_size = training.batch_size
        self.objective: Objective = objective(training.kind, **(training.options or {}))
        self.channels = 1 if all_grey(data.images) else 3
        shape = [self.channels, data.size, data.size]
        self.config: dict[str, Any] = {**config, "input_shape": shape, **self.objective.network()}
        if training.sampler == "vamp" and not isinstance(self.objective, VAMP):
            raise BadInput("The sampler vamp belongs to the kind vamp; take normal, mixture or flow.")
        with torch.device("meta"):
            self.latent = Vae(**self.config).latent

    def build(self) -> nn.Module:
        return Vae(**self.config)

    def facts(self) -> dict[str, Any]:
        return {
            **super().facts(), "kind": self.training.kind, "objective": asdict(self.objective), "config": self.config,
            "data": self.data.fingerprint, "items": len(self.data), "order_seed": self.training.seed,
        }  # fmt: skip

    def batch(self, start: int, generator: Generator) -> Batch:
        rows = rows_at(len(self.data), start, self.batch_size, self.training.seed)
        batch = {
            "x": unit_pictures(self.data.images, rows, self.channels),
            "epoch": torch.tensor(start / len(self.data)),
        }
        if self.objective.variational:
            batch["noise"] = torch.randn(len(rows), *self.objective.axes, self.latent, generator=generator)
        if self.objective.compares:
            batch["prior"] = torch.randn(len(rows), self.latent, generator=generator)
        return batch

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        x = batch["x"]
        if self.objective.reduction == "pythae":
            x = x.detach().requires_grad_()  # its gradient penalty is by the picture
        out = model(x, batch.get("noise"))
        moment = Moment(batch["epoch"].item(), len(self.data), batch.get("prior"))
        return self.objective.losses(x, out, moment)

    def export(self, model: nn.Module) -> nn.Module:
        """The network, with the sampler that was asked for fitted to codes of training pictures."""
        assert isinstance(model, Vae)
        if self.training.sampler == "none":
            return model
        model = copy.deepcopy(model).cpu()
        model.prior = self.fitted(model)
        model.config = {**model.config, "prior": model.prior.config}
        return model

    def fitted(self, model: Vae) -> Prior:
        """The sampler for a network on the CPU."""
        if self.training.sampler == "vamp":
            with torch.no_grad():
                return vamp_prior(*model.components())
        codes = self._codes(model)
        if self.training.sampler == "mixture":
            return fit_mixture(codes, self.training.components, self.training.seed)
        if self.training.sampler == "flow":
            return fit_flow(codes, self.training.seed)
        return fit_normal(codes)

    def _codes(self, model: Vae) -> Tensor:
        """Codes of training pictures: draws of their posteriors where there are any."""
        rows = spread_rows(len(self.data), FITTED)
        device, found = next(model.parameters()).device, []
        generator = torch.Generator().manual_seed(self.training.seed)
        with torch.no_grad():
            for part in np.array_split(rows, -(-len(rows) // self.batch_size)):
                x = unit_pictures(self.data.images, part, self.channels).to(device)
                mean, log_var = (each if each is None else each.float().cpu() for each in model.encode(x))
                assert mean is not None
                if log_var is not None:
                    mean = mean + torch.randn(mean.shape, generator=generator) * torch.exp(0.5 * log_var)
                found.append(mean)
        return torch.cat(found)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR of withheld reconstructions and, of variational kinds, the bounds of their log likelihood in nats."""
        assert isinstance(model, Vae)
        rows = spread_rows(len(self.held), EVALUATED)
        if not len(rows):
            return {}
        x = unit_pictures(self.held.images, rows, self.channels)
        figures = {f"psnr[withheld,n={len(rows)}]": psnr(reconstructions(model, x), x).clamp(max=100).mean().item()}
        if not self.objective.variational:
            return figures
        sums = {"reconstruction": 0.0, "kl": 0.0, "elbo": 0.0, "nll": 0.0}
        for part in torch.arange(len(rows)).split(self.batch_size):
            for name, bound in self._bounds(model, x[part], part.tolist()).items():
                sums[name] += bound.double().sum().item()
        told = f"{self.objective.loss},sigma={self.objective.sigma:g},n={len(rows)}"
        for name, value in sums.items():
            draws = f",k={DRAWS}" if name == "nll" else ""
            figures[f"{name}[nats,{told}{draws}]"] = value / len(rows)
        return figures

    def _bounds(self, model: Vae, x: Tensor, seeds: list[int]) -> dict[str, Tensor]:
        """Of each picture: reconstruction and KL to N(0, I), minus their sum, and the likelihood by importance."""
        noise = PictureNoise(seeds)(torch.empty(len(x), DRAWS, self.latent))
        device = next(model.parameters()).device
        x = x.to(device)
        out = model(x, noise.to(device))
        assert out.log_var is not None
        error = self.objective.error(x, out)
        divergence = kl(out.mean, out.log_var)
        log_w = log_weights(out.z, out.mean, out.log_var, error)
        mean_error = error.mean(1)
        return {
            "reconstruction": mean_error, "kl": divergence,
            "elbo": -(mean_error + divergence), "nll": importance_nll(log_w),
        }  # fmt: skip

    def samples(self, model: nn.Module) -> np.ndarray:
        """A row of pictures, a row of their reconstructions, and two rows of new ones.

        New ones come from N(0, I) in variational kinds, from the pseudo-inputs of a VampPrior, and elsewhere from one
        Gaussian fitted to the codes, for there nothing makes the codes follow N(0, I).
        """
        assert isinstance(model, Vae)
        shown = self.held if len(self.held) else self.data
        x = unit_pictures(shown.images, spread_rows(len(shown), SHEET), self.channels)
        x = x[torch.arange(SHEET) % len(x)]
        prior: Prior | None = None
        if model.pseudo_inputs is not None:
            with torch.no_grad():
                prior = vamp_prior(*(each.float().cpu() for each in model.components()))
        elif not self.objective.variational:
            prior = fit_normal(self._codes(model))
        new = decoded(model, draw_codes(prior, self.latent, range(2 * SHEET)))
        return grid(torch.cat([x, reconstructions(model, x), new]), SHEET)
