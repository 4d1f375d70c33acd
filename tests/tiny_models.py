"""A whole set of models of a few kilobytes each, with random weights, for tests of what is done with models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lienzo.clip.compact import CompactClip
from lienzo.clip.model import CLIP
from lienzo.clip.sentence import SentenceEncoder
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.linear_code import LinearCode, fit_linear_code
from lienzo.diffusion.picture_memory import PictureMemory, memorise
from lienzo.diffusion.refiner import Refiner
from lienzo.upscaling.swinir import SwinIR
from lienzo.weights.models import Card, save_model

SIZE, LENGTH, WORDS = 16, 24, 32  # pixels a side, numbers in a code, numbers in a sentence vector
STYLES = ("flat", "line icon", "soft shaded")
ADM: dict[str, Any] = {
    "image_size": 32, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_head_channels": 32,
}  # fmt: skip
SWINIR: dict[str, Any] = {
    "img_size": 8, "window_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2], "mlp_ratio": 1.0,
    "upscale": 4, "upsampler": "pixelshuffledirect",
}  # fmt: skip
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 16, "image_resolution": 16, "vision_layers": 1, "vision_width": 16, "vision_patch_size": 8,
    "transformer_width": 16, "transformer_heads": 2, "transformer_layers": 1, "vision_heads": 2,
}  # fmt: skip


def shaken(model: nn.Module, spread: float = 0.1) -> nn.Module:
    """The model with noise on every parameter, so that layers which begin at zero do something."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn(parameter.shape))
    return model.eval()


def tiny_code() -> LinearCode:
    pictures = np.random.default_rng(0).integers(0, 256, (96, SIZE, SIZE, 3), np.uint8)
    return fit_linear_code(pictures, LENGTH)


def tiny_memory() -> PictureMemory:
    """Six things, the first two of them in every style."""
    generator = torch.Generator().manual_seed(2)
    name = torch.tensor([0, 0, 0, 1, 1, 1, 2, 3, 4, 5])
    style = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    codes, keys = torch.randn(10, LENGTH, generator=generator), torch.randn(6, WORDS, generator=generator)
    return memorise(codes, style, name, ["fox", "cat", "car", "red heart", "house", "tree"], keys)


def tiny_painter(*, remembers: bool = True) -> CodePainter:
    memory = tiny_memory() if remembers else None
    more: dict[str, Any] = {} if memory is None else {"memory": memory.config, "colours": ["red", "blue", "purple"]}
    sizes: dict[str, Any] = {"width": 32, "hidden": 32, "blocks": 2, "rank": 4, "condition": 32}
    model = CodePainter(length=LENGTH, text_dim=WORDS, styles=STYLES, **sizes, **more)
    shaken(model)
    if model.memory is not None and memory is not None:
        model.memory.load_state_dict(memory.state_dict())
    return model


def tiny_clip(tower: str = "basic") -> CompactClip:
    return CompactClip(tower=tower, widths=(16, 32), depth=1, size=SIZE, embed_dim=16, text_dim=WORDS, styles=STYLES)


def tiny_models() -> dict[str, tuple[str, nn.Module]]:
    """Name of a bundled file to its kind of network and the network."""
    torch.manual_seed(0)
    sentence = SentenceEncoder(buckets=256, width=16, layers=1, heads=2, embed_dim=WORDS)
    return {
        "sentence": ("sentence", sentence),
        "guide": ("compact-clip", tiny_clip("bottleneck")),
        "judge": ("compact-clip", tiny_clip()),
        "code": ("linear-code", tiny_code()),
        "painter": ("code-painter", tiny_painter()),
        "refiner": ("refiner", shaken(Refiner(widths=(8, 16)), 0.02)),
        "upscaler": ("swinir", SwinIR(**SWINIR)),
        "adm-64": ("adm", shaken(Adm(**ADM), 0.03)),
    }


def save_tiny_models(home: Path) -> Path:
    """Write the set into `home`/models, where it hides the models that come with Lienzo."""
    folder = home / "models"
    folder.mkdir(parents=True)
    for name, (network, model) in tiny_models().items():
        card = Card(title=f"tiny {name}", licence="CC0-1.0")
        config: dict[str, Any] = model.config  # type: ignore[assignment]
        save_model(folder / f"{name}.safetensors", network, config, model.state_dict(), card)
    return home


def openai_clip() -> CLIP:
    torch.manual_seed(5)
    return CLIP(**CLIP_CONFIG)
