"""Training the first stages of latent diffusion: VQGAN, its Gumbel variant, and the KL autoencoder.

Esser et al. 2021 (arXiv 2012.09841) and Rombach et al. 2022 (arXiv 2112.10752): pixels, features and a patch
discriminator, which joins after a while and is weighed against the others by the gradients on the decoder's last layer.
All losses are means over pixel values, so that the weights do not hang on the size of the pictures.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn

from lienzo.autoencoders.adversarial import adaptive_weight, generator_loss, hinge_loss
from lienzo.autoencoders.codebook_care import CodebookCare
from lienzo.autoencoders.gumbel import GumbelVQ
from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.patch_discriminator import PatchDiscriminator
from lienzo.autoencoders.perceptual import Perceptual, map_distance
from lienzo.autoencoders.small_pictures import grid, spread_rows
from lienzo.autoencoders.stage_contest import Contest, Round, Stage
from lienzo.autoencoders.vqgan import VQModel
from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet, Pictures
from lienzo.imaging.psnr import psnr
from lienzo.training.recipe import Batch, Gather, Recipe

EVALUATED, MEASURED = 256, 64  # most withheld pictures for the figures; training pictures for the scale of latents
AT_ONCE = 16  # pictures rebuilt at a time for figures
SHEET = 8  # columns of the sample sheet

Kind = Literal["vqgan", "gumbel", "kl"]
NETWORKS: dict[str, tuple[str, type[VQModel] | type[GumbelVQ] | type[AutoencoderKL]]] = {
    "vqgan": ("vqgan", VQModel),
    "gumbel": ("gumbel-vqgan", GumbelVQ),
    "kl": ("kl-autoencoder", AutoencoderKL),
}
"""Kind -> the name under which it is saved, and its class."""


@dataclass(frozen=True)
class StageLosses:
    """What an autoencoder minimises.

    Attributes:
        l1, mse: weights of the absolute and squared difference of pixels in [-1, 1].
        perceptual: weight of the distance of features.
        adversary: weight of the discriminator's opinion beside the adaptive one; 0 trains without.
        adversary_start: items after which the discriminator joins.
        codebook: weight of the quantiser's loss.
        kl: weight of the divergence of a KL autoencoder, in nats a pixel value.
        logvar: a KL autoencoder learns one variance of its pixels, which weighs the reconstruction.
        averaged: the codes of a VQGAN are moving averages instead of learning by gradients.
        dead: codes used less than this share of the average are put elsewhere; 0 keeps them.
        temperature: of a Gumbel quantiser at first and at last.
        anneal: items over which it falls along a cosine.
    """

    l1: float = 1.0
    mse: float = 0.0
    perceptual: float = 1.0
    adversary: float = 0.75
    adversary_start: int = 0
    codebook: float = 1.0
    kl: float = 1e-6
    logvar: bool = False
    averaged: bool = False
    dead: float = 0.03
    temperature: tuple[float, float] = (1.0, 1 / 16)
    anneal: int = 100_000


@dataclass(frozen=True)
class StageTraining:
    """How an autoencoder is trained, besides its network.

    Attributes:
        kind: vqgan, gumbel or kl.
        losses: what is minimised.
        discriminator: arguments of `PatchDiscriminator`.
        batch_size: pictures of one forward pass.
        crop: side of the pieces of the pictures that are trained on, at random places; None for whole pictures.
        flip: mirror every other picture.
        tint: share of pictures printed on paper of a random colour, for drawings on white.
        seed: of the order of the pictures.
    """

    kind: Kind = "vqgan"
    losses: StageLosses = StageLosses()
    discriminator: Mapping[str, Any] = field(default_factory=lambda: {"ndf": 64, "n_layers": 3, "use_actnorm": True})
    batch_size: int = 16
    crop: int | None = None
    flip: bool = False
    tint: float = 0.0
    seed: int = 0


class StageRecipe(Recipe):
    """A first stage of latent diffusion.

    Args:
        data: training pictures.
        held: withheld pictures for `evaluate`; may be empty.
        config: arguments of the network of the kind; see `stage_config`.
        training: everything else.
        perceptual: whose features are compared; None for pixels alone.

    Raises:
        BadInput: there is no such kind, or pictures or pieces do not fit the factor.
    """

    name = "autoencoder"
    network = "vqgan"

    def __init__(
        self,
        data: DataSet,
        held: DataSet,
        config: Mapping[str, Any],
        training: StageTraining = StageTraining(),
        perceptual: Perceptual | None = None,
    ):
        if training.kind not in NETWORKS:
            raise BadInput(f"There is no autoencoder '{training.kind}'; choose {', '.join(NETWORKS)}.")
        self.data, self.held, self.config, self.training = data, held, dict(config), training
        self.losses, self.batch_size, self.perceptual = training.losses, training.batch_size, perceptual
        self.network, self.made_of = NETWORKS[training.kind]  # type: ignore[misc]
        with torch.device("meta"):
            self.factor = self._stage().factor
        seen = training.crop or data.size
        if seen % self.factor or seen > data.size:
            raise BadInput(
                f"An autoencoder of factor {self.factor} trains on pictures or pieces whose side is a multiple of "
                f"{self.factor}, at most the {data.size} pixels of the data; {seen} is not."
            )
        self.care: CodebookCare | None = None
        if training.kind == "vqgan":
            self.care = CodebookCare(config["n_embed"], dead=self.losses.dead, averaged=self.losses.averaged)

    def _stage(self) -> Stage:
        return self.made_of(**self.config)

    def build(self) -> nn.Module:
        judge = PatchDiscriminator(**self.training.discriminator) if self.losses.adversary else None
        learn_logvar = self.losses.logvar and self.training.kind == "kl"
        return Contest(self._stage(), judge, averaged=self.losses.averaged, learn_logvar=learn_logvar)

    def facts(self) -> dict[str, Any]:
        looks = None if self.perceptual is None else self.perceptual.name
        return {
            **super().facts(), "config": self.config, "training": asdict(self.training), "features": looks,
            "data": self.data.fingerprint, "items": len(self.data),
        }  # fmt: skip

    def batch(self, start: int, generator: Generator) -> Batch:
        training = self.training
        x = signed(self.data.images, rows_at(len(self.data), start, self.batch_size, training.seed))
        if training.crop:
            x = cropped(x, training.crop, generator)
        if training.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        if training.tint:
            x = tinted(x, training.tint, generator)
        batch = {"images": x, "temperature": torch.full((1,), self.temperature(start))}
        if self.losses.adversary and start >= self.losses.adversary_start:
            batch["judging"] = torch.ones(1)  # that it is there says so: no device is asked for a number
        return batch

    def temperature(self, start: int) -> float:
        """Of a Gumbel quantiser after so many items."""
        first, last = self.losses.temperature
        share = min(1.0, start / self.losses.anneal) if self.losses.anneal else 1.0
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, judging = batch["images"], "judging" in batch
        told = float(batch["temperature"]) if self.training.kind == "gumbel" else None
        out: Round = model(images, judging, told)
        if self.care is not None and out.between.codes is not None:
            self.care.note(out.between.features, out.between.codes)
        losses = self._reconstruction(images, out)
        reconstruction = torch.stack(list(losses.values())).sum()
        weight = self.losses.kl if self.training.kind == "kl" else self.losses.codebook
        losses["kl" if self.training.kind == "kl" else "codebook"] = weight * out.between.loss
        if self.losses.adversary:
            losses |= self._contest(plain(model), reconstruction, out)
        return losses

    def _reconstruction(self, images: Tensor, out: Round) -> dict[str, Tensor]:
        """Differences of pixels and features, weighed by the learned variance."""
        made, weights = out.made.float(), self.losses
        found = {"l1": weights.l1 * (made - images).abs().mean()} if weights.l1 else {}
        if weights.mse:
            found["mse"] = weights.mse * (made - images).square().mean()
        if self.perceptual is not None and weights.perceptual:
            with torch.no_grad():
                wanted = self.perceptual.features(images)
            found["perceptual"] = weights.perceptual * map_distance(self.perceptual.features(made), wanted)
        if not weights.logvar:
            return found
        found = {name: loss * (-out.logvar).exp() for name, loss in found.items()}
        return found | {"logvar": out.logvar}

    def _contest(self, contest: nn.Module, reconstruction: Tensor, out: Round) -> dict[str, Tensor]:
        """What each of the two says of the other."""
        assert isinstance(contest, Contest)
        if out.logits is None:
            return {"adversary": out.idle.detach(), "discriminator": out.idle}
        seen, real, fake = (logits.float() for logits in out.logits)
        opinion = generator_loss(seen)
        weight = adaptive_weight(reconstruction, opinion, contest.last_layer, self.losses.adversary)
        return {"adversary": weight * opinion, "discriminator": hinge_loss(real, fake)}

    def learn(self, gather: Gather) -> None:
        if self.care is not None:
            self.care.join(gather)

    def project(self, model: nn.Module) -> None:
        stage = model.stage if isinstance(model, Contest) else None
        if self.care is not None and isinstance(stage, VQModel):
            self.care.apply(stage.quantize.embedding.weight.data)

    def state(self) -> dict[str, Tensor]:
        return {} if self.care is None else self.care.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if self.care is not None:
            self.care.restore(state)

    @torch.no_grad()
    def export(self, model: nn.Module) -> nn.Module:
        """The autoencoder alone, its latents scaled to a standard deviation of 1 on training pictures."""
        stage = copy.deepcopy(stage_of(model)).cpu()
        stage.rescale(1.0)
        parts = np.array_split(spread_rows(len(self.data), MEASURED), max(1, MEASURED // AT_ONCE))
        found = torch.cat([stage.encode(signed(self.data.images, part)).flatten() for part in parts if len(part)])
        spread = float(found.std())
        stage.rescale(1 / spread if math.isfinite(spread) and spread > 1e-6 else 1.0)
        return stage

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """On withheld pictures: PSNR, differences of pixels and features, and how evenly the codes are used."""
        stage, device = stage_of(model), next(model.parameters()).device
        rows = spread_rows(len(self.held), EVALUATED)
        if not len(rows):
            return {}
        sums, used = {"psnr": 0.0, "l1": 0.0, "perceptual": 0.0}, torch.zeros(self.config.get("n_embed", 0))
        for part in np.array_split(rows, -(-len(rows) // AT_ONCE)):
            x = signed(self.held.images, part).to(device)
            latents = stage.encode(x)
            made = stage.decode(latents).float().clamp(-1, 1)
            sums["psnr"] += float(psnr(made, x, data_range=2.0).clamp(max=100).sum())
            sums["l1"] += float((made - x).abs().mean()) * len(part)
            if self.perceptual is not None:
                between = map_distance(self.perceptual.features(made), self.perceptual.features(x))
                sums["perceptual"] += float(between) * len(part)
            if not isinstance(stage, AutoencoderKL):
                used += torch.bincount(stage.codes(x).flatten().cpu(), minlength=len(used))
        told = f"[withheld,n={len(rows)}]"
        figures = {f"psnr[rgb,withheld,n={len(rows)}]": sums["psnr"] / len(rows), f"l1{told}": sums["l1"] / len(rows)}
        if self.perceptual is not None:
            figures[f"perceptual[{self.perceptual.name},withheld,n={len(rows)}]"] = sums["perceptual"] / len(rows)
        if len(used):
            share = used / used.sum()
            figures[f"codes used{told}"] = float((used > 0).float().mean())
            figures[f"perplexity{told}"] = float((-(share * share.clamp_min(1e-20).log()).sum()).exp())
        return figures

    @torch.no_grad()
    def samples(self, model: nn.Module) -> np.ndarray:
        """Two rows of pictures, each above what is left of it after encoding and decoding."""
        stage, device = stage_of(model), next(model.parameters()).device
        shown = self.held if len(self.held) else self.data
        x = signed(shown.images, spread_rows(len(shown), 2 * SHEET)[np.arange(2 * SHEET) % min(len(shown), 2 * SHEET)])
        made = stage.decode(stage.encode(x.to(device))).float().cpu()
        rows = [strip[half * SHEET : (half + 1) * SHEET] for half in range(2) for strip in (x, made)]
        return grid((torch.cat(rows) + 1) / 2, SHEET)


def stage_config(
    kind: str, factor: int, channels: int, *, codes: int = 1024, width: int = 64, blocks: int = 1,
    multiples: tuple[int, ...] | None = None, attention: bool = False, resolution: int = 256,
) -> dict[str, Any]:  # fmt: skip
    """Arguments of the network of a kind.

    Args:
        kind: vqgan, gumbel or kl.
        factor: pixels a side for each position of the latents: a power of two from 2 up.
        channels: of the latents: the width of a code, or of the distribution.
        codes: of the codebook.
        width: channels at full size, a multiple of 32.
        blocks: residual blocks a level.
        multiples: of the width, a number a level, log2(factor) + 1 in all; None for 1, 1, 2, 2, 4, 4, ...
        attention: attention at the smallest size.
        resolution: side of the training pictures.

    Raises:
        BadInput: the factor is no power of two, or the multiples are another number than the levels.
    """
    levels = factor.bit_length()
    if factor < 2 or factor & (factor - 1):
        raise BadInput(f"The factor of an autoencoder is a power of two such as 4 or 8, not {factor}.")
    given = multiples or tuple(min(4, 2 ** (level // 2)) for level in range(levels))
    if len(given) != levels:
        raise BadInput(f"Factor {factor} has {levels} levels, so it takes {levels} multiples, not {len(given)}.")
    if width % 32:
        raise BadInput(f"The width of an autoencoder is a multiple of 32, not {width}.")
    ddconfig = {
        "ch": width, "out_ch": 3, "num_res_blocks": blocks, "in_channels": 3, "resolution": resolution,
        "z_channels": width * given[-1] if kind == "vqgan" else channels, "ch_mult": list(given),
        "attn_resolutions": [resolution // factor] if attention else [],
        "attn_type": "vanilla" if attention else "none", "double_z": kind == "kl",
    }  # fmt: skip
    config: dict[str, Any] = {"ddconfig": ddconfig, "embed_dim": channels}
    if kind == "kl":
        return config
    return config | {"n_embed": codes} | ({"legacy": False} if kind == "vqgan" else {"kl_weight": 5e-4})


def stage_of(model: nn.Module) -> Stage:
    """The autoencoder of a `Contest`, or itself."""
    return model.stage if isinstance(model, Contest) else model  # type: ignore[return-value]


def plain(model: nn.Module) -> nn.Module:
    """A network without the wrappers of several processes."""
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model


def signed(images: Pictures, rows: np.ndarray) -> Tensor:
    """Pictures of some rows in [-1, 1]: (B, 3, S, S) float32."""
    return torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1


def cropped(x: Tensor, size: int, generator: Generator) -> Tensor:
    """A piece (size, size) at a random place of each picture (B, 3, S, S)."""
    places = torch.randint(x.shape[-1] - size + 1, (len(x), 2), generator=generator).tolist()
    return torch.stack(
        [each[:, top : top + size, left : left + size] for each, (top, left) in zip(x, places, strict=True)]
    )


def tinted(x: Tensor, share: float, generator: Generator) -> Tensor:
    """A share of the pictures (B, 3, H, W) in [-1, 1], printed on paper of a random colour."""
    paper = torch.rand(len(x), 3, 1, 1, generator=generator)
    paper = torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < share, paper, torch.ones(()))
    return (x + 1) * paper - 1
