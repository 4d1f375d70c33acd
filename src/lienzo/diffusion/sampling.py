"""Sampling: a named sampler integrates a model from noise to a picture, one `Step` after the other.

    sigmas = schedule("karras", model, 25)
    x = start(torch.zeros(B, 3, H, W), sigmas, noise)
    for step in sample("dpmpp_2m", model, x, sigmas):
        show(step.denoised)

A sampler is a function `sample_x(model, x, sigmas, *, options) -> Iterator[Step]`, listed in `SAMPLERS`. Everything is
in the scaling x = x0 + sigma * noise, see `denoiser`. Closing the generator stops the work.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names
from lienzo.diffusion.denoiser import Model, without_grad
from lienzo.diffusion.samplers.ddim import invert_ddim
from lienzo.diffusion.samplers.steps import Step
from lienzo.nn.noise import Noise

SAMPLERS = Names(
    "sampler",
    {
        "euler": "lienzo.diffusion.samplers.euler:sample_euler",
        "euler_ancestral": "lienzo.diffusion.samplers.euler_ancestral:sample_euler_ancestral",
        "heun": "lienzo.diffusion.samplers.heun:sample_heun",
        "dpm_2": "lienzo.diffusion.samplers.dpm_2:sample_dpm_2",
        "dpm_2_ancestral": "lienzo.diffusion.samplers.dpm_2:sample_dpm_2_ancestral",
        "lms": "lienzo.diffusion.samplers.lms:sample_lms",
        "dpm_fast": "lienzo.diffusion.samplers.dpm_fast:sample_dpm_fast",
        "dpm_adaptive": "lienzo.diffusion.samplers.dpm_adaptive:sample_dpm_adaptive",
        "dpmpp_2s_ancestral": "lienzo.diffusion.samplers.dpmpp_2s_ancestral:sample_dpmpp_2s_ancestral",
        "dpmpp_sde": "lienzo.diffusion.samplers.dpmpp_sde:sample_dpmpp_sde",
        "dpmpp_2m": "lienzo.diffusion.samplers.dpmpp_multistep:sample_dpmpp_2m",
        "dpmpp_2m_sde": "lienzo.diffusion.samplers.dpmpp_multistep:sample_dpmpp_2m_sde",
        "dpmpp_3m_sde": "lienzo.diffusion.samplers.dpmpp_multistep:sample_dpmpp_3m_sde",
        "ddpm": "lienzo.diffusion.samplers.ddpm:sample_ddpm",
        "ddim": "lienzo.diffusion.samplers.ddim:sample_ddim",
        "plms": "lienzo.diffusion.samplers.plms:sample_plms",
        "plms2": "lienzo.diffusion.samplers.plms:sample_plms2",
        "iplms": "lienzo.diffusion.samplers.plms:sample_iplms",
        "prk": "lienzo.diffusion.samplers.runge_kutta:sample_prk",
        "pie": "lienzo.diffusion.samplers.runge_kutta:sample_pie",
    },
)


class Start(NamedTuple):
    """Where sampling begins: x, noised to sigmas[0], and the noise levels from there."""

    x: Tensor
    sigmas: Tensor


def sample(
    name: str, model: Model, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, **options: Any
) -> Iterator[Step]:
    """Run a sampler of `SAMPLERS`, without gradients.

    Args:
        name: e.g. ``"dpmpp_2m"``.
        model: `denoised = model(x, sigma)`.
        x: the start, (B, ...), noised to sigmas[0]; see `start`. Float32 or better.
        sigmas: strictly falling noise levels, two or more, the last usually 0; see `sigmas.schedule`.
        noise: what a stochastic sampler draws from, see `lienzo.nn.noise`; torch.randn_like if not given.
        options: keyword options of that sampler, e.g. ``eta=0.5``.

    Raises:
        BadInput: at once: the name, an option or the sigmas do not fit.
    """
    sampler = SAMPLERS.load(name)
    known = _options_of(sampler)
    for option, value in options.items():
        if option not in known:
            there = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadInput(f"The sampler '{name}' has no option '{option}'; {there}.")
        _check_option(name, option, value, known[option])
    if noise is not None and "noise" in inspect.signature(sampler).parameters:
        options["noise"] = noise
    return sampler(without_grad(model), x.detach(), falling(sigmas), **options)


def final(steps: Iterator[Step]) -> Tensor:
    """Run to the end and give the last x."""
    last = None
    for last in steps:  # noqa: B007
        pass
    if last is None:
        raise BadInput("The sampler made no step; give it two noise levels or more.")
    return last.x


def start(init: Tensor, sigmas: Tensor, noise: Noise = torch.randn_like, *, skip: int = 0) -> Start:
    """Begin from a picture instead of from nothing: init + sigmas[skip] * noise, and the sigmas from there.

    Args:
        init: clean pictures in the model's range, (B, ...); zeros for pure noise.
        sigmas: falling noise levels, (n + 1,).
        noise: the noise source.
        skip: how many steps to leave out, 0 to n - 1: the more, the closer the result stays to `init`.

    Raises:
        BadInput: skip leaves no step.
    """
    if not 0 <= skip < len(sigmas) - 1:
        raise BadInput(f"Of {len(sigmas) - 1} steps {skip} cannot be skipped; skip 0 to {len(sigmas) - 2}.")
    return Start(init + sigmas[skip].item() * noise(init), sigmas[skip:])


def invert(model: Model, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    """From clean pictures to the noise that `ddim` would make them of, without gradients; see `invert_ddim`.

    Args:
        model: `denoised = model(x, sigma)`.
        x: clean pictures, (B, ...).
        sigmas: falling noise levels as for `sample`; they are visited from the end. A 0 there is left out.

    Raises:
        BadInput: at once: the sigmas do not fit.
    """
    rising = falling(sigmas).flip(0)
    rising = rising[1:] if rising[0] == 0 else rising
    if len(rising) < 2:
        raise BadInput("An inversion needs two noise levels or more above 0.")
    return invert_ddim(without_grad(model), x.detach(), rising)


def falling(sigmas: Tensor) -> Tensor:
    """The sigmas, checked.

    Raises:
        BadInput: they are not one row of two or more finite numbers that fall strictly to 0 or above.
    """
    rows = sigmas.ndim == 1 and len(sigmas) > 1
    if not (rows and bool(sigmas.isfinite().all()) and bool((sigmas.diff() < 0).all()) and sigmas[-1].item() >= 0):
        raise BadInput("The noise levels must be two or more finite numbers that fall strictly, not below 0.")
    return sigmas


def _options_of(sampler: Callable[..., Iterator[Step]]) -> dict[str, Any]:
    """The keyword-only parameters of a sampler, save its noise, and their types."""
    hints = get_type_hints(sampler)
    parameters = inspect.signature(sampler).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "noise"}


def _check_option(sampler: str, option: str, value: Any, kind: Any) -> None:
    if get_origin(kind) is Literal:
        fits, wanted = value in get_args(kind), "one of " + ", ".join(map(str, get_args(kind)))
    elif kind is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    elif kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits, wanted = number and value >= 0 and not math.isnan(value), "a number, 0 or more"
    elif kind in (int, int | None):
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits, wanted = (whole and value > 0) or (value is None and kind is not int), "a whole number, 1 or more"
    else:
        return
    if not fits:
        raise BadInput(f"Option '{option}' of the sampler '{sampler}' was {value!r}; it should be {wanted}.")
