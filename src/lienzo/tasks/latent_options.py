"""What a person can set about models that diffuse in a latent space, such as Stable Diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from lienzo.core.errors import BadInput
from lienzo.core.options import Options

SIDES = ("left", "right", "top", "bottom")


def parse_extend(text: str) -> dict[str, int]:
    """``left:64,right:64`` as pixels by side; ``all:64`` is every side.

    Raises:
        BadInput: a side or a number is none.
    """
    found = dict.fromkeys(SIDES, 0)
    for part in filter(None, (part.strip() for part in text.split(","))):
        side, _, number = (word.strip() for word in part.partition(":"))
        if side not in (*SIDES, "all") or not number.isdecimal() or int(number) > 4096:
            raise BadInput(f"'{part[:40]}' is no side with pixels, as in left:64,right:64 or all:32, up to 4096.")
        found |= dict.fromkeys(SIDES, int(number)) if side == "all" else {side: int(number)}
    return found


def _extend(text: str) -> str:
    try:
        parse_extend(text)
    except BadInput as error:
        raise ValueError(str(error).rstrip(".")) from error
    return text


class LatentOptions(Options):
    """Options that only Stable Diffusion and its kin know."""

    group: ClassVar[str] = "Stable Diffusion"

    lora: tuple[Annotated[str, Field(min_length=1, max_length=2000)], ...] = ()
    """LoRA files that change the model, each as FILE or FILE:STRENGTH."""
    embedding: tuple[Annotated[str, Field(min_length=1, max_length=2000)], ...] = ()
    """Files of textual inversion, each as FILE, whose name is then a word for prompts, or as FILE:WORD."""
    vae: Path | None = None
    """File of another autoencoder in place of the checkpoint's own."""
    clip_skip: int = Field(1, ge=1, le=12)
    """Layer of the text encoder that is read, counted from its end."""
    weighting: Literal["mean", "empty", "none"] = "mean"
    """How weights in brackets, as in "(red:1.3) fox", work: mean as in stable-diffusion-webui, empty as in ComfyUI;
    none reads brackets as text."""
    schedule: Literal["native", "karras", "exponential", "polyexponential"] = "native"
    """How the noise levels of the steps are spread."""
    prediction: Literal["eps", "v"] | None = None
    """What the network predicts, where the file does not tell: v for Stable Diffusion 2 at 768 px."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Numbers of the U-Net; bfloat16 halves its memory, auto takes it on a GPU that has it."""
    tiling: Literal["none", "x", "y", "both"] = "none"
    """Make a texture that repeats without a seam: from left to right, from top to bottom, or both."""
    draw_size: int | None = Field(None, ge=16, le=4096)
    """Longer side at which the model draws, the rest being done by --upscaler; default: the picture's own."""
    extend: Annotated[str, AfterValidator(_extend)] = ""
    """With --init: paint on beyond its edges by so many pixels, as "left:64,right:64" or "all:64"."""
    native: bool = False
    """Open a folder of diffusers by Lienzo's own networks, so that all options work with it."""


def check_no_latent_options(options: Options, what: str) -> None:
    """Refuse options that only latent models know.

    Args:
        options: those of a verb that has `LatentOptions` among its own.
        what: the model, as the sentence calls it.

    Raises:
        BadInput: one of them is set.
    """
    for name, field in LatentOptions.model_fields.items():
        if getattr(options, name, field.default) != field.default:
            flag = name.replace("_", "-")
            raise BadInput(f"--{flag} is for checkpoints of Stable Diffusion, and {what} is none; leave it out.")
