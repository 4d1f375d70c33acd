"""What each kind of autoencoder minimises: one small class a kind, with its own options.

An objective turns one pass of a `Vae` into weighted terms. `reduction` tells their scale: ``mean`` divides all of them
by the number of pixel values, so that learning rates and gradient norms do not depend on the picture's size and the
terms keep their proportion; ``pythae`` gives the numbers of that library, sums over pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lienzo.autoencoders.mmd import SCALES, Kernel, mmd
from lienzo.autoencoders.vae import Coded
from lienzo.autoencoders.vae_losses import (
    Reconstruction,
    importance_bound,
    kl,
    log_weights,
    reconstruction,
    total_correlation_terms,
    vamp_kl,
)
from lienzo.core.errors import BadInput

Reduction = Literal["mean", "pythae"]


@dataclass(frozen=True)
class Term:
    """A part of a loss, (), and what it is multiplied by; 0 is only reported."""

    value: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Moment:
    """When and on what a loss is computed.

    Attributes:
        epoch: epochs done, a fraction.
        count: pictures of the training data.
        prior: draws (B, D) of N(0, I), for kinds that compare codes with them.
    """

    epoch: float = 0.0
    count: int = 1
    prior: Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """Base of all kinds.

    Attributes:
        loss: how a reconstruction is compared: squared error or binary cross entropy.
        sigma: standard deviation of the Gaussian around a reconstruction, for ``mse``; smaller is sharper.
        reduction: see this file.
    """

    variational: ClassVar[bool] = True
    halved: ClassVar[bool] = True
    """Whether half of the squared error counts, as in a Gaussian's log density."""
    draws: ClassVar[tuple[str, ...]] = ()
    """Options that tell how many draws each picture has, as axes between batch and code."""
    spectral: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    """Whether it needs `Moment.prior`."""

    loss: Reconstruction = "mse"
    sigma: float = 1.0
    reduction: Reduction = "mean"

    @property
    def axes(self) -> tuple[int, ...]:
        """Draws for each picture."""
        return tuple(getattr(self, name) for name in self.draws)

    def network(self) -> dict[str, Any]:
        """What the kind says of the arguments of `Vae`."""
        return {"variational": self.variational, "spectral": self.spectral}

    def error(self, x: Tensor, out: Coded) -> Tensor:
        """Reconstruction errors (B, *S)."""
        half = 0.5 if self.halved else 1.0
        return reconstruction(x, out.reconstruction, self.loss, half / self.sigma**2)

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        """The terms for pictures x (B, C, H, W) in [0, 1] and one pass, before `reduction`."""
        return {"reconstruction": Term(self.error(x, out).mean())}

    def losses(self, x: Tensor, out: Coded, moment: Moment = Moment()) -> dict[str, Tensor]:
        """The weighted terms by name; their sum is minimised."""
        scale = 1.0 if self.reduction == "pythae" else 1 / x[0].numel()
        return {name: t.value * (t.weight * scale) for name, t in self.terms(x, out, moment).items() if t.weight}


def spread(out: Coded) -> Tensor:
    """The log variance, of a model that has one."""
    if out.log_var is None:
        raise BadInput("This kind of loss needs a variational model.")
    return out.log_var


@dataclass(frozen=True)
class AE(Objective):
    """A plain autoencoder."""

    variational: ClassVar[bool] = False
    halved: ClassVar[bool] = False


@dataclass(frozen=True)
class VAE(Objective):
    """Kingma and Welling 2013 (arXiv 1312.6114); with another `beta` Higgins et al. 2017."""

    beta: float = 1.0

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        divergence = kl(out.mean, spread(out)).mean()
        return {"reconstruction": Term(self.error(x, out).mean()), "kl": Term(divergence, self.beta)}


@dataclass(frozen=True)
class BetaVAE(VAE):
    """More weight on the divergence: fewer, more independent latents (Higgins et al. 2017)."""

    beta: float = 4.0


@dataclass(frozen=True)
class DisentangledBetaVAE(Objective):
    """The divergence is held at a capacity that grows to `capacity` nats over `warmup` epochs.

    Burgess et al. 2018 (arXiv 1804.03599).
    """

    beta: float = 10.0
    capacity: float = 25.0
    warmup: int = 25

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        divergence = kl(out.mean, spread(out))
        aim = self.capacity * min(moment.epoch / (self.warmup + 1), 1.0)
        return {
            "reconstruction": Term(self.error(x, out).mean()),
            "capacity": Term((divergence - aim).abs().mean(), self.beta),
            "kl": Term(divergence.mean(), 0.0),
        }


@dataclass(frozen=True)
class BetaTCVAE(Objective):
    """The divergence in three parts, of which the total correlation weighs more (Chen et al. 2018)."""

    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    stratified: bool = True

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        parts = total_correlation_terms(
            out.z, out.mean, spread(out), max(moment.count, len(x)),
            stratified=self.stratified, as_pythae=self.reduction == "pythae",
        )  # fmt: skip
        information, correlation, dimensions = (part.mean() for part in parts)
        return {
            "reconstruction": Term(self.error(x, out).mean()),
            "mutual_information": Term(information, self.alpha),
            "total_correlation": Term(correlation, self.beta),
            "dimension_kl": Term(dimensions, self.gamma),
        }


@dataclass(frozen=True)
class IWAE(Objective):
    """The importance-weighted bound of `samples` draws (Burda et al. 2015, arXiv 1509.00519)."""

    draws: ClassVar[tuple[str, ...]] = ("samples",)

    samples: int = 10

    def ordered(self, log_w: Tensor) -> Tensor:
        """Log weights with the draws of one bound along the last axis."""
        return log_w

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        error = self.error(x, out)
        log_w = log_weights(out.z, out.mean, spread(out), error)
        return {
            "bound": Term(importance_bound(self.ordered(log_w)).mean()),
            "reconstruction": Term(error.mean(), 0.0),
            "kl": Term(-(log_w + error).mean(), 0.0),
        }


@dataclass(frozen=True)
class MIWAE(IWAE):
    """The mean of `estimates` bounds of `samples` draws each (Rainforth et al. 2018, arXiv 1802.04537).

    pythae takes the bounds over the estimates and the mean over the samples; its reduction does so too.
    """

    draws: ClassVar[tuple[str, ...]] = ("estimates", "samples")

    samples: int = 5
    estimates: int = 2

    def ordered(self, log_w: Tensor) -> Tensor:
        return log_w.transpose(1, 2) if self.reduction == "pythae" else log_w


@dataclass(frozen=True)
class CIWAE(IWAE):
    """`beta` of the plain bound and the rest of the importance-weighted one (Rainforth et al. 2018)."""

    beta: float = 0.5

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        error = self.error(x, out)
        log_w = log_weights(out.z, out.mean, spread(out), error)
        return {
            "bound": Term(importance_bound(log_w).mean(), 1 - self.beta),
            "elbo": Term(-log_w.mean(), self.beta),
            "reconstruction": Term(error.mean(), 0.0),
            "kl": Term(-(log_w + error).mean(), 0.0),
        }


@dataclass(frozen=True)
class VAMP(Objective):
    """The prior is the mixture of the codes of learned pictures (Tomczak and Welling 2017, arXiv 1705.07120).

    The divergence's weight rises to 1 over `warmup` epochs.
    """

    components: int = 50
    warmup: int = 0

    def network(self) -> dict[str, Any]:
        return {**super().network(), "pseudo_inputs": self.components}

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        if out.prior_mean is None or out.prior_log_var is None:
            raise BadInput("A VampPrior needs a model with pseudo-inputs.")
        divergence = vamp_kl(out.z, out.mean, spread(out), out.prior_mean, out.prior_log_var).mean()
        weight = min(moment.epoch / self.warmup, 1.0) if self.warmup else 1.0
        return {"reconstruction": Term(self.error(x, out).mean()), "kl": Term(divergence, weight)}


@dataclass(frozen=True)
class WaeMMD(Objective):
    """A plain autoencoder whose codes together look like the prior (Tolstikhin et al. 2017, arXiv 1711.01558).

    `weight` is of the discrepancy, `error_weight` of the reconstruction.
    """

    variational: ClassVar[bool] = False
    halved: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    weight: float = 3e-2
    error_weight: float = 1.0
    kernel: Kernel = "imq"
    bandwidth: float = 1.0
    scales: Sequence[float] = SCALES

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        return {
            "reconstruction": Term(self.error(x, out).mean(), self.error_weight),
            "mmd": Term(mmd(out.z, drawn(moment), self.kernel, self.bandwidth, self.scales), self.weight),
        }


@dataclass(frozen=True)
class InfoVAE(Objective):
    """(1 - alpha) of the divergence and (alpha + strength - 1) of the discrepancy of all codes from the prior.

    Zhao et al. 2017 (arXiv 1706.02262).
    """

    compares: ClassVar[bool] = True

    alpha: float = 0.5
    strength: float = 10.0
    kernel: Kernel = "imq"
    bandwidth: float = 1.0
    scales: Sequence[float] = SCALES

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        discrepancy = mmd(out.z, drawn(moment), self.kernel, self.bandwidth, self.scales)
        return {
            "reconstruction": Term(self.error(x, out).mean()),
            "kl": Term(kl(out.mean, spread(out)).mean(), 1 - self.alpha),
            "mmd": Term(discrepancy, self.alpha + self.strength - 1),
        }


@dataclass(frozen=True)
class RaeL2(Objective):
    """A plain autoencoder with small codes and a decoder of small weights (Ghosh et al. 2020, arXiv 1903.12436).

    Where `decay` is off, `weight` is left to the optimiser's weight decay of the decoder, as pythae does.
    """

    variational: ClassVar[bool] = False
    halved: ClassVar[bool] = False

    code_weight: float = 1e-2
    weight: float = 1e-6
    decay: bool = True

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        return {
            "reconstruction": Term(self.error(x, out).mean()),
            "code": Term(0.5 * out.z.square().sum(-1).mean(), self.code_weight),
            "decoder": Term(out.decoder_norm, self.weight if self.decay else 0.0),
        }


@dataclass(frozen=True)
class RaeGP(Objective):
    """As `RaeL2`, but the decoder is smooth by a penalty on the gradient of its summed output by the code.

    pythae takes the gradient by the original picture, so that the encoder is smoothed too; its reduction does so, and
    needs pictures that require a gradient.
    """

    variational: ClassVar[bool] = False
    halved: ClassVar[bool] = False

    code_weight: float = 1e-2
    weight: float = 1e-6

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        source = x if self.reduction == "pythae" else out.z
        (slope,) = torch.autograd.grad(out.reconstruction.sum(), source, create_graph=True)
        return {
            "reconstruction": Term(self.error(x, out).mean()),
            "code": Term(0.5 * out.z.square().sum(-1).mean(), self.code_weight),
            "gradient": Term(slope.flatten(1).square().sum(1).mean(), self.weight),
        }


@dataclass(frozen=True)
class RaeSN(RaeL2):
    """As `RaeL2`, but the decoder is smooth by spectral normalisation of its layers."""

    spectral: ClassVar[bool] = True

    weight: float = 0.0


@dataclass(frozen=True)
class VQVAE(Objective):
    """Discrete codes (van den Oord et al. 2017, arXiv 1711.00937).

    In the reduction ``mean`` the distances from the codes are means over the map beside a reconstruction that is a
    mean over pixels; in ``pythae`` they are sums over map and batch.
    """

    variational: ClassVar[bool] = False
    halved: ClassVar[bool] = False

    commitment: float = 0.25
    quantization: float = 1.0
    size: int = 512
    dim: int = 16
    ema: bool = True
    decay: float = 0.99

    def network(self) -> dict[str, Any]:
        codes = {"size": self.size, "dim": self.dim, "ema": self.ema, "decay": self.decay}
        return {**super().network(), "codes": codes}

    def terms(self, x: Tensor, out: Coded, moment: Moment) -> dict[str, Term]:
        if out.quantized is None:
            raise BadInput("This kind of loss needs a model with a codebook.")
        distances = out.quantized.commitment
        unit = float(distances.numel() * self.dim if self.reduction == "pythae" else x[0].numel())
        terms = {"reconstruction": Term(self.error(x, out).mean())}
        terms["commitment"] = Term(distances.mean(), self.commitment * unit)
        terms["codebook"] = Term(out.quantized.codebook.mean(), 0.0 if self.ema else self.quantization * unit)
        return terms


def drawn(moment: Moment) -> Tensor:
    """The draws of the prior."""
    if moment.prior is None:
        raise BadInput("This kind of loss needs draws of the prior.")
    return moment.prior


KINDS: dict[str, type[Objective]] = {
    "ae": AE,
    "vae": VAE,
    "beta-vae": BetaVAE,
    "disentangled-beta-vae": DisentangledBetaVAE,
    "beta-tc-vae": BetaTCVAE,
    "iwae": IWAE,
    "miwae": MIWAE,
    "ciwae": CIWAE,
    "wae-mmd": WaeMMD,
    "info-vae": InfoVAE,
    "vamp": VAMP,
    "rae-l2": RaeL2,
    "rae-gp": RaeGP,
    "rae-sn": RaeSN,
    "vq-vae": VQVAE,
}
"""Name -> what it minimises."""


def objective(kind: str, **options: Any) -> Objective:
    """The objective of a kind.

    Raises:
        BadInput: there is no such kind, or it has no such option; the sentence names those that there are.
    """
    if kind not in KINDS:
        raise BadInput(f"There is no autoencoder of kind '{kind}'; there are {', '.join(KINDS)}.")
    known = [field.name for field in fields(KINDS[kind])]
    for name in options:
        if name not in known:
            raise BadInput(f"The kind '{kind}' has no option '{name}'; it has {', '.join(known)}.")
    return KINDS[kind](**options)
