"""One calling convention for every network: `denoised = model(x, sigma, **cond)`.

x = x0 + sigma * noise is a picture in variance-exploding (VE) scaling, of any trailing shape, (B, ...); sigma is (B,);
`denoised` is the clean picture that the model expects, like x. Other parameterisations are adapted here, once:
x_vp = x / sqrt(1 + sigma^2) for networks of the DDPM family, x_t = x / (1 + sigma) for flows. Guidance is a function
from model to model, so samplers never learn of it.

A model may also have the optional method `predict(x, sigma, **cond) -> Prediction`, from which samplers take what the
clean picture alone cannot tell: the noise at sigma = 0 and the learned variance of DDPM. Every adapter has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.schedules import alphas_cumprod, sigma_from_alpha_bar

Model = Callable[..., Tensor]
"""`model(x, sigma, **cond) -> denoised`. Samplers call it with x and sigma only; see `bind` for conditions."""
Score = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`score(x, sigma, denoised)`: a gradient of log p(condition | x) with respect to the VE-scaled x, like x."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of x; each like x.

    Attributes:
        denoised: the clean picture.
        eps: the noise, (x - denoised) / sigma, where the network gives it without that division; else None.
        variance_share: for networks with a learned range, where the log-variance of a DDPM step lies between that of
            the posterior (0) and the upper bound beta (1); else None.
    """

    denoised: Tensor
    eps: Tensor | None = None
    variance_share: Tensor | None = None


class Predictor:
    """A model with the optional method `predict`. `sigma_min` and `sigma_max` bound its noise levels."""

    sigma_min: float
    sigma_max: float

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        """All that the network says of x (B, ...) at noise levels sigma (B,), from one call of the network."""
        raise NotImplementedError

    def __call__(self, x: Tensor, sigma: Tensor, **cond: Any) -> Tensor:
        """The clean picture, like x."""
        return self.predict(x, sigma, **cond).denoised


def predict(model: Model, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
    """`model.predict` where the model has it, else only what the model returns."""
    method = getattr(model, "predict", None)
    return Prediction(model(x, sigma, **cond)) if method is None else method(x, sigma, **cond)


def spread(values: Tensor, x: Tensor) -> Tensor:
    """(B,) values as (B, 1, ..., 1) in the precision of x, to multiply x with."""
    return values.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


# Adapters of networks


class DiscreteDenoiser(Predictor):
    """A network of the DDPM family, `network(x_vp, timesteps, **cond)`, trained on the T steps of a betas table.

    Noise levels between two steps are answered by a timestep between them, linear in log sigma, so that every schedule
    of sigmas can be used (k-diffusion's `DiscreteEpsDDPMDenoiser` and `CompVisDenoiser`). Levels outside of the table
    get its first or last timestep. For a network that predicts the previous x see `gaussian.GaussianDiffusion`.

    Args:
        network: answers (B, C, ...), or (B, 2C, ...) if `learned_range`.
        betas: (T,), each in (0, 1).
        prediction: ``eps``, ``v`` (= alpha * noise - sigma_vp * x0) or ``x0``.
        learned_range: the second half of the channels tells the variance (Improved DDPM); the first half is used.
        rescale_timesteps: give the network t * 1000 / T as a float.
        timesteps: ``interpolate`` gives the network fractional timesteps, ``nearest`` whole ones (int64 if not
            rescaled), for networks that look them up in a table.

    Raises:
        BadInput: an option has no such value.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        betas: Tensor,
        *,
        prediction: Literal["eps", "v", "x0"] = "eps",
        learned_range: bool = False,
        rescale_timesteps: bool = False,
        timesteps: Literal["interpolate", "nearest"] = "interpolate",
    ):
        _one_of("prediction", prediction, ("eps", "v", "x0"))
        _one_of("timesteps", timesteps, ("interpolate", "nearest"))
        self.network = network
        self.prediction = prediction
        self.learned_range = learned_range
        self.rescale_timesteps = rescale_timesteps
        self.timesteps = timesteps
        self.betas = torch.as_tensor(betas).double().cpu()
        self.sigmas = sigma_from_alpha_bar(alphas_cumprod(self.betas))  # (T,), increasing
        self.sigma_min, self.sigma_max = self.sigmas[0].item(), self.sigmas[-1].item()

    def sigmas_for(self, timesteps: Sequence[float] | Tensor) -> Tensor:
        """The noise levels of timesteps in [0, T-1], float64, in their order; fractional ones are interpolated."""
        t = torch.as_tensor(timesteps, dtype=torch.float64).clamp(0, len(self.sigmas) - 1)
        low = t.floor().long()
        high = t.ceil().long()
        logs = self.sigmas.log()
        between = (logs[low] + (t - low) * (logs[high] - logs[low])).exp()
        return torch.where(low == high, self.sigmas[low], between)

    def timesteps_for(self, sigma: Tensor) -> Tensor:
        """The timesteps of noise levels (B,), not rescaled: float, or int64 where they are rounded to the nearest."""
        logs = self.sigmas.log().to(torch.promote_types(sigma.dtype, torch.float32)).to(sigma.device)
        if len(logs) == 1:
            t = torch.zeros_like(sigma, dtype=logs.dtype)
        else:
            log_sigma = sigma.to(logs.dtype).log().clamp(logs[0], logs[-1])
            low = (torch.searchsorted(logs, log_sigma, right=True) - 1).clamp(0, len(logs) - 2)
            t = low + (log_sigma - logs[low]) / (logs[low + 1] - logs[low])
        return t.round().long() if self.timesteps == "nearest" else t

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        t = self.timesteps_for(sigma)
        if self.rescale_timesteps:
            t = t.to(torch.promote_types(sigma.dtype, torch.float32)) * (1000.0 / len(self.sigmas))
        level = spread(sigma, x)
        norm = (1 + level**2).sqrt()
        output = self.network(x / norm, t, **cond).to(x.dtype)
        share = None
        if self.learned_range:
            output, variance = output.chunk(2, dim=1)
            share = (variance + 1) / 2
        if self.prediction == "eps":
            return Prediction(x - level * output, output, share)
        if self.prediction == "v":
            return replace(_from_v(x, level, norm, output), variance_share=share)
        return Prediction(output, None, share)


class VDenoiser(Predictor):
    """A network of v-diffusion, `network(x_vp, t, **cond) -> v`, with alpha = cos(t pi/2), sigma_vp = sin(t pi/2).

    t in [0, 1] is (B,); v = alpha * noise - sigma_vp * x0 (Salimans & Ho 2022; the models of Katherine Crowson).

    Args:
        network: answers (B, C, ...).
        sigma_min, sigma_max: the range of noise levels to sample in; by default that of the DDPM-like schedule.
    """

    def __init__(self, network: Callable[..., Tensor], *, sigma_min: float = 0.01, sigma_max: float = 148.4):
        self.network = network
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        level = spread(sigma, x)
        norm = (1 + level**2).sqrt()
        v = self.network(x / norm, sigma.atan() * (2 / math.pi), **cond).to(x.dtype)
        return _from_v(x, level, norm, v)


class FlowDenoiser(Predictor):
    """A rectified flow, `network(x_t, t, **cond)`, x_t = (1 - t) x0 + t noise with t in [0, 1] as (B,).

    In VE scaling sigma = t / (1 - t) (Liu et al. 2022, Lipman et al. 2022).

    Args:
        network: answers (B, C, ...).
        prediction: ``velocity`` (= noise - x0) or ``x0``.
        t_max: where sampling starts. At t = 1 sigma would be infinite.

    Raises:
        BadInput: `prediction` has no such value.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        *,
        prediction: Literal["velocity", "x0"] = "velocity",
        t_max: float = 0.999,
    ):
        _one_of("prediction", prediction, ("velocity", "x0"))
        self.network = network
        self.prediction = prediction
        self.sigma_min, self.sigma_max = (1 - t_max) / t_max, t_max / (1 - t_max)

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        level = spread(sigma, x)
        x_t = x / (1 + level)
        output = self.network(x_t, sigma / (1 + sigma), **cond).to(x.dtype)
        if self.prediction == "x0":
            return Prediction(output)
        return Prediction(x_t - output * level / (1 + level), x_t + output / (1 + level))


class EDMDenoiser(Predictor):
    """The preconditioning of EDM (Karras et al. 2022, table 1): `network(c_in x, c_noise, **cond)`.

    denoised = c_skip x + c_out network(c_in x, log(sigma) / 4).

    Args:
        network: answers (B, C, ...).
        sigma_data: the standard deviation of the data.
        sigma_min, sigma_max: the range of noise levels to sample in.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        *,
        sigma_data: float = 0.5,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
    ):
        self.network = network
        self.sigma_data = sigma_data
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        level = spread(sigma, x)
        total = (level**2 + self.sigma_data**2).sqrt()
        c_noise = sigma.clamp(min=1e-20).log() / 4
        output = self.network(x / total, c_noise, **cond).to(x.dtype)
        denoised = x * (self.sigma_data / total) ** 2 + output * level * self.sigma_data / total
        # x - denoised has the factor sigma, so the noise needs no division and is defined at sigma = 0.
        return Prediction(denoised, x * level / total**2 - output * self.sigma_data / total)


def _from_v(x: Tensor, level: Tensor, norm: Tensor, v: Tensor) -> Prediction:
    return Prediction((x / norm - level * v) / norm, (x * level / norm + v) / norm)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadInput(f"Option '{option}' was '{value}'; it should be one of {', '.join(known)}.")


# From model to model


class _Wrapped(Predictor):
    """A model made of another one; it keeps the range of noise levels where that has one."""

    def __init__(self, model: Model, method: Callable[..., Prediction]):
        self.method = method
        self.sigma_min = getattr(model, "sigma_min", 0.0)
        self.sigma_max = getattr(model, "sigma_max", math.inf)

    def predict(self, x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        return self.method(x, sigma, **cond)


def without_grad(model: Model) -> Predictor:
    """The model, run without recording gradients. The caller's own gradient mode is left alone."""

    def method(x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        with torch.no_grad():
            return predict(model, x, sigma, **cond)

    return _Wrapped(model, method)


def bind(model: Model, **cond: Any) -> Predictor:
    """The model with its conditions filled in, as samplers want it: `bind(model, y=labels)`."""

    def method(x: Tensor, sigma: Tensor) -> Prediction:
        return predict(model, x, sigma, **cond)

    return _Wrapped(model, method)


def clipped(model: Model, low: float = -1.0, high: float = 1.0) -> Predictor:
    """The model with its clean picture clamped to [low, high], as "clip_denoised" does; for pixels, not for latents."""

    def method(x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        told = predict(model, x, sigma, **cond)
        return Prediction(told.denoised.clamp(low, high), None, told.variance_share)

    return _Wrapped(model, method)


def with_score(model: Model, score: Score, *, through_model: bool = False) -> Predictor:
    """The model moved by a gradient: denoised + sigma^2 * score, i.e. the score of p(x | condition) by Bayes' rule.

    It is the conditioning of DDIM in guided-diffusion, and the `cond_fn` of v-diffusion; a gradient g with respect to
    the scaled x_vp is score = g / sqrt(1 + sigma^2) here.

    Args:
        model: any model.
        score: `score(x, sigma, denoised)`, see `Score`.
        through_model: x requires grad and `denoised` carries the graph back to it ("cond_fn_with_grad"), even if the
            caller has switched gradients off. What comes back is detached.
    """

    def method(x: Tensor, sigma: Tensor, **cond: Any) -> Prediction:
        with torch.set_grad_enabled(through_model or torch.is_grad_enabled()):
            x = x.detach().requires_grad_() if through_model else x
            told = predict(model, x, sigma, **cond)
            gradient = score(x, sigma, told.denoised)
        level = spread(sigma, x)
        if through_model:
            told, gradient = _detached(told), gradient.detach()
        eps = None if told.eps is None else told.eps - level * gradient
        return Prediction(told.denoised + level**2 * gradient, eps, told.variance_share)

    return _Wrapped(model, method)


def _detached(told: Prediction) -> Prediction:
    kept = (told.denoised, told.eps, told.variance_share)
    return Prediction(*(None if part is None else part.detach() for part in kept))  # type: ignore[arg-type]
