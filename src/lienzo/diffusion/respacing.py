"""Sampling with fewer steps than were trained: which timesteps to keep, and the diffusion over only those."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from lienzo.core.errors import BadInput
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.schedules import betas_from_alphas_cumprod


def any_timesteps(num_timesteps: int, count: int) -> list[int]:
    """`count` of the timesteps 0..n-1, as even as integers allow; works for every count from 1 to n.

    They increase strictly, end with n-1 (the noisiest, where sampling starts) and, for count > 1, begin with 0.

    Raises:
        BadInput: count is not between 1 and n.
    """
    if not 1 <= count <= num_timesteps:
        raise BadInput(f"{count} steps cannot be chosen of {num_timesteps}; choose 1 to {num_timesteps}.")
    if count == 1:
        return [num_timesteps - 1]
    last, gaps = num_timesteps - 1, count - 1
    return [(2 * i * last + gaps) // (2 * gaps) for i in range(count)]  # i * last / gaps, rounded half up


def space_timesteps(num_timesteps: int, spec: str | int | Sequence[int]) -> list[int]:
    """The timesteps that a guided-diffusion respacing keeps, increasing.

    Args:
        num_timesteps: n, the trained number of steps.
        spec: ``"ddim25"`` for a constant integer stride from 0 that gives 25 steps; ``250`` or ``"250"`` for that
            many even steps; ``"10,20,30"`` or ``[10, 20, 30]`` to cut 0..n-1 into equal sections and take so many
            even steps of each; ``""`` for all.

    Raises:
        BadInput: no such stride exists, a section is smaller than its count, or the text cannot be read.
            `any_timesteps` has none of these limits.
    """
    if num_timesteps < 1:
        raise BadInput(f"There is nothing to choose of {num_timesteps} timesteps; it must be 1 or more.")
    if isinstance(spec, str):
        spec = spec.strip()
        if spec.startswith("ddim"):
            return _constant_stride(num_timesteps, spec)
        spec = _numbers(spec) if spec else [num_timesteps]
    return _sections(num_timesteps, [spec] if isinstance(spec, int) else list(spec))


def respace(diffusion: GaussianDiffusion, timesteps: Sequence[int]) -> GaussianDiffusion:
    """The diffusion that visits only `timesteps`: same marginals there, and the network still gets the original t.

    Args:
        diffusion: the diffusion to thin out; may itself be respaced.
        timesteps: indices into its steps, strictly increasing, e.g. from `any_timesteps`.

    Raises:
        BadInput: the indices are empty, out of range or not strictly increasing.
    """
    kept = list(timesteps)
    ordered = all(a < b for a, b in pairwise(kept))
    if not kept or not ordered or kept[0] < 0 or kept[-1] >= diffusion.num_timesteps:
        raise BadInput(
            f"The kept timesteps must increase strictly within 0 to {diffusion.num_timesteps - 1}; these do not."
        )
    return GaussianDiffusion(
        betas_from_alphas_cumprod(diffusion.alphas_cumprod[torch.tensor(kept)]),
        mean_type=diffusion.mean_type,
        variance_type=diffusion.variance_type,
        loss_type=diffusion.loss_type,
        rescale_timesteps=diffusion.rescale_timesteps,
        timestep_map=[int(diffusion.timestep_map[t]) for t in kept],
        trained_timesteps=diffusion.trained_timesteps,
    )


def _constant_stride(num_timesteps: int, spec: str) -> list[int]:
    digits = spec.removeprefix("ddim")
    if not digits.isdecimal():
        raise BadInput(f"The respacing {spec[:40]!r} cannot be read; write 'ddim' and a number, like 'ddim25'.")
    wanted = int(digits)
    possible = {len(range(0, num_timesteps, stride)): stride for stride in range(num_timesteps - 1, 0, -1)}
    if wanted not in possible:
        near = sorted(possible, key=lambda count: abs(count - wanted))[:2]
        hint = f"; possible near it: {', '.join(str(count) for count in sorted(near))}" if near else ""
        raise BadInput(f"No integer stride gives exactly {wanted} of {num_timesteps} timesteps{hint}.")
    return list(range(0, num_timesteps, possible[wanted]))


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise BadInput(f"The respacing {text[:40]!r} cannot be read; write it as 'ddim25', '250' or '10,20,30'.")
    return [int(part) for part in parts]


def _sections(num_timesteps: int, counts: list[int]) -> list[int]:
    if not counts or min(counts) < 0 or sum(counts) == 0:
        raise BadInput(f"The respacing {counts} keeps no timestep; each section needs 1 or more.")
    size, larger = divmod(num_timesteps, len(counts))
    kept: list[int] = []
    start = 0
    for index, count in enumerate(counts):
        length = size + (index < larger)
        if length < count:
            raise BadInput(f"A section of {length} timesteps cannot give {count}; ask for {length} or fewer there.")
        stride = (length - 1) / (count - 1) if count > 1 else 1.0
        position = 0.0  # a running sum, because i * stride rounds otherwise at some halves
        for _ in range(count):
            kept.append(start + round(position))
            position += stride
        start += length
    return kept
