"""The ways in which metrics resize pictures for a network. A figure compares only with figures of the same way.

How a picture is resized moves FID by whole points (Parmar et al. 2022, arXiv 2104.11222), so each published way is
kept apart, with the scaling to the network's range that goes with it:

* `pytorch_fid`: values in [0, 1], bilinear without antialiasing, then 2x - 1.
* `tf`: as TensorFlow 1 did: bilinear whose pixels have no half-pixel centres, then (x - 128) / 128; torch-fidelity's
  and, under the name `legacy_tensorflow`, clean-fid's.
* `clean`: each channel as floats by Pillow's antialiased bicubic, then (x - 128) / 128.
* `legacy_pytorch`: values in [0, 255], bilinear without antialiasing, then 2x/255 - 1.
* `square_bicubic`, `square_bilinear`: antialiased to a square, values in [0, 1]; for Lienzo's own nets.
* `cmmd`: bicubic without antialiasing to a square, values in [0, 1].
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput
from lienzo.core.tables import Names

RESIZES = Names(
    "resize protocol",
    {
        "pytorch-fid": "lienzo.metrics.nets.resizing:pytorch_fid",
        "tf": "lienzo.metrics.nets.resizing:tf",
        "clean": "lienzo.metrics.nets.resizing:clean",
        "legacy_tensorflow": "lienzo.metrics.nets.resizing:tf",
        "legacy_pytorch": "lienzo.metrics.nets.resizing:legacy_pytorch",
    },
)
"""Name -> `resize(pictures, size=299)` from uint8 (B, 3, H, W) to the input of FID's Inception."""

PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def pytorch_fid(pictures: Tensor, size: int = 299) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [-1, 1], as pytorch-fid."""
    return 2 * F.interpolate(pictures.float() / 255, (size, size), mode="bilinear", align_corners=False) - 1


def tf(pictures: Tensor, size: int = 299) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [-1, 1), as torch-fidelity."""
    return (tf1_bilinear(pictures.float(), (size, size)) - 128) / 128


def clean(pictures: Tensor, size: int = 299) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [-1, 1), as clean-fid."""
    resized = [pil_resize(picture, (size, size)) for picture in pictures.permute(0, 2, 3, 1).numpy()]
    return (torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) - 128) / 128


def legacy_pytorch(pictures: Tensor, size: int = 299) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [-1, 1], as clean-fid's mode of that name."""
    return 2 * torch_resize(pictures.float(), (size, size), "bilinear") / 255 - 1


def square_bicubic(pictures: Tensor, size: int) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [0, 1], antialiased; what is not square is squeezed."""
    x = F.interpolate(pictures.float() / 255, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return x.clamp(0, 1)


def square_bilinear(pictures: Tensor, size: int) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) in [0, 1], antialiased; what is not square is squeezed."""
    return F.interpolate(pictures.float() / 255, (size, size), mode="bilinear", antialias=True, align_corners=False)


def cmmd(pictures: Tensor, size: int) -> Tensor:
    """uint8 (B, 3, H, W) to (B, 3, size, size) around [0, 1], as cmmd-pytorch; bicubic may overshoot the range."""
    return F.interpolate(pictures.float() / 255, (size, size), mode="bicubic", align_corners=False)


def tf1_bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resizing of TensorFlow 1, `align_corners=False`: pixel i of the result lies at i * old / new.

    Args:
        x: (B, C, H, W), floating point.
        size: (height, width) of the result.
    """
    for axis, new in ((-2, size[0]), (-1, size[1])):
        old = x.shape[axis]
        place = torch.arange(new, device=x.device, dtype=torch.float64) * (old / new)
        low = place.floor().long()
        share = (place - low).to(x.dtype)
        share = share[:, None] if axis == -2 else share
        first = x.index_select(axis, low)
        x = first + (x.index_select(axis, (low + 1).clamp(max=old - 1)) - first) * share
    return x


def pil_resize(
    picture: np.ndarray, size: tuple[int, int], filter_name: str = "bicubic", *, quantize: bool = False
) -> np.ndarray:
    """Pillow's antialiased resizing, as clean-fid uses it.

    Args:
        picture: uint8 (H, W, 3).
        size: (height, width) of the result.
        filter_name: nearest, box, bilinear, bicubic or lanczos.
        quantize: resize the 8-bit picture at once, giving uint8, instead of each channel as floats, giving float32
            cut to [0, 255].
    """
    if filter_name not in PIL_FILTERS:
        raise BadInput(f"Pillow has no filter '{filter_name}'; choose one of {', '.join(PIL_FILTERS)}.")
    shape, method = (size[1], size[0]), PIL_FILTERS[filter_name]
    if quantize:
        return np.asarray(Image.fromarray(picture).resize(shape, method))
    channels = [Image.fromarray(picture[..., i].astype(np.float32)).resize(shape, method) for i in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], -1).clip(0, 255)


def torch_resize(x: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Torch's resizing without antialiasing, cut to [0, 255]: (B, C, H, W) to (B, C, *size)."""
    return F.interpolate(x, size, mode=mode, align_corners=False).clamp(0, 255)
