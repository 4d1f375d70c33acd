"""CLIPs as feature nets: the two that come with Lienzo, and any CLIP of the user's.

Of Lienzo's own CLIPs (`guide`, `judge`) the features before the last projection serve FID and its kin: the projection
keeps what captions name and drops how a picture is made. (On drawings of 64 px, blurring by 3 px multiplied the FID of
two halves of one set by 12 with the judge's features, by 2.4 with its embeddings; noise of 30/255 by 3.9 and 1.06.)
The embeddings, of unit length, serve CMMD and the CLIP scores; the nets that give them can also `encode_text`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip.compact import CompactClip
from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import normalise, preprocess
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput
from lienzo.core.text import printable
from lienzo.metrics.nets.feature_net import FeatureNet
from lienzo.metrics.nets.resizing import cmmd, square_bilinear
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256


class Opened(NamedTuple):
    """A network, the file it came from, and its name for a protocol."""

    model: nn.Module
    path: Path
    name: str


def open_guide(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """The CLIP that guides: features before its projection."""
    return _compact(_opened(source or "guide", device), device)


def open_judge(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """The CLIP that judges, which no picture was optimised for: features before its projection."""
    return _compact(_opened(source or "judge", device), device)


def open_guide_embedding(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """The CLIP that guides: unit embeddings, and those of sentences."""
    return _compact_embedding(_opened(source or "guide", device), device)


def open_judge_embedding(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """The CLIP that judges: unit embeddings, and those of sentences."""
    return _compact_embedding(_opened(source or "judge", device), device)


def open_clip(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """Any CLIP: unit embeddings of pictures resized as CLIP does (short side, then the middle), and of sentences.

    Args:
        source: the file of a CLIP in OpenAI's or Hugging Face's layout, or of a compact CLIP; a name or a path.
        device: where it runs.

    Raises:
        BadInput: no source is given, or it holds no CLIP.
    """
    return _clip(source, device, "clip")


def open_cmmd(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """As `open_clip`, but with the resizing of cmmd-pytorch: bicubic without antialiasing, the whole picture."""
    return _clip(source, device, "cmmd")


def _clip(source: str | Path | None, device: str | torch.device, resize: str) -> FeatureNet:
    if source is None:
        raise BadInput("This metric needs the file of a CLIP; give its path, or choose 'judge-embedding'.")
    opened = _opened(source, device)
    model = opened.model
    if isinstance(model, CompactClip):
        return _compact_embedding(opened, device)
    if not isinstance(model, CLIP):
        raise BadInput(f"'{printable(opened.path.name)}' is no CLIP.")
    size, length, place = model.config["image_resolution"], model.config["context_length"], torch.device(device)

    def prepare(pictures: Tensor) -> Tensor:
        return preprocess(pictures.float() / 255, size) if resize == "clip" else normalise(cmmd(pictures, size))

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return F.normalize(model.encode_image(x).float(), dim=-1), None

    @torch.no_grad()
    def encode_text(texts: list[str]) -> Tensor:
        tokens = tokenize(texts, length, truncate=True).to(place)
        return F.normalize(model.encode_text(tokens).float(), dim=-1).cpu()

    dim, sha = model.config["embed_dim"], sha256(opened.path)[:8]
    return FeatureNet(f"clip-{opened.name}", sha, resize, dim, False, prepare, embed, place, encode_text)


def compact_clip(source: str | Path, device: str | torch.device = "cpu") -> CompactClip:
    """A compact CLIP by name or path.

    Raises:
        BadInput: the file holds another network.
    """
    return _as_compact(_opened(source, device))


def stage_maps(model: CompactClip, images: Tensor) -> list[Tensor]:
    """The feature map at the end of each stage, (B, widths[i], h, w), each half as large as the one before.

    Args:
        model: its convolutions take pictures of any size, though it was trained on `model.size` pixels.
        images: (B, 3, H, W) in [0, 1], at least 2^stages pixels a side.
    """
    if min(images.shape[-2:]) < 2 ** len(model.ends):
        raise BadInput(f"This CLIP sees features only in pictures of at least {2 ** len(model.ends)} pixels a side.")
    return model.stage_maps(images)


def _opened(source: str | Path, device: str | torch.device) -> Opened:
    path = resolve(source)
    return Opened(load_model(path, device), path, path.stem)


def _as_compact(opened: Opened) -> CompactClip:
    if not isinstance(opened.model, CompactClip):
        raise BadInput(f"'{printable(opened.path.name)}' is no CLIP of Lienzo's compact kind; choose guide or judge.")
    return opened.model


def _compact(opened: Opened, device: str | torch.device) -> FeatureNet:
    model = _as_compact(opened)

    def prepare(pictures: Tensor) -> Tensor:
        return square_bilinear(pictures, model.size)

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return model.features(x), None

    dim, sha, place = model.feature_dim, sha256(opened.path)[:8], torch.device(device)
    return FeatureNet(opened.name, sha, "square-bilinear", dim, False, prepare, embed, place)


def _compact_embedding(opened: Opened, device: str | torch.device) -> FeatureNet:
    model = _as_compact(opened)
    place = torch.device(device)

    def prepare(pictures: Tensor) -> Tensor:
        return square_bilinear(pictures, model.size)

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return model.encode_image(x), None

    @cache  # opened when the first sentence comes
    def reader() -> nn.Module:
        return load_model(resolve("sentence"), place)

    @torch.no_grad()
    def encode_text(texts: list[str]) -> Tensor:
        return model.encode_text(reader()(texts)).cpu()

    dim, sha = model.config["embed_dim"], sha256(opened.path)[:8]
    tag = f"{opened.name}-embedding"
    return FeatureNet(tag, sha, "square-bilinear", dim, False, prepare, embed, place, encode_text)
