"""Discrete Gaussian diffusion over T steps: DDPM, Improved DDPM and the maths of guided-diffusion.

The forward process is q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I); t = 0 is the least noisy step.
A network is any `model_fn(x, timesteps)` that answers with (B, C, ...), or (B, 2C, ...) where it also learns the
variance. Samplers beyond the two original ones live in `samplers/` and work on noise levels instead.

References: Ho et al. 2020 (DDPM), Song et al. 2020 (DDIM), Nichol & Dhariwal 2021 (Improved DDPM), Dhariwal &
Nichol 2021 (guidance), Salimans & Ho 2022 (v).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.losses import discretized_gaussian_log_likelihood, mean_flat, normal_kl
from lienzo.diffusion.schedules import alphas_cumprod as running_product

MeanType = Literal["eps", "x0", "v", "previous_x"]
VarianceType = Literal["learned", "fixed_small", "fixed_large", "learned_range"]
LossType = Literal["mse", "rescaled_mse", "kl", "rescaled_kl"]
ModelFn = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Prediction:
    """p(x_{t-1} | x_t): its mean, variance and log-variance, and the picture x0 it aims at; each like x."""

    mean: Tensor
    variance: Tensor
    log_variance: Tensor
    x0: Tensor


class Moved(NamedTuple):
    """A sample one step on, and the x0 that was predicted on the way; both like x."""

    x: Tensor
    x0: Tensor


@dataclass(frozen=True)
class BpdStep:
    """One term of the bound: t, its bits/dim `vb`, and the errors of predicted x0 and noise; each (B,)."""

    t: int
    vb: Tensor
    x0_mse: Tensor
    eps_mse: Tensor


@dataclass(frozen=True)
class BitsPerDim:
    """Variational bound on -log2 p(x0) per dimension: total and prior (B,), terms (B, T) with column t for step t."""

    total: Tensor
    prior: Tensor
    vb: Tensor
    x0_mse: Tensor
    eps_mse: Tensor


class GaussianDiffusion:
    """The forward process, the reverse process of a network, and the losses that train it.

    All tables are float64; arithmetic runs in the precision of x, at least float32.

    Args:
        betas: (T,), each in (0, 1).
        mean_type: what the network predicts: the noise, the clean picture, v = sqrt(ab) noise - sqrt(1-ab) x0, or
            the mean of the previous step.
        variance_type: `fixed_small` is the posterior's variance, `fixed_large` is beta; `learned` takes the second
            half of the network's channels as log-variance; `learned_range` interpolates with it, in [-1, 1],
            between the logs of the two fixed ones.
        loss_type: `mse` (with a bound term for a learned variance that leaves the mean alone: the hybrid loss), or
            the bound itself, `kl`. The rescaled kinds multiply the bound as if all T terms were summed: by T/1000
            in `rescaled_mse`, by T in `rescaled_kl`.
        rescale_timesteps: give the network t * 1000 / T as a float instead of t.
        timestep_map: for a respaced diffusion, the originally trained timestep of each step (see `respacing`).
        trained_timesteps: for a respaced diffusion, the original T.

    Raises:
        BadInput: the betas or one of the names do not fit.
    """

    def __init__(
        self,
        betas: Tensor,
        *,
        mean_type: MeanType = "eps",
        variance_type: VarianceType = "fixed_small",
        loss_type: LossType = "mse",
        rescale_timesteps: bool = False,
        timestep_map: Sequence[int] | None = None,
        trained_timesteps: int | None = None,
    ):
        for what, name, known in (
            ("mean type", mean_type, MeanType),
            ("variance type", variance_type, VarianceType),
            ("loss type", loss_type, LossType),
        ):
            if name not in get_args(known):
                raise BadInput(f"There is no {what} '{name}'; choose one of {', '.join(get_args(known))}.")
        self.mean_type = mean_type
        self.variance_type = variance_type
        self.loss_type = loss_type
        self.rescale_timesteps = rescale_timesteps
        self._build_tables(torch.as_tensor(betas).double())
        self.num_timesteps = len(self.betas)
        self.trained_timesteps = trained_timesteps or self.num_timesteps
        self.timestep_map = torch.as_tensor(timestep_map if timestep_map else range(self.num_timesteps))
        if len(self.timestep_map) != self.num_timesteps:
            raise BadInput(
                f"A diffusion of {self.num_timesteps} steps cannot use a timestep map of {len(self.timestep_map)}."
            )

    def _build_tables(self, betas: Tensor) -> None:
        if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas < 1)).all()):
            raise BadInput("The betas of a diffusion must be one row of numbers between 0 and 1, both excluded.")
        alpha_bar = running_product(betas)
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        self.betas = betas
        self.alphas_cumprod = alpha_bar
        self.alphas_cumprod_prev = before
        self.alphas_cumprod_next = torch.cat([alpha_bar[1:], alpha_bar.new_zeros(1)])
        self.sqrt_alphas_cumprod = alpha_bar.sqrt()
        self.sqrt_one_minus_alphas_cumprod = (1 - alpha_bar).sqrt()
        self.log_one_minus_alphas_cumprod = (1 - alpha_bar).log()
        self.sqrt_recip_alphas_cumprod = (1 / alpha_bar).sqrt()
        self.sqrt_recipm1_alphas_cumprod = (1 / alpha_bar - 1).sqrt()
        self.posterior_variance = betas * (1 - before) / (1 - alpha_bar)
        self.posterior_mean_coef1 = betas * before.sqrt() / (1 - alpha_bar)
        self.posterior_mean_coef2 = (1 - before) * (1 - betas).sqrt() / (1 - alpha_bar)
        # The posterior of step 0 has no variance; the logs borrow that of step 1 (of a single step, its beta).
        first = self.posterior_variance[1:2] if len(betas) > 1 else betas
        self.posterior_log_variance_clipped = torch.cat([first, self.posterior_variance[1:]]).log()
        self.large_variance = torch.cat([first, betas[1:]])
        self.log_betas = betas.log()

    @property
    def learns_variance(self) -> bool:
        """Whether the network answers with 2C channels."""
        return self.variance_type in ("learned", "learned_range")

    def model_timesteps(self, t: Tensor) -> Tensor:
        """What the network is given for steps t (B,): the trained timestep, as a float of 1000 if rescaled."""
        trained = self.timestep_map.to(t.device)[t]
        return trained.float() * (1000.0 / self.trained_timesteps) if self.rescale_timesteps else trained

    # The forward process

    def q_mean_variance(self, x0: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and log-variance of q(x_t | x_0), each like x0; t is (B,) int64."""
        mean = _at(self.sqrt_alphas_cumprod, t, x0) * x0
        variance = _at(1.0 - self.alphas_cumprod, t, x0).expand_as(x0)
        return mean, variance, _at(self.log_one_minus_alphas_cumprod, t, x0).expand_as(x0)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor | None = None) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise, like x0; standard normal noise if not given."""
        noise = torch.randn_like(x0) if noise is None else noise
        return _at(self.sqrt_alphas_cumprod, t, x0) * x0 + _at(self.sqrt_one_minus_alphas_cumprod, t, x0) * noise

    def q_posterior(self, x0: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, variance and clipped log-variance of q(x_{t-1} | x_t, x_0), each like x = x_t."""
        mean = _at(self.posterior_mean_coef1, t, x) * x0 + _at(self.posterior_mean_coef2, t, x) * x
        variance = _at(self.posterior_variance, t, x).expand_as(x)
        return mean, variance, _at(self.posterior_log_variance_clipped, t, x).expand_as(x)

    # Conversions between parameterisations

    def x0_from_eps(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The picture that x_t holds if its noise is eps."""
        return _at(self.sqrt_recip_alphas_cumprod, t, x) * x - _at(self.sqrt_recipm1_alphas_cumprod, t, x) * eps

    def x0_from_v(self, x: Tensor, t: Tensor, v: Tensor) -> Tensor:
        """The picture that x_t holds if its velocity is v: sqrt(ab) x - sqrt(1 - ab) v."""
        return _at(self.sqrt_alphas_cumprod, t, x) * x - _at(self.sqrt_one_minus_alphas_cumprod, t, x) * v

    def x0_from_previous(self, x: Tensor, t: Tensor, previous: Tensor) -> Tensor:
        """The picture for which the posterior mean of step t is `previous`."""
        share = self.posterior_mean_coef2 / self.posterior_mean_coef1
        return _at(1.0 / self.posterior_mean_coef1, t, x) * previous - _at(share, t, x) * x

    def eps_from_x0(self, x: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """The noise that x_t holds if its picture is x0."""
        scaled = _at(self.sqrt_recip_alphas_cumprod, t, x) * x
        return (scaled - x0) / _at(self.sqrt_recipm1_alphas_cumprod, t, x)

    def v_from_x0(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """v = sqrt(ab) noise - sqrt(1 - ab) x0."""
        return _at(self.sqrt_alphas_cumprod, t, x0) * noise - _at(self.sqrt_one_minus_alphas_cumprod, t, x0) * x0

    # The reverse process

    def p_mean_variance(
        self,
        model_fn: ModelFn,
        x: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool = True,
        denoised_fn: Callable[[Tensor], Tensor] | None = None,
    ) -> Prediction:
        """p(x_{t-1} | x_t) as the network sees it.

        Args:
            model_fn: called once, as `model_fn(x, self.model_timesteps(t))`.
            x: x_t, (B, C, ...).
            t: (B,) int64 in [0, T).
            clip_denoised: clamp the predicted x0 to [-1, 1].
            denoised_fn: changes the predicted x0 before it is clamped.
        """
        output = model_fn(x, self.model_timesteps(t))
        return self.interpret(output, x, t, clip_denoised=clip_denoised, denoised_fn=denoised_fn)

    def interpret(
        self,
        output: Tensor,
        x: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool = True,
        denoised_fn: Callable[[Tensor], Tensor] | None = None,
    ) -> Prediction:
        """p(x_{t-1} | x_t) from what the network answered, (B, C or 2C, ...); arguments as in `p_mean_variance`."""
        output, variance_output = self._split(output, x)
        variance, log_variance = self._variance(variance_output, x, t)

        def settle(x0: Tensor) -> Tensor:
            x0 = denoised_fn(x0) if denoised_fn is not None else x0
            return x0.clamp(-1, 1) if clip_denoised else x0

        if self.mean_type == "previous_x":
            return Prediction(output, variance, log_variance, settle(self.x0_from_previous(x, t, output)))
        if self.mean_type == "eps":
            x0 = self.x0_from_eps(x, t, output)
        elif self.mean_type == "v":
            x0 = self.x0_from_v(x, t, output)
        else:
            x0 = output
        x0 = settle(x0)
        return Prediction(self.q_posterior(x0, x, t)[0], variance, log_variance, x0)

    def _split(self, output: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        channels = x.shape[1] * (2 if self.learns_variance else 1)
        if output.shape != (x.shape[0], channels, *x.shape[2:]):
            raise BadInput(
                f"With variance type '{self.variance_type}' the network must answer with {channels} channels for "
                f"input of shape {tuple(x.shape)}; it gave {tuple(output.shape)}."
            )
        output = output.to(_precision(output))
        if not self.learns_variance:
            return output, None
        mean, variance = output.chunk(2, dim=1)
        return mean, variance

    def _variance(self, output: Tensor | None, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if output is not None and self.variance_type == "learned":
            return output.exp(), output
        if output is not None:
            low, high = _at(self.posterior_log_variance_clipped, t, x), _at(self.log_betas, t, x)
            share = (output + 1) / 2
            log_variance = share * high + (1 - share) * low
            return log_variance.exp(), log_variance
        if self.variance_type == "fixed_large":
            variance, log_table = self.large_variance, self.large_variance.log()
        else:
            variance, log_table = self.posterior_variance, self.posterior_log_variance_clipped
        return _at(variance, t, x).expand_as(x), _at(log_table, t, x).expand_as(x)

    def condition_mean(self, cond_fn: ModelFn, prediction: Prediction, x: Tensor, t: Tensor) -> Tensor:
        """The mean moved by variance * cond_fn(x, timesteps), a gradient of log p(y | x_t) (classifier guidance)."""
        return prediction.mean + prediction.variance * cond_fn(x, self.model_timesteps(t)).to(x.dtype)

    def condition_score(self, cond_fn: ModelFn, prediction: Prediction, x: Tensor, t: Tensor) -> Prediction:
        """The prediction whose noise is moved by -sqrt(1 - ab) * cond_fn(x, timesteps); for DDIM."""
        eps = self.eps_from_x0(x, t, prediction.x0)
        gradient = cond_fn(x, self.model_timesteps(t)).to(x.dtype)
        eps = eps - _at(1 - self.alphas_cumprod, t, x).sqrt() * gradient
        x0 = self.x0_from_eps(x, t, eps)
        mean = self.q_posterior(x0, x, t)[0]
        return Prediction(mean, prediction.variance, prediction.log_variance, x0)

    def p_sample(
        self,
        model_fn: ModelFn,
        x: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool = True,
        denoised_fn: Callable[[Tensor], Tensor] | None = None,
        cond_fn: ModelFn | None = None,
        noise: Tensor | None = None,
    ) -> Moved:
        """One ancestral step from x_t to x_{t-1}; at t = 0 it adds no noise.

        Args:
            model_fn, x, t, clip_denoised, denoised_fn: as in `p_mean_variance`.
            cond_fn: guidance, see `condition_mean`.
            noise: standard normal, like x; drawn if not given.
        """
        prediction = self.p_mean_variance(model_fn, x, t, clip_denoised=clip_denoised, denoised_fn=denoised_fn)
        mean = prediction.mean if cond_fn is None else self.condition_mean(cond_fn, prediction, x, t)
        noise = torch.randn_like(x) if noise is None else noise
        moving = (t != 0).to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return Moved(mean + moving * torch.exp(0.5 * prediction.log_variance) * noise, prediction.x0)

    def ddim_sample(
        self,
        model_fn: ModelFn,
        x: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool = True,
        denoised_fn: Callable[[Tensor], Tensor] | None = None,
        cond_fn: ModelFn | None = None,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> Moved:
        """One DDIM step from x_t to x_{t-1}.

        Args:
            model_fn, x, t, clip_denoised, denoised_fn: as in `p_mean_variance`.
            cond_fn: guidance, see `condition_score`.
            eta: 0 is deterministic, 1 has the noise of DDPM.
            noise: standard normal, like x; drawn if not given.
        """
        prediction = self.p_mean_variance(model_fn, x, t, clip_denoised=clip_denoised, denoised_fn=denoised_fn)
        if cond_fn is not None:
            prediction = self.condition_score(cond_fn, prediction, x, t)
        eps = self.eps_from_x0(x, t, prediction.x0)
        here, before = _at(self.alphas_cumprod, t, x), _at(self.alphas_cumprod_prev, t, x)
        sigma = eta * torch.sqrt((1 - before) / (1 - here)) * torch.sqrt(1 - here / before)
        # With eta 1 the root's argument is zero up to rounding at the last step, and may round below it.
        mean = prediction.x0 * before.sqrt() + (1 - before - sigma**2).clamp(min=0).sqrt() * eps
        noise = torch.randn_like(x) if noise is None else noise
        return Moved(mean + sigma * noise, prediction.x0)

    def ddim_reverse(
        self,
        model_fn: ModelFn,
        x: Tensor,
        t: Tensor,
        *,
        clip_denoised: bool = True,
        denoised_fn: Callable[[Tensor], Tensor] | None = None,
    ) -> Moved:
        """One deterministic DDIM step the other way, from x_t to x_{t+1}: encodes a picture into noise."""
        prediction = self.p_mean_variance(model_fn, x, t, clip_denoised=clip_denoised, denoised_fn=denoised_fn)
        eps = self.eps_from_x0(x, t, prediction.x0)
        after = _at(self.alphas_cumprod_next, t, x)
        return Moved(prediction.x0 * after.sqrt() + (1 - after).sqrt() * eps, prediction.x0)

    # Losses and likelihoods

    def vb_terms(
        self, output: Tensor, x0: Tensor, x: Tensor, t: Tensor, *, clip_denoised: bool = True
    ) -> tuple[Tensor, Prediction]:
        """Term t of the variational bound, (B,) in bits per dimension, and the prediction behind it.

        It is KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), and at t = 0 the -log2 p(x_0 | x_1) of 8-bit pixels.

        Args:
            output: the network's answer at x, (B, C or 2C, ...).
            x0: the data in [-1, 1], (B, C, ...).
            x: x_t, drawn by `q_sample`.
            t: (B,) int64.
            clip_denoised: clamp the predicted x0 to [-1, 1].
        """
        true_mean, _, true_log_variance = self.q_posterior(x0, x, t)
        prediction = self.interpret(output, x, t, clip_denoised=clip_denoised)
        kl = mean_flat(normal_kl(true_mean, true_log_variance, prediction.mean, prediction.log_variance))
        likelihood = discretized_gaussian_log_likelihood(x0, prediction.mean, 0.5 * prediction.log_variance)
        return torch.where(t == 0, -mean_flat(likelihood), kl) / math.log(2.0), prediction

    def training_losses(
        self, model_fn: ModelFn, x0: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The losses of each item, (B,), at its own timestep.

        Args:
            model_fn: called once, as `model_fn(x_t, self.model_timesteps(t))`.
            x0: data, (B, C, ...), in [-1, 1].
            t: (B,) int64 in [0, T), for example from `timestep_samplers`.
            noise: standard normal, like x0; drawn if not given.

        Returns:
            ``loss`` to minimise; for the mse kinds also its parts ``mse`` and, with a learned variance, ``vb``.
        """
        noise = torch.randn_like(x0) if noise is None else noise
        x = self.q_sample(x0, t, noise)
        output = model_fn(x, self.model_timesteps(t))
        if self.loss_type in ("kl", "rescaled_kl"):
            vb, _ = self.vb_terms(output, x0, x, t, clip_denoised=False)
            return {"loss": vb * self.num_timesteps if self.loss_type == "rescaled_kl" else vb}
        mean_output, variance_output = self._split(output, x)
        mse = mean_flat((self._target(x0, x, t, noise) - mean_output) ** 2)
        if variance_output is None:
            return {"loss": mse, "mse": mse}
        # The bound shall train the variance only: its gradient to the mean is much noisier than that of the mse.
        frozen = torch.cat([mean_output.detach(), variance_output], dim=1)
        vb, _ = self.vb_terms(frozen, x0, x, t, clip_denoised=False)
        if self.loss_type == "rescaled_mse":
            vb = vb * (self.num_timesteps / 1000.0)
        return {"loss": mse + vb, "mse": mse, "vb": vb}

    def _target(self, x0: Tensor, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        if self.mean_type == "previous_x":
            return self.q_posterior(x0, x, t)[0]
        if self.mean_type == "v":
            return self.v_from_x0(x0, t, noise)
        return x0 if self.mean_type == "x0" else noise

    def prior_bpd(self, x0: Tensor) -> Tensor:
        """KL(q(x_T | x_0) || N(0, I)) in bits per dimension, (B,): the part of the bound that has no parameters."""
        t = torch.full((len(x0),), self.num_timesteps - 1, device=x0.device)
        mean, _, log_variance = self.q_mean_variance(x0, t)
        zero = torch.zeros_like(mean)
        return mean_flat(normal_kl(mean, log_variance, zero, zero)) / math.log(2.0)

    def calc_bpd_loop(
        self,
        model_fn: ModelFn,
        x0: Tensor,
        *,
        clip_denoised: bool = True,
        noise: Callable[[Tensor], Tensor] = torch.randn_like,
    ) -> Iterator[BpdStep]:
        """The T terms of the bound, one network call each, from t = T-1 down to 0, without gradients.

        Args:
            model_fn, clip_denoised: as in `p_mean_variance`.
            x0: data, (B, C, ...), in [-1, 1].
            noise: `noise(x0)` is standard normal, like x0; called once a step.
        """
        for t in reversed(range(self.num_timesteps)):
            yield self._bpd_step(model_fn, x0, t, noise(x0), clip_denoised)

    @torch.no_grad()
    def _bpd_step(self, model_fn: ModelFn, x0: Tensor, step: int, noise: Tensor, clip_denoised: bool) -> BpdStep:
        t = torch.full((len(x0),), step, device=x0.device)
        x = self.q_sample(x0, t, noise)
        output = model_fn(x, self.model_timesteps(t))
        vb, prediction = self.vb_terms(output, x0, x, t, clip_denoised=clip_denoised)
        eps = self.eps_from_x0(x, t, prediction.x0)
        return BpdStep(step, vb, mean_flat((prediction.x0 - x0) ** 2), mean_flat((eps - noise) ** 2))

    def bits_per_dim(
        self,
        model_fn: ModelFn,
        x0: Tensor,
        *,
        clip_denoised: bool = True,
        noise: Callable[[Tensor], Tensor] = torch.randn_like,
    ) -> BitsPerDim:
        """The whole bound at once; arguments as in `calc_bpd_loop`, which can show progress."""
        steps = list(self.calc_bpd_loop(model_fn, x0, clip_denoised=clip_denoised, noise=noise))[::-1]
        vb = torch.stack([step.vb for step in steps], dim=1)  # (B, T)
        prior = self.prior_bpd(x0)
        return BitsPerDim(
            total=vb.sum(dim=1) + prior,
            prior=prior,
            vb=vb,
            x0_mse=torch.stack([step.x0_mse for step in steps], dim=1),
            eps_mse=torch.stack([step.eps_mse for step in steps], dim=1),
        )


def _precision(x: Tensor) -> torch.dtype:
    """Float64 for float64, else float32: half precision cannot hold the tables."""
    return torch.promote_types(x.dtype, torch.float32)


def _at(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """Entries t of a table as (B, 1, ..., 1) for x; cast before the move, as some devices have no float64."""
    return table.to(_precision(x)).to(x.device)[t].view(-1, *[1] * (x.ndim - 1))
