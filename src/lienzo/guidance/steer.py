"""Guidance as functions from model to model: ``denoised = model(x, sigma, **cond)`` in, the same out.

x is x0 + sigma * noise with x0 over [-1, 1] (variance-exploding), sigma is (B,). Everything here stacks in any
order and works with any sampler, because a sampler sees nothing but another model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.guidance.guide import Guide, View
from lienzo.guidance.ops import replace_grad

Model = Callable[..., Tensor]
Scale = float | Tensor
"""One number, or one a picture (B,)."""


def steer(
    model: Model,
    guide: Guide,
    *,
    scale: Scale = 1.0,
    secondary: Model | None = None,
    decode: Callable[[Tensor], Tensor] | None = None,
    sigmas: Tensor | None = None,
) -> Model:
    """Pull a model's estimates down the losses of a guide.

    The estimate moves by sigma² times the gradient by x, as the score does (Dhariwal and Nichol 2021, section 4).
    Gradient sizes and their clamp are those of x scaled to unit variance, as in clip-diffusion-art, whose DDIM
    step this equals in mode ``through``.

    Args:
        scale: multiplies the step after the clamp.
        secondary: a small model with the same convention, needed by the mode ``secondary``.
        decode: latents to pictures in [-1, 1], for latent models; differentiable.
        sigmas: the noise levels of the run, largest first, so that schedules and `off_share` count in its steps.
            Without them progress is the angle of the noise, 1 - atan(sigma) * 2/pi.

    Raises:
        ValueError: on use, if the pictures of a batch are at different noise levels.
    """
    if guide.options.mode == "secondary" and secondary is None:
        raise ValueError("the mode 'secondary' needs a secondary model")
    o = guide.options

    def steered(x: Tensor, sigma: Tensor, **cond: Any) -> Tensor:
        sigma = sigma.expand(len(x))
        now = progress(sigma, sigmas)
        if now >= 1 - o.off_share - 1e-6:
            return model(x, sigma, **cond)
        denoised, grad = guided_gradient(model, guide, x, sigma, cond, now, secondary=secondary, decode=decode)
        if o.relative_step:
            step = grad * (rms(denoised) / rms(grad).clamp(min=1e-20) * o.relative_step).detach()
        else:
            step = clamp_rms(grad, o.clamp_max) if o.clamp_grad else grad
            step = step * like(sigma.square() / (1 + sigma.square()).sqrt(), x)
        return denoised + like(scale, x) * step

    return steered


def guided_gradient(
    model: Model,
    guide: Guide,
    x: Tensor,
    sigma: Tensor,
    cond: Mapping[str, Any],
    now: float = 0.0,
    *,
    secondary: Model | None = None,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The model's estimate and the direction that lowers the guide's losses, both (B, ...).

    The direction is minus the gradient by x scaled to unit variance, unclamped. By `guide.options.mode`:
    ``through`` differentiates the network; ``estimate`` takes its derivative to be the identity, so that the
    network only runs forward; ``secondary`` differentiates the secondary model in its place.
    """
    mode = guide.options.mode
    alpha = like(1 / (1 + sigma.square()).sqrt(), x)
    # Under an outer guide that differentiates this model, x already carries a graph that has to be kept.
    nested = x.requires_grad and torch.is_grad_enabled()
    through = mode == "through"
    leaf = x if nested and through else x.detach().requires_grad_()
    denoised = None if through else model(x, sigma, **cond)
    with torch.enable_grad():
        if denoised is None:
            estimate = denoised = model(leaf, sigma, **cond)
        elif secondary is not None and mode == "secondary":
            estimate = secondary(leaf, sigma)
        else:
            estimate = replace_grad(denoised.detach(), leaf * alpha)
        view = look(guide, leaf, sigma, estimate, now, decode)
        pull = guide.pull(view)
        outputs, grads = [view.picture], [pull.picture]
        if pull.denoised is not None:
            outputs, grads = [view.picture, view.denoised], [pull.picture, pull.denoised]
        (by_x,) = torch.autograd.grad(outputs, leaf, grads, retain_graph=nested and through)
    return denoised if nested or not through else denoised.detach(), guide.finite(-by_x / alpha)


def look(
    guide: Guide,
    x: Tensor,
    sigma: Tensor,
    estimate: Tensor,
    now: float,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> View:
    """What the guide judges: by `look_at` the estimate, x at unit variance, or clip-diffusion-art's blend.

    The blend is estimate * f + x * (1 - f), with x at unit variance and f its share of noise.
    """
    alpha = 1 / (1 + sigma.square()).sqrt()
    share = {"blend": sigma * alpha, "denoised": torch.ones_like(sigma), "noisy": torch.zeros_like(sigma)}
    f = share[guide.options.look_at]
    seen = estimate * like(f, x) + x * like(alpha * (1 - f), x)
    signal = f + alpha * (1 - f)
    noise = (1 - f) * alpha * sigma / signal
    if decode is None:
        return View(seen, estimate, noise, now)
    return View(decode(seen), decode(estimate) if guide.needs_denoised else estimate, noise, now)


def progress(sigma: Tensor, sigmas: Tensor | None = None) -> float:
    """How far a run is, 0 at its first step and (n - 1)/n at the last of n, from its noise level.

    Between the levels of `sigmas` (largest first; a 0 at the end is not a step) it is linear in log sigma.
    """
    level = float(sigma[0])
    if not torch.allclose(sigma, sigma[0]):
        raise ValueError("guidance needs one noise level for the whole batch")
    if sigmas is None:
        return 1 - float(torch.atan(torch.tensor(level))) * 2 / torch.pi
    steps = sigmas[sigmas > 0].double().log().cpu()
    if level <= 0:
        return 1.0
    at = torch.tensor(level, dtype=torch.float64).log()
    after = int((steps > at + 1e-9).sum())  # steps noisier than this one
    if after == 0 or after == len(steps):
        return min(after / len(steps), 1 - 1 / len(steps))
    between = (steps[after - 1] - at) / (steps[after - 1] - steps[after])
    return (after - 1 + float(between)) / len(steps)


def classifier_free(
    model: Model,
    cond: Mapping[str, Any],
    uncond: Mapping[str, Any],
    scale: Scale,
    *,
    interval: tuple[float, float] = (0.0, float("inf")),
    joined: bool = False,
) -> Model:
    """Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (cond - uncond).

    Args:
        cond, uncond: keyword arguments of the model.
        scale: 1 is plain conditional; one number, or one a picture (B,).
        interval: noise levels (lowest, highest) in which it applies; outside the model is plainly conditional
            (Kynkäänniemi et al. 2024).
        joined: run both as one batch of 2B where the shapes of all conditions agree: faster on a GPU. For bare
            networks only, as a model that holds something for each picture (`steer`, `masked`) expects B.
    """
    plain = not isinstance(scale, Tensor) and scale == 1
    joined = joined and cond.keys() == uncond.keys() and all(_same_shape(cond[key], uncond[key]) for key in cond)

    def guided(x: Tensor, sigma: Tensor, **more: Any) -> Tensor:
        sigma = sigma.expand(len(x))
        inside = (sigma >= interval[0]) & (sigma <= interval[1])
        if plain or not bool(inside.any()):
            return model(x, sigma, **more, **cond)
        if joined and not more:
            both = {key: torch.cat([cond[key], uncond[key]]) for key in cond}
            with_cond, without = model(torch.cat([x, x]), torch.cat([sigma, sigma]), **both).chunk(2)
        else:
            with_cond, without = model(x, sigma, **more, **cond), model(x, sigma, **more, **uncond)
        step = torch.where(like(inside, x), like(scale, x), torch.ones_like(like(sigma, x)))
        return without + step * (with_cond - without)

    return guided


def classifier_guided(model: Model, log_prob: Callable[[Tensor, Tensor], Tensor], scale: Scale = 1.0) -> Model:
    """Classifier guidance (Dhariwal and Nichol 2021): the estimate moves by scale * sigma² * grad log p(y | x).

    Args:
        log_prob: of (x, sigma) in the convention of this file, one number a picture (B,); see `label_log_prob`.
    """

    def guided(x: Tensor, sigma: Tensor, **cond: Any) -> Tensor:
        sigma = sigma.expand(len(x))
        denoised = model(x, sigma, **cond)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(log_prob(leaf, sigma).sum(), leaf)
        return denoised + like(scale, x) * like(sigma.square(), x) * grad

    return guided


def label_log_prob(classifier: Callable[[Tensor, Tensor], Tensor], labels: Tensor) -> Callable[..., Tensor]:
    """log p(label | x) of a noise-aware classifier (x, sigma) -> logits (B, classes), for labels (B,)."""

    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
        return F.log_softmax(classifier(x, sigma), -1).gather(1, labels.to(x.device)[:, None])[:, 0]

    return log_prob


def thresholded(model: Model, *, dynamic: float | None = None) -> Model:
    """Keep estimates in [-1, 1].

    Args:
        dynamic: None clamps. A share such as 0.995 is Imagen's dynamic thresholding (Saharia et al. 2022): each
            picture is clamped to that quantile of its sizes, if above 1, and divided by it.
    """
    if dynamic is not None and not 0 < dynamic <= 1:
        raise ValueError("the quantile of dynamic thresholding lies in (0, 1]")

    def bounded(x: Tensor, sigma: Tensor, **cond: Any) -> Tensor:
        denoised = model(x, sigma, **cond)
        if dynamic is None:
            return denoised.clamp(-1, 1)
        sizes = denoised.detach().abs().flatten(1).float().sort(1).values
        rank = max(round(dynamic * sizes.shape[1]) - 1, 0)  # torch.quantile refuses pictures above 16 M values
        limit = like(sizes[:, rank].clamp(min=1).to(x), x)
        return torch.minimum(torch.maximum(denoised, -limit), limit) / limit

    return bounded


def masked(model: Model, init: Tensor, mask: Tensor) -> Model:
    """Inpainting: the model paints where `mask` is 1 and `init` stays where it is 0; between, they blend.

    Wherever the estimate is `init`, a sampler that starts from init + sigma * noise stays on exactly that path,
    so nothing but the estimate has to be replaced, and the result equals `init` there.

    Args:
        init: (1 or B, C, H, W) in the space of the model.
        mask: (1 or B, 1 or C, H, W) in [0, 1].
    """

    def inpainted(x: Tensor, sigma: Tensor, **cond: Any) -> Tensor:
        denoised = model(x, sigma, **cond)
        return torch.lerp(init.to(denoised).expand_as(denoised), denoised, mask.to(denoised).expand_as(denoised))

    return inpainted


def clamp_rms(grad: Tensor, most: float, *, per_picture: bool = True) -> Tensor:
    """Shrink (B, ...) so that its root mean square is at most `most`.

    Each picture by its own size, or, as in the original programs, all by the size of the whole batch, which
    makes a picture depend on its neighbours.
    """
    size = rms(grad) if per_picture else grad.square().mean().sqrt()
    return grad * (size.clamp(max=most) / size.clamp(min=1e-20))


def rms(x: Tensor) -> Tensor:
    """Root mean square of each picture: (B, 1, 1, ...)."""
    return x.square().mean(tuple(range(1, x.ndim)), keepdim=True).sqrt()


def like(value: Scale, x: Tensor) -> Tensor:
    """A number, or one a picture (B,), as a tensor that broadcasts over x (B, ...)."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)
    kept = value.to(x.device) if value.dtype == torch.bool else value.to(x)
    return kept.view(-1, *[1] * (x.ndim - 1))


def _same_shape(a: Any, b: Any) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
