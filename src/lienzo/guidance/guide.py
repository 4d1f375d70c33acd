"""A guide: what pictures are pulled towards, and the gradient that pulls them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.cutouts import CUTOUTS, Cutter
from lienzo.guidance.distances import DISTANCES, prompt_distance
from lienzo.guidance.draws import Generators, normal, uniform
from lienzo.guidance.losses import LOSSES, Loss, init_loss
from lienzo.guidance.losses_chosen import Surroundings, chosen_loss, named_uniquely
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.perceptor import Perceptor
from lienzo.guidance.prompts import Prompt, normalised_weights

LIFTED = 0.75
"""Share of a veil that is gone at the end of a run; what is left keeps the last steps from making textures."""


@dataclass(frozen=True)
class View:
    """What is judged: `picture` is what the prompts see, `denoised` the estimate; both (B, 3, H, W) in [-1, 1].

    `sigma` (B,) is the noise in `picture` (noise over signal), `progress` in [0, 1] how far the run is.
    """

    picture: Tensor
    denoised: Tensor
    sigma: Tensor | None = None
    progress: float = 0.0


@dataclass(frozen=True)
class Pull:
    """Gradients of the summed losses by a view's two pictures, and each loss before its scale, (B,)."""

    picture: Tensor
    denoised: Tensor | None
    losses: dict[str, Tensor]


@dataclass(frozen=True)
class Target:
    """The prompts as one perceptor sees them.

    `embeds` (N, D); `weights` (1 or B, N), a row for all pictures or one a picture; `stops` (1 or B, N);
    `share` is the weight of this perceptor among others. `veil` is the most noise (over signal) through which clean
    pictures are looked at when a run begins; `LIFTED` of it is gone at the end. It is for perceptors that know of
    noise: what they see through it are shapes, and textures that please them and nobody else do not get far.
    """

    perceptor: Perceptor
    cutter: Cutter
    embeds: Tensor
    weights: Tensor
    stops: Tensor
    share: float = 1.0
    veil: float = 0.0

    def loss(self, view: View, distance: Callable[[Tensor, Tensor], Tensor], generators: Generators) -> Tensor:
        """Weighted distance of a view to the prompts, averaged over new cutouts: (B,)."""
        batch = len(view.picture)
        cuts = self.cutter((view.picture + 1) / 2, view.progress, generators)  # (B * n, 3, s, s)
        n = len(cuts) // batch
        sigma = None if view.sigma is None else view.sigma.repeat_interleave(n)
        if sigma is None and self.veil:
            cuts, sigma = veiled(cuts, batch, self.veil * (1 - LIFTED * view.progress), generators)
        embeds = self.perceptor.encode_image(cuts, sigma).view(batch, n, 1, -1)
        distances = distance(embeds, self.embeds.to(embeds))  # (B, n, N)
        weights, stops = self.weights.to(embeds)[:, None], self.stops.to(embeds)[:, None]
        return self.share * prompt_distance(distances, weights, stops).sum(-1).mean(1)


def veiled(cuts: Tensor, batch: int, most: float, generators: Generators) -> tuple[Tensor, Tensor]:
    """Cutouts (batch * n, 3, s, s) in [0, 1] with noise, and how much (batch * n,): angles are uniform up to `most`'s.

    The angle of a sigma is atan(sigma), as in the training of the noise-aware towers of `lienzo.clip.compact`.
    """
    n = len(cuts) // batch
    share = (uniform(generators, batch, n).argsort(1) + uniform(generators, batch, n)) / n  # an n-th of the range each
    sigma = (share.flatten() * math.atan(most)).tan().to(cuts)
    noise = normal(generators, batch, n, *cuts.shape[1:]).flatten(0, 1).to(cuts)
    level = sigma.view(-1, 1, 1, 1)
    return ((cuts * 2 - 1 + level * noise) / (1 + level.square()).sqrt() + 1) / 2, sigma


@dataclass
class Guide:
    """Prompts, losses and the random generators of one run.

    `extra` holds further losses as (name, loss, scale). `generators`: with one a picture, a picture's pull does
    not depend on its neighbours in the batch. `nonfinite` counts the gradients of single pictures that were not
    finite and were replaced by zero; it never grows silently: `paint` says so in a Note, and whoever samples
    should look at it.
    """

    options: GuidanceOptions = field(default_factory=GuidanceOptions)
    targets: Sequence[Target] = ()
    extra: Sequence[tuple[str, Loss, float]] = ()
    generators: Generators = None
    nonfinite: int = 0

    def pull(self, view: View) -> Pull:
        """The gradient of all losses by the pictures of a view. Works whatever the caller's grad mode."""
        with torch.enable_grad():
            seen = view.picture.detach().requires_grad_()
            grad, losses = self._prompts(View(seen, seen, view.sigma, view.progress))
            total = seen.new_zeros(())
            for name, loss, scale in self._regularisers():
                losses[name] = loss(seen)
                total = total + scale * losses[name].sum()
            if total.requires_grad:
                grad = grad + torch.autograd.grad(total, seen)[0]
            by_denoised = self._range(view.denoised, losses)
        return Pull(grad, by_denoised, {name: loss.detach() for name, loss in losses.items()})

    def finite(self, grad: Tensor) -> Tensor:
        """`grad` (B, ...) with the pictures whose gradient is not finite set to zero, and counted."""
        good = grad.flatten(1).isfinite().all(1)  # (B,)
        self.nonfinite += int((~good).sum())
        return torch.where(good.view(-1, *[1] * (grad.ndim - 1)), grad, torch.zeros_like(grad))

    @property
    def needs_denoised(self) -> bool:
        """Whether the range loss looks at the estimate itself."""
        o = self.options
        return o.range_on == "denoised" and o.range_scale * o.scale_multiplier > 0

    def _prompts(self, view: View) -> tuple[Tensor, dict[str, Tensor]]:
        o = self.options
        grad = torch.zeros_like(view.picture)
        scale = o.clip_guidance_scale * o.scale_multiplier / o.cutn_batches
        if not self.targets or not scale:
            return grad, {}
        distance = DISTANCES.load(o.distance)
        mean = torch.zeros(len(view.picture), device=view.picture.device)
        # One batch of cutouts of one perceptor at a time, so that only its graph is in memory.
        for _ in range(o.cutn_batches):
            for target in self.targets:
                loss = target.loss(view, distance, self.generators)
                grad = grad + torch.autograd.grad(loss.sum() * scale, view.picture)[0]
                mean = mean + loss.detach() / o.cutn_batches
        return grad, {"prompts": mean}

    def _regularisers(self) -> list[tuple[str, Loss, float]]:
        o = self.options
        rows = [("tv", o.tv_scale * o.scale_multiplier), ("saturation", o.saturation_scale)]
        rows.append((f"symmetry_{o.symmetry}", o.symmetry_scale))
        if o.range_on == "x_in":
            rows.append(("range", o.range_scale * o.scale_multiplier))
        return [(name, LOSSES.load(name), scale) for name, scale in rows if scale] + list(self.extra)

    def _range(self, denoised: Tensor, losses: dict[str, Tensor]) -> Tensor | None:
        if not self.needs_denoised:
            return None
        leaf = denoised.detach().requires_grad_()
        losses["range"] = LOSSES.load("range")(leaf)
        scale = self.options.range_scale * self.options.scale_multiplier
        return torch.autograd.grad(losses["range"].sum() * scale, leaf)[0]


def make_guide(
    options: GuidanceOptions,
    prompts: Sequence[Sequence[Prompt]],
    perceptors: Sequence[tuple[Perceptor, float]],
    *,
    read_picture: Callable[[str], Tensor] | None = None,
    init: Tensor | None = None,
    init_distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    generators: Generators = None,
) -> Guide:
    """A guide from prompts.

    Args:
        prompts: one list for all pictures, or one list a picture.
        perceptors: each with its weight.
        read_picture: reads the picture of an image prompt, (1, 3, H, W) in [0, 1], on the perceptors' device.
        init: a picture to stay near, (1 or B, 3, H, W) in [-1, 1], by `options.init_scale`.
        init_distance: an LPIPS-shaped distance for it; mean squared difference without one.
        generators: one a picture, so that a picture is the same alone or in a batch.

    Raises:
        BadInput: the weights of a picture's prompts sum to 0, an image prompt cannot be read, or one of
            `options.loss` is not known or lacks something.
    """
    targets = [
        aim(perceptor, CUTOUTS.load(options.cutouts)(perceptor.size, options), prompts, read_picture, share)
        for perceptor, share in perceptors
    ]
    extra: list[tuple[str, Loss, float]] = []
    if init is not None and options.init_scale:
        extra.append(("init", init_loss(init, distance=init_distance), options.init_scale))
    around = Surroundings(init, read_picture, [perceptor for perceptor, _ in perceptors])
    extra += [chosen_loss(text, around) for text in options.loss]
    return Guide(options, targets, named_uniquely(extra), generators)


def aim(
    perceptor: Perceptor,
    cutter: Cutter,
    prompts: Sequence[Sequence[Prompt]],
    read_picture: Callable[[str], Tensor] | None = None,
    share: float = 1.0,
) -> Target:
    """Embed prompts (a list for all pictures, or one a picture) for one perceptor.

    An image prompt is embedded by its cutouts, which share its weight. Cutouts of image prompts are drawn from
    a generator of their own, so they do not shift the run's.
    """
    embeds: list[Tensor] = []
    rows: list[tuple[int, float, float]] = []  # (picture, weight, stop) of each embedding
    for picture, row in enumerate(prompts):
        parts = [_embed(perceptor, cutter, prompt, read_picture) for prompt in row]
        weights = normalised_weights([prompt.weight for prompt in row])
        for part, weight, prompt in zip(parts, weights, row):
            embeds += part.unbind()
            rows += [(picture, weight / len(part), prompt.stop)] * len(part)
    table = torch.zeros(len(prompts), len(rows))
    stops = torch.full((len(prompts), len(rows)), -torch.inf)
    for column, (picture, weight, stop) in enumerate(rows):
        table[picture, column], stops[picture, column] = weight, stop
    return Target(perceptor, cutter, torch.stack(embeds), table, stops, share)


def _embed(
    perceptor: Perceptor, cutter: Cutter, prompt: Prompt, read_picture: Callable[[str], Tensor] | None
) -> Tensor:
    with torch.no_grad():
        if not prompt.image:
            return perceptor.encode_text([prompt.text])
        if read_picture is None:
            raise BadInput(f"The image prompt {prompt.text[:80]!r} cannot be read here; give a sentence.")
        return perceptor.encode_image(cutter(read_picture(prompt.text), 0.0, torch.Generator().manual_seed(0)))
