"""The single steps of DPM-Solver (Lu et al. 2022a) in VE scaling, for batches whose pictures differ in noise level.

Time is t = -log sigma. All times are (B,) tensors; h = t_next - t. Each step takes the noise `eps` predicted at t.
"""

from __future__ import annotations

from torch import Tensor

from lienzo.diffusion.denoiser import Model, spread


def eps_at(model: Model, x: Tensor, t: Tensor) -> Tensor:
    """The noise that the model sees in x at times t."""
    sigma = (-t).exp()
    return (x - model(x, sigma)) / spread(sigma, x)


def first_order(x: Tensor, eps: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """DPM-Solver-1, which is DDIM."""
    return x - spread((-t_next).exp() * (t_next - t).expm1(), x) * eps


def second_order(
    model: Model, x: Tensor, eps: Tensor, t: Tensor, t_next: Tensor, r: float = 1 / 2
) -> tuple[Tensor, Tensor]:
    """DPM-Solver-2 with its inner point at the share r of the step: x at t_next, and the eps at that point."""
    h = t_next - t
    inner = t + r * h
    eps_inner = eps_at(model, first_order(x, eps, t, inner), inner)
    weight = spread((-t_next).exp() * h.expm1() / (2 * r), x)
    return first_order(x, eps, t, t_next) - weight * (eps_inner - eps), eps_inner


def third_order(
    model: Model, x: Tensor, eps: Tensor, t: Tensor, t_next: Tensor, eps_inner: Tensor | None = None
) -> Tensor:
    """DPM-Solver-3 with inner points at 1/3 and 2/3; `eps_inner` is the first one's, if it is known already."""
    r1, r2 = 1 / 3, 2 / 3
    h = t_next - t
    s1, s2 = t + r1 * h, t + r2 * h
    if eps_inner is None:
        eps_inner = eps_at(model, first_order(x, eps, t, s1), s1)
    bend = spread((-s2).exp() * (r2 / r1) * _phi(r2 * h), x)
    eps_outer = eps_at(model, first_order(x, eps, t, s2) - bend * (eps_inner - eps), s2)
    return first_order(x, eps, t, t_next) - spread((-t_next).exp() / r2 * _phi(h), x) * (eps_outer - eps)


def _phi(h: Tensor) -> Tensor:
    """expm1(h) / h - 1, by its series h / 2 near 0."""
    small = h.abs() < 1e-5
    return (h.expm1() / h.masked_fill(small, 1.0) - 1).where(~small, h / 2)
