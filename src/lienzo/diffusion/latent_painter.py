"""A latent diffusion model in one file: the autoencoder that it works in, and the network that denoises its latents.

Rombach et al. 2022 (arXiv 2112.10752). The network is the U-Net of latent diffusion or a diffusion transformer; it is
told nothing, a class, a text (vectors of a sentence encoder, or the states of a CLIP's text tower) or a picture, whose
latents stand beside the noisy ones. What was dropped in training is a learned vector, a class of its own, or zeros, so
that classifier-free guidance works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lienzo.autoencoders.gumbel import GumbelVQ
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.vqgan import VQModel
from lienzo.core.errors import BadInput
from lienzo.diffusion.denoiser import DiscreteDenoiser, FlowDenoiser
from lienzo.diffusion.dit import DiT
from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.diffusion.schedules import make_betas
from lienzo.nn.loading import fill_exactly

Stage = VQModel | GumbelVQ | AutoencoderKL
STAGES: dict[str, type[VQModel] | type[GumbelVQ] | type[AutoencoderKL]] = {
    "vqgan": VQModel,
    "gumbel-vqgan": GumbelVQ,
    "kl-autoencoder": AutoencoderKL,
}
"""Names of autoencoders, as in `weights.models.NETWORKS`."""
CONDITIONS = ("none", "class", "text", "picture")
OBJECTIVES = ("flow", "eps", "v")
SCHEDULE, STEPS = "stable_diffusion", 1000  # of eps and v

Condition = Literal["none", "class", "text", "picture"]
Objective = Literal["flow", "eps", "v"]
Hint = Literal["mask", "small"]


class VectorEmbedder(nn.Module):
    """A text's vector (B, D) to the width of a transformer, in place of its embedding of classes."""

    def __init__(self, width: int, hidden_size: int):
        super().__init__()
        self.proj = nn.Linear(width, hidden_size)

    def forward(self, y: Tensor) -> Tensor:
        return self.proj(y.to(self.proj.weight.dtype))


class LatentDenoiser(nn.Module):
    """The network alone: noisy latents and what they should show, to noise, v or velocity.

    Args:
        channels: of the latents.
        side: positions a side that it was made for; it takes other sizes too.
        architecture: ``unet`` or ``dit``.
        width: base width (unet: a multiple of 32) or hidden size (dit).
        depth: residual blocks a level, or transformer blocks.
        multiples: width of each level of the U-Net; attention is at all but the first.
        heads: attention heads.
        patch: side of the transformer's patches.
        objective: ``flow`` (velocity of a rectified flow), ``eps`` or ``v`` (on Stable Diffusion's schedule).
        condition: ``none``, ``class``, ``text`` or ``picture``.
        text_width: numbers in a text's vector, or in each state.
        classes: names of the classes.
        hint: of a picture: ``mask`` (a mask, 1 where to paint, and the picture without that) or ``small`` (the picture
            as it is, e.g. enlarged from few pixels).

    Raises:
        BadInput: the settings do not fit together.
    """

    def __init__(
        self,
        *,
        channels: int,
        side: int,
        architecture: Literal["unet", "dit"] = "unet",
        width: int = 64,
        depth: int = 1,
        multiples: Sequence[int] = (1, 2, 4),
        heads: int = 4,
        patch: int = 1,
        objective: Objective = "flow",
        condition: Condition = "none",
        text_width: int | None = None,
        classes: Sequence[str] | None = None,
        hint: Hint = "mask",
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels, "side": side, "architecture": architecture, "width": width, "depth": depth,
            "multiples": list(multiples), "heads": heads, "patch": patch, "objective": objective,
            "condition": condition, "text_width": text_width, "classes": None if classes is None else list(classes),
            "hint": hint,
        }  # fmt: skip
        for name, value, known in (
            ("condition", condition, CONDITIONS), ("objective", objective, OBJECTIVES),
            ("architecture", architecture, ("unet", "dit")), ("hint", hint, ("mask", "small")),
        ):  # fmt: skip
            if value not in known:
                raise BadInput(f"The {name} of a latent diffusion model is one of {', '.join(known)}, not '{value}'.")
        if (condition == "text") != (text_width is not None) or (condition == "class") != bool(classes):
            raise BadInput("A model that reads texts has a text_width, one that knows classes names them, others not.")
        self.channels, self.condition, self.objective = channels, condition, objective
        self.beside = (channels + (hint == "mask")) if condition == "picture" else 0
        self.network = self._unet() if architecture == "unet" else self._transformer()
        if text_width is not None:
            self.nothing = nn.Parameter(0.02 * torch.randn(text_width))

    def _unet(self) -> LdmUnet:
        given = self.config
        reads = self.condition == "text"
        levels = len(given["multiples"])
        return LdmUnet(
            given["side"],
            self.channels + self.beside,
            given["width"],
            self.channels,
            given["depth"],
            [2**level for level in range(min(1, levels - 1), levels)],
            channel_mult=given["multiples"],
            num_heads=given["heads"],
            num_classes=len(given["classes"]) + 1 if given["classes"] else None,
            use_scale_shift_norm=True,
            use_spatial_transformer=reads,
            context_dim=given["text_width"],
        )

    def _transformer(self) -> DiT:
        given = self.config
        count = len(given["classes"] or ())
        model = DiT(
            given["side"], given["patch"], self.channels + self.beside, given["width"], given["depth"],
            given["heads"], class_dropout_prob=0.1, num_classes=max(count, 1), learn_sigma=False,
            objective="flow" if self.objective == "flow" else "ddpm",
        )  # fmt: skip
        if given["text_width"] is not None:
            model.y_embedder = VectorEmbedder(given["text_width"], given["width"])  # type: ignore[assignment]
        return model

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        *,
        text: Tensor | None = None,
        keep: Tensor | None = None,
        y: Tensor | None = None,
        picture: Tensor | None = None,
    ) -> Tensor:
        """One evaluation.

        Args:
            x: (B, channels, h, w), as the objective scales noisy latents.
            t: (B,): times in [0, 1] of a flow, else timesteps from 0 to 999.
            text: (B, L, text_width); a transformer is told their mean.
            keep: (B,) bool, where the text or the picture counts; None for everywhere.
            y: (B,) class; one more than there are classes stands for none.
            picture: (B, beside, h, w), see `hint`.

        Returns:
            (B, channels, h, w).

        Raises:
            BadInput: what it is to show is missing.
        """
        self._check(text, y, picture)
        if self.condition == "picture" and picture is not None:
            seen = picture if keep is None else picture * keep[:, None, None, None].to(picture.dtype)
            x = torch.cat([x, seen.to(x.dtype)], dim=1)
        if text is not None and keep is not None:
            text = torch.where(keep[:, None, None], text.to(self.nothing.dtype), self.nothing)
        if isinstance(self.network, LdmUnet):
            times = 1000 * t if self.objective == "flow" else t
            return self.network(x, times, text, y)
        if text is not None:
            told = text.mean(dim=1)
        else:
            told = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        return self.network(x, t, told)[:, : self.channels]

    def _check(self, text: Tensor | None, y: Tensor | None, picture: Tensor | None) -> None:
        given = {"text": text, "class": y, "picture": picture}
        for name, value in given.items():
            if (value is not None) != (name == self.condition):
                what = "needs a" if value is None else "takes no"
                raise BadInput(f"This model {what} {name}: it was made for the condition {self.condition}.")


class LatentPainter(nn.Module):
    """A `LatentDenoiser` with its autoencoder.

    Args:
        stage: name of the autoencoder's network and its arguments, as {"network": …, "config": …}.
        denoiser: arguments of `LatentDenoiser`.
        size: side of the pictures in pixels that it was trained on.
        text: how texts are read, as {"encoder": name or file, "sha256": its hash, "states": whether all states of a
            CLIP's tower are given, or one vector}.
        known: some of the captions that it was trained on.

    Raises:
        BadInput: there is no such autoencoder, or the settings do not fit together.
    """

    def __init__(
        self,
        *,
        stage: Mapping[str, Any],
        denoiser: Mapping[str, Any],
        size: int,
        text: Mapping[str, Any] | None = None,
        known: Sequence[str] = (),
    ):
        super().__init__()
        if stage["network"] not in STAGES:
            raise BadInput(f"There is no autoencoder '{stage['network']}'; a latent painter has {', '.join(STAGES)}.")
        self.stage: Stage = STAGES[stage["network"]](**stage["config"])
        self.denoiser = LatentDenoiser(**denoiser)
        self.size = size
        self.config: dict[str, Any] = {
            "stage": {"network": stage["network"], "config": dict(self.stage.config)},
            "denoiser": self.denoiser.config, "size": size, "text": None if text is None else dict(text),
            "known": list(known),
        }  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, **told: Tensor) -> Tensor:
        """See `LatentDenoiser.forward`."""
        return self.denoiser(x, t, **told)


def joined(
    stage: Stage, denoiser: LatentDenoiser, size: int, text: Mapping[str, Any] | None = None, known: Sequence[str] = ()
) -> LatentPainter:
    """Both as one network that shares their tensors."""
    name = next(name for name, kind in STAGES.items() if isinstance(stage, kind))
    with torch.device("meta"):
        model = LatentPainter(
            stage={"network": name, "config": stage.config}, denoiser=denoiser.config, size=size, text=text, known=known
        )
    model.stage, model.denoiser = stage, denoiser
    return model


def latent_denoiser(network: nn.Module, objective: str) -> DiscreteDenoiser | FlowDenoiser:
    """A `LatentDenoiser` or `LatentPainter` as samplers call it: `denoised = model(x, sigma, **told)`."""
    if objective == "flow":
        return FlowDenoiser(network)
    betas = make_betas(SCHEDULE, STEPS)
    return DiscreteDenoiser(network, betas, prediction="v" if objective == "v" else "eps")


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a `LatentPainter`."""
    return "stage.decoder.conv_out.weight" in state and any(key.startswith("denoiser.network.") for key in state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> LatentPainter:
    """The painter in evaluation mode. Raises `BadWeights` when keys or shapes do not fit."""
    with torch.device("meta"):  # a file's configuration costs no memory before its tensors are known to fit
        model = LatentPainter(**(config or {}))
    return fill_exactly(model, state, "a latent painter").eval().requires_grad_(False)
