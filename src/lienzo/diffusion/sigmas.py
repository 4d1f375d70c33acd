"""Noise levels to sample at: n numbers that fall strictly, and a 0 at the end; float64 (n + 1,).

`schedule(name, model, n)` makes a named one for a model; the functions beneath make them from plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import DiscreteDenoiser, EDMDenoiser, FlowDenoiser, Model, VDenoiser
from lienzo.diffusion.respacing import any_timesteps
from lienzo.diffusion.schedules import alphas_cumprod, sigma_from_alpha_bar


def schedule(name: str, model: Model, n: int) -> Tensor:
    """n noise levels and 0 for a model.

    Args:
        name: one of `NAMES`. ``native`` is what the network was trained for: even timesteps for `DiscreteDenoiser`,
            even t for `FlowDenoiser`, the spliced schedule for `VDenoiser`, `karras` for `EDMDenoiser`. ``karras``,
            ``exponential`` and ``polyexponential`` run over the model's [sigma_min, sigma_max].
        model: has `sigma_min` and `sigma_max` as the adapters of `denoiser` do.
        n: steps, 1 or more; for ``native`` of a `DiscreteDenoiser` at most T.

    Raises:
        BadInput: the name is unknown, or the model or n does not fit it.
    """
    if name not in NAMES:
        raise BadInput(f"There is no sigma schedule '{name}'; choose one of {', '.join(NAMES)}.")
    if name == "native":
        return _native(model, n)
    if name in BETWEEN:
        return BETWEEN[name](n, getattr(model, "sigma_min", 0.0), getattr(model, "sigma_max", math.inf))
    return FIXED[name](n)


def _native(model: Model, n: int) -> Tensor:
    if isinstance(model, DiscreteDenoiser):
        return discrete(model.betas, n)
    if isinstance(model, FlowDenoiser):
        return flow(n, t_max=model.sigma_max / (1 + model.sigma_max))
    if isinstance(model, VDenoiser):
        return v_spliced(n)
    if isinstance(model, EDMDenoiser):
        return karras(n, model.sigma_min, model.sigma_max)
    raise BadInput(f"This model has no native sigma schedule; choose one of {', '.join(NAMES[1:])}.")


# For any model


def karras(n: int, sigma_min: float, sigma_max: float, *, rho: float = 7.0) -> Tensor:
    """Even in sigma^(1/rho) from sigma_max to sigma_min (Karras et al. 2022, eq. 5): more steps at low noise."""
    low, high = (_range(sigma_min, sigma_max) ** (1 / rho)).tolist()
    return _ended((high + _ramp(n) * (low - high)) ** rho)


def exponential(n: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Even in log sigma from sigma_max to sigma_min."""
    return polyexponential(n, sigma_min, sigma_max, rho=1.0)


def polyexponential(n: int, sigma_min: float, sigma_max: float, *, rho: float = 1.0) -> Tensor:
    """log sigma follows the power rho of an even ramp from sigma_max to sigma_min."""
    low, high = _range(sigma_min, sigma_max).log().tolist()
    return _ended(((1 - _ramp(n)) ** rho * (high - low) + low).exp())


def vp(n: int, *, beta_d: float = 19.9, beta_min: float = 0.1, eps_s: float = 1e-3) -> Tensor:
    """The continuous variance-preserving SDE (Song et al. 2021): even t from 1 to eps_s, beta = beta_min + beta_d t."""
    t = 1 + _ramp(n) * (eps_s - 1)
    return _ended((beta_d * t**2 / 2 + beta_min * t).expm1().sqrt())


# For one family of models


def flow(n: int, *, t_max: float = 0.999) -> Tensor:
    """Even t from t_max to 0 of a rectified flow; sigma = t / (1 - t)."""
    t = t_max * _falling(n)
    return t / (1 - t)


def discrete(betas: Tensor, timesteps: int | Sequence[int]) -> Tensor:
    """The noise levels of a betas table at some of its timesteps.

    Args:
        betas: (T,), each in (0, 1).
        timesteps: how many, from 1 to T, chosen evenly by `any_timesteps`; or which, in any order, e.g. from
            `space_timesteps`.

    Raises:
        BadInput: too many, none, repeated, or out of range.
    """
    total = len(betas)
    chosen = any_timesteps(total, timesteps) if isinstance(timesteps, int) else sorted(timesteps)
    if not chosen or len(set(chosen)) < len(chosen) or chosen[0] < 0 or chosen[-1] >= total:
        raise BadInput(f"The timesteps to sample at must be different numbers from 0 to {total - 1}; these are not.")
    sigmas = sigma_from_alpha_bar(alphas_cumprod(torch.as_tensor(betas)))
    return _ended(sigmas[torch.tensor(chosen[::-1])])


def v_ddpm(n: int) -> Tensor:
    """v-diffusion's copy of the linear DDPM schedule at even u from 1, see `ddpm_curve`."""
    return _ended(ddpm_curve(_falling(n)[:-1]))


def v_log(n: int, *, min_log_snr: float = -10.0, max_log_snr: float = 10.0) -> Tensor:
    """v-diffusion's log schedule: log(alpha^2 / sigma_vp^2) runs evenly from min_log_snr to max_log_snr."""
    return _ended(log_curve(1 - _ramp(n), min_log_snr=min_log_snr, max_log_snr=max_log_snr))


def v_spliced(n: int) -> Tensor:
    """v-diffusion's usual schedule at even u from 1: DDPM at high noise, cosine at low noise, see `spliced_curve`."""
    return _ended(spliced_curve(_falling(n)[:-1]))


def ddpm_curve(u: Tensor) -> Tensor:
    """sigma of the continuous linear DDPM schedule at u in [0, 1]: alpha^2 = exp(-1e-4 - 10 u^2)."""
    return (1e-4 + 10 * u**2).expm1().sqrt()


def log_curve(u: Tensor, *, min_log_snr: float = -10.0, max_log_snr: float = 10.0) -> Tensor:
    """sigma at u in [0, 1] when log SNR falls evenly from max_log_snr at 0 to min_log_snr at 1."""
    return (-(max_log_snr + u * (min_log_snr - max_log_snr)) / 2).exp()


def spliced_curve(u: Tensor) -> Tensor:
    """sigma at u in [0, 1]: v-diffusion's cosine schedule below its crossover with the DDPM one, and that above."""
    ddpm_crossover, cosine_crossover = 0.48536712, 0.80074257  # where both have the same noise level and slope
    u = u * (1 + cosine_crossover - ddpm_crossover)
    above = ddpm_curve(u + ddpm_crossover - cosine_crossover)
    return torch.where(u < cosine_crossover, (u * math.pi / 2).tan(), above)


def _count(n: int) -> int:
    if n < 1:
        raise BadInput(f"A picture cannot be made in {n} steps; take 1 or more.")
    return n


def _range(sigma_min: float, sigma_max: float) -> Tensor:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise BadInput(f"Noise levels cannot run from {sigma_max:g} to {sigma_min:g}; they must fall and stay above 0.")
    return torch.tensor([sigma_min, sigma_max], dtype=torch.float64)


def _ramp(n: int) -> Tensor:
    """n even numbers from 0 to 1; only 0 if n is 1."""
    return torch.linspace(0, 1, _count(n), dtype=torch.float64)


def _falling(n: int) -> Tensor:
    """n + 1 even numbers from 1 to 0."""
    return torch.linspace(1, 0, _count(n) + 1, dtype=torch.float64)


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


BETWEEN: dict[str, Callable[[int, float, float], Tensor]] = {
    "karras": karras,
    "exponential": exponential,
    "polyexponential": polyexponential,
}
FIXED: dict[str, Callable[[int], Tensor]] = {
    "vp": vp,
    "flow": flow,
    "v_ddpm": v_ddpm,
    "v_log": v_log,
    "v_spliced": v_spliced,
}
NAMES = ("native", *BETWEEN, *FIXED)
