"""What a person can set about guidance; the defaults are those of clip-diffusion-art and disco-diffusion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lienzo.core.options import Options
from lienzo.core.values import parse_value
from lienzo.guidance.settings import parse_choice


def _schedule(text: str) -> str:
    parse_value(text)
    return text


def _choices(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        parse_choice(text)
    return texts


Schedule = Annotated[str, AfterValidator(_schedule)]
"""Text that `parse_value` reads: ``12``, ``[12]*400+[4]*600`` or ``0:(4), 500:(12)``."""


class GuidanceOptions(Options):
    """How strongly, on what, and by which cutouts a picture is pulled towards its prompts."""

    clip_guidance_scale: float = Field(default=5000.0, ge=0)
    """Strength of the prompts."""
    tv_scale: float = Field(default=100.0, ge=0)
    """Strength of total variation: larger is smoother."""
    range_scale: float = Field(default=150.0, ge=0)
    """Strength of staying within the colours that can be shown."""
    range_on: Literal["denoised", "x_in"] = "denoised"
    """Where the range loss is taken: the network's estimate, or the blend that the prompts see. (The original
    programs take it on the estimate but differentiate by the blend, which gives zero whatever the scale.)"""
    saturation_scale: float = Field(default=0.0, ge=0)
    """Strength against small excesses of colour."""
    symmetry_scale: float = Field(default=0.0, ge=0)
    """Strength of mirror symmetry."""
    symmetry: Literal["horizontal", "vertical"] = "horizontal"
    """Mirror left to right, or top to bottom."""
    init_scale: float = Field(default=1000.0, ge=0)
    """Strength of staying near the starting picture, if there is one."""
    scale_multiplier: float = Field(default=1.0, ge=0)
    """Multiplies the strengths of prompts, total variation and range."""
    loss: Annotated[tuple[str, ...], AfterValidator(_choices)] = ()
    """Further losses, each as 'NAME:WEIGHT; SETTING=VALUE', for example 'palette:2; colours=navy->white': aesthetic,
    colourfulness, contrast, edge, init, palette, pigment, smoothness, style, symmetry or target."""
    distance: Literal["spherical", "cos_spherical", "cosine"] = "spherical"
    """Distance between the embeddings of cutouts and prompts."""

    cutouts: Literal["random", "disco", "whole", "paper"] = "random"
    """How the picture is cut before it is judged: random squares (clip-diffusion-art), overviews and inner crops
    (disco-diffusion), the whole picture pooled (VQGAN-CLIP), or the whole picture on paper that goes on."""
    cutn: int = Field(default=30, ge=1, le=1024)
    """Cutouts a batch, for all but disco."""
    cutn_batches: int = Field(default=4, ge=1, le=256)
    """Batches of cutouts a step, whose gradients are averaged."""
    cut_overview: Schedule = "[12]*400+[4]*600"
    """Overviews a batch over the run, for disco."""
    cut_innercut: Schedule = "[4]*400+[12]*600"
    """Inner crops a batch over the run, for disco."""
    cut_ic_pow: Schedule = "1"
    """Power of the size of inner crops over the run, for disco: larger makes smaller crops."""
    cut_icgray_p: Schedule = "[0.2]*400+[0]*600"
    """Share of grey inner crops over the run, for disco, in [0, 1]."""
    skip_augs: bool = False
    """Judge the cutouts as they are, without random changes."""

    mode: Literal["estimate", "through", "secondary"] = "estimate"
    """Where the gradient comes from: the denoised estimate alone (fast), through the network (exact, about three
    times the cost), or through a small secondary network."""
    look_at: Literal["blend", "denoised", "noisy"] = "blend"
    """What is judged: estimate and noisy picture blended by noise level, the estimate, or the noisy picture."""
    clamp_grad: bool = True
    """Limit the size of the gradient."""
    clamp_max: float = Field(default=0.05, gt=0)
    """Largest root mean square of a picture's gradient, in units of a picture of unit variance."""
    relative_step: float = Field(default=0.0, ge=0, le=10)
    """If set, each step moves the estimate by this share of its own root mean square, whatever the gradient's
    size. Suits small networks; 0.08 to 0.6."""
    off_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the run, at its end, that is not guided."""
