"""Stable Diffusion checkpoints as an engine: text into latents, latents into pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.autoencoders.tiled import decode_tiled, encode_tiled
from lienzo.clip.textual_inversion import Words, learn, read_embedding, tokens_of
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.diffusion import lora
from lienzo.diffusion.sd_checkpoints import StableDiffusion, open_checkpoint
from lienzo.diffusion.seamless import make_seamless
from lienzo.diffusion.sigmas import schedule
from lienzo.diffusion.spatial_transformer import KeptContext
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Latents, Model, Wish
from lienzo.tasks.starting import Sheet, asked_size, base_size, picture_size, sheet_for

LARGE = 128 * 128  # positions of the latent from which it is decoded in tiles, and prompts run one after the other
TILE = 96  # positions a side
NATIVE = 512  # pixels a side that Stable Diffusion 1 was trained on
TOKENS = 49408
_TIMES = re.compile(r"(.*):\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+))\s*", re.S)


class LatentEngine:
    """Paints with a `StableDiffusion`.

    Args:
        parts: the networks, merged with whatever changes them.
        options: how prompts are read and noise levels chosen.
        sheet: the sizes of the pictures.
        device: where to compute.

    Attributes:
        inpaints: whether the U-Net looks at a mask and at what it leaves of a picture; see `show`.
    """

    steps = 30
    sampler = "dpmpp_2m"
    previews = 5
    conditional = True
    guidance = 7.5
    walks = True
    models: tuple[str, ...] = ()

    def __init__(self, parts: StableDiffusion, options: Create, sheet: Sheet, device: torch.device):
        self.parts, self.options, self.sheet, self.device = parts, options, sheet, device
        for network in (parts.unet, parts.first_stage, parts.text_encoder):
            network.to(device).requires_grad_(False)
        self.model = self.unet = parts.unet
        self.first_stage = parts.first_stage
        self.network = parts.model()
        self.height, self.width = sheet.drawn
        self.size = max(sheet.drawn)
        channels, factor = self.first_stage.channels, self.first_stage.factor
        self.inpaints = self.unet.in_channels == 2 * channels + 1
        if self.unet.in_channels != channels and not self.inpaints:
            raise BadWeights(
                f"The U-Net of this checkpoint takes {self.unet.in_channels} channels; a text-to-picture one takes "
                f"{channels}, and one for inpainting {2 * channels + 1}."
            )
        shape = (channels, self.height // factor, self.width // factor)
        self.latents = Latents(shape, self.first_stage.decode, self.encode, self.finish)
        self.notes = _ignored(parts.ignored) + _unsaid(parts.words, options)
        self.beside: Tensor | None = None
        if self.inpaints:
            self.show(None, None)

    def sigmas(self, steps: int) -> Tensor:
        """The trained noise levels at any number of steps, 0 last."""
        return schedule(self.options.schedule, self.network, steps).float()

    def read_wish(self, options: Create) -> Wish:
        """Prompts as people write them for Stable Diffusion: weights in brackets; bars part several prompts."""
        parts = [part.strip() for part in _split(options.prompt)]
        if not all(parts):
            raise BadInput("The prompt has an empty part; write text before and after each '|'.")
        subjects = [_weighted(part) if len(parts) > 1 else (part, 1.0) for part in parts]
        style = f", {options.style}" if options.style else ""
        said = tuple((text + (style if weight > 0 else ""), weight) for text, weight in subjects)
        return Wish(said, negative=options.negative, brackets=self.options.weighting != "none")

    def denoiser(self, wish: Wish, count: int, guidance: float) -> Model:
        contexts, weights = self.contexts(wish)
        model = self.network if self.beside is None else _beside(self.network, self.beside)
        return composed(model, contexts, weights, guidance)

    @torch.no_grad()
    def contexts(self, wish: Wish) -> tuple[Tensor, Tensor]:
        """What is not wanted, then each prompt (1 + K, L, W), and the prompts' weights (K,), summing to 1."""
        if wish.toward is None:
            texts, weights = _normalised(wish)
            return self._read([wish.negative, *texts]), weights
        other, share = wish.toward
        (texts, weights), (others, more) = _normalised(wish), _normalised(other)
        found = self._read([wish.negative, *texts, other.negative, *others])
        first, second = found.split([1 + len(texts), 1 + len(others)])
        if len(first) == len(second):
            return torch.lerp(first, second, share), torch.lerp(weights, more, share)
        nothing = torch.lerp(first[:1], second[:1], share)
        return torch.cat([nothing, first[1:], second[1:]]), torch.cat([weights * (1 - share), more * share])

    def _read(self, texts: Sequence[str]) -> Tensor:
        return self.parts.context(texts, clip_skip=self.options.clip_skip, weighting=self.options.weighting)

    def show(self, picture: Tensor | None, mask: Tensor | None) -> None:
        """Tell a U-Net for inpainting what it may see.

        Args:
            picture: (1, 3, H, W) in [-1, 1]; None for none.
            mask: (1, 1, H, W), 1 where to paint; None paints all of it.
        """
        size = (1, 1, self.height, self.width)
        hole = torch.ones(size, device=self.device) if mask is None or picture is None else (mask > 0.5).float()
        left = torch.zeros(1, 3, *size[2:], device=self.device) if picture is None else picture * (1 - hole)
        small = F.adaptive_max_pool2d(hole, self.latents.shape[1:])
        self.beside = torch.cat([small, self.encode(left)], dim=1)  # (1, 1 + C, h, w)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] to latents."""
        if self._large and self.options.tiling == "none":
            return encode_tiled(self.first_stage, pictures, tile=TILE)
        return self.first_stage.encode(pictures)

    @torch.no_grad()
    def finish(self, latents: Tensor, wish: Wish) -> Tensor:
        """Latents to pictures in [-1, 1], one at a time; large ones in tiles, with the same result."""
        tiled = self._large and self.options.tiling == "none"
        made = [
            decode_tiled(self.first_stage, one, tile=TILE) if tiled else self.first_stage.decode(one)
            for one in latents.split(1)
        ]
        return torch.cat(made).clamp(-1, 1)

    @property
    def _large(self) -> bool:
        _, height, width = self.latents.shape
        return height * width > LARGE


def composed(model: Model, contexts: Tensor, weights: Tensor, scale: float) -> Model:
    """Classifier-free guidance by several prompts (Liu et al. 2022, "Compositional Visual Generation").

    The estimate is none + scale * sum of weight_k * (prompt_k - none); with one prompt it is the usual guidance.

    Args:
        model: `denoised = model(x, sigma, context=...)`; a batch of any size, the context a `KeptContext`.
        contexts: (1 + K, L, W), first that of what is not wanted.
        weights: (K,).
        scale: 1 is plainly conditional.
    """
    if scale == 1 and len(weights) == 1:
        contexts, plain = contexts[1:], True
    else:
        plain = False

    @cache
    def told(batch: int, apart: bool) -> list[KeptContext]:  # each text is read once for all steps
        each = contexts.repeat_interleave(batch, 0)  # (many * B, L, W)
        return [KeptContext(part) for part in (each.split(batch) if apart else [each])]

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        batch, apart = len(x), x[0, 0].numel() > LARGE  # one text after the other, for the memory of one
        many = 1 if apart else len(contexts)
        copies, sigma = x.repeat(many, 1, 1, 1), sigma.expand(batch).repeat(many)
        answers = [y for context in told(batch, apart) for y in model(copies, sigma, context=context).chunk(many)]
        if plain:
            return answers[0]
        moved = [weight * (part - answers[0]) for weight, part in zip(weights.tolist(), answers[1:], strict=True)]
        return answers[0] + scale * torch.stack(moved).sum(0)

    return guided


def _beside(model: Model, beside: Tensor) -> Model:
    """The model of a U-Net for inpainting, which sees `beside` (1, C, h, w) with each latent."""

    def seen(x: Tensor, sigma: Tensor, **cond: Tensor) -> Tensor:
        return model(x, sigma, **cond, concat=beside.expand(len(x), -1, -1, -1))

    return seen


def open_latent(path: Path, options: Create, device: torch.device) -> LatentEngine:
    """A checkpoint as `create` asks for it.

    Args:
        path: one file, or a folder of diffusers.
        options: how it is to be opened, changed and used.
        device: where to compute.

    Raises:
        BadWeights: the checkpoint, the autoencoder, a LoRA or an embedding does not fit.
        BadInput: the size does not fit, a file does not exist, two embeddings are written alike, or the device lacks
            the precision.
    """
    parts = open_checkpoint(path, prediction=options.prediction, vae=options.vae)
    words = parts.text_encoder.token_embedding.weight.shape[0]
    if words != TOKENS:
        raise BadWeights(f"The text encoder of this checkpoint knows {words} tokens; CLIP's has {TOKENS}.")
    for text in options.lora:
        file, strength = parse_lora(text)
        lora.merge(lora.read_lora(file), parts.unet, parts.text_encoder, strength=strength)
    learned = [read_embedding(*parse_embedding(text)) for text in options.embedding]
    parts = replace(parts, words=learn(parts.text_encoder, learned))
    sheet = _sheet(parts, options)
    if options.tiling != "none":
        for network in (parts.unet, parts.first_stage):
            make_seamless(network, options.tiling)
    if options.precision == "bfloat16" or (options.precision == "auto" and _gpu_has_bfloat16(device)):
        parts.unet.cast_torso(torch.bfloat16)
    if device.type == "cpu":
        parts.unet.pack_torso()
    return LatentEngine(parts, options, sheet, device)


def _sheet(parts: StableDiffusion, options: Create) -> Sheet:
    multiple = parts.first_stage.factor * parts.unet.multiple
    native = NATIVE if parts.latent_size is None else parts.latent_size * parts.first_stage.factor
    side = options.size if "size" in options.model_fields_set else native
    base = base_size(options, (picture_size(options) if options.extend and _unsized(options) else None) or (side, side))
    sheet = sheet_for(asked_size(options, base), multiple, options.draw_size)
    if options.tiling != "none" and sheet.asked != sheet.drawn:
        nearest = " or ".join(
            f"{max(1, round(side / multiple)) * multiple}" for side in dict.fromkeys(sheet.asked[::-1])
        )
        raise BadInput(
            f"A texture that repeats is drawn whole, at sides that are multiples of {multiple} pixels; "
            f"{sheet.asked[1]}x{sheet.asked[0]} is not, the nearest would be {nearest}."
        )
    return sheet


def _ignored(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(printable(name, 60) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"The checkpoint holds tensors of none of its parts, which are left aside: {shown}{more}."]


def _unsaid(words: Words, options: Create) -> list[str]:
    said = set(tokens_of(f"{options.prompt} {options.style or ''} {options.negative}", words))
    first = {ids: word for word, ids in reversed([*words.items()])}  # its first spelling
    shown = [printable(word, 60) for ids, word in reversed([*first.items()]) if ids not in said]
    return [f"The embedding '{word}' changes a picture only where its prompt says '{word}'." for word in shown]


def _unsized(options: Create) -> bool:
    return not options.width and not options.height and "size" not in options.model_fields_set


def _gpu_has_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def parse_lora(text: str) -> tuple[Path, float]:
    """``FILE`` or ``FILE:STRENGTH`` as file and strength (1 by default).

    Raises:
        BadInput: there is no such file.
    """
    found = _TIMES.fullmatch(text)
    named = (text, 1.0) if found is None or Path(text).is_file() else (found[1], float(found[2]))
    return _existing(named[0], "LoRA"), named[1]


def parse_embedding(text: str) -> tuple[Path, str]:
    """``FILE`` or ``FILE:WORD`` as file and word, '' where none is given.

    Raises:
        BadInput: there is no such file.
    """
    file, _, word = text.rpartition(":")
    named = (file, word) if file and not Path(text).expanduser().is_file() else (text, "")
    return _existing(named[0], "embedding"), named[1]


def _existing(name: str, kind: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise BadInput(f"The {kind} file '{printable(str(path), 200)}' does not exist.")
    return path


def _split(prompt: str) -> list[str]:
    """The prompt at the bars that stand outside of brackets; a backslash makes a bar plain."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(prompt):
        escaped = place > 0 and prompt[place - 1] == "\\"
        if char in "()[]" and not escaped:
            depth = max(0, depth + (1 if char in "([" else -1))
        if char == "|" and not depth and not escaped:
            parts.append(prompt[start:place])
            start = place + 1
    return [part.replace("\\|", "|") for part in (*parts, prompt[start:])]


def _weighted(part: str) -> tuple[str, float]:
    found = _TIMES.fullmatch(part)
    return (part, 1.0) if found is None else (found[1].strip(), float(found[2]))


def _normalised(wish: Wish) -> tuple[list[str], Tensor]:
    """The prompts and their weights; those of the wanted ones sum to 1."""
    weights = torch.tensor([weight for _, weight in wish.subjects])
    total = weights[weights > 0].sum()
    if not total > 0:
        raise BadInput("Every prompt has a negative weight; say also what the picture should show.")
    return [text for text, _ in wish.subjects], weights / total
