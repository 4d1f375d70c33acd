"""SSIM, MS-SSIM and PSNR against pytorch-msssim, scikit-image and the plain formula."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor

from lienzo.metrics.psnr import pooled_psnr, psnr
from lienzo.metrics.ssim import ms_ssim, ssim, ssim_nonnegative, ssim_uniform7


def measured(key: str, x: Tensor, y: Tensor) -> Tensor | None:
    """What the key of an expected figure names, for uint8 pictures: (B,) or (); None for what is no figure."""
    a, b = x.float() / 255, y.float() / 255
    a64, b64 = x.double() / 255, y.double() / 255
    if match := re.fullmatch(r"pytorch_msssim\.(ms_)?ssim(_255|_nonneg)?(?:_w(\d+))?(?:_sigma([\d.]+))?", key):
        scale = 255 if match[2] == "_255" else 1
        options = {"window": int(match[3] or 11), "sigma": float(match[4] or 1.5), "data_range": scale}
        if match[1]:
            return ms_ssim(scale * a, scale * b, **options)
        return ssim(scale * a, scale * b, **options, nonnegative=match[2] == "_nonneg")
    table = {
        "skimage.ssim_default": lambda: ssim_uniform7(a64, b64),
        "skimage.ssim_gaussian": lambda: ssim(a64, b64),
        "skimage.psnr": lambda: psnr(x, y, data_range=255),
        "psnr_formula": lambda: psnr(a64, b64),
        "psnr_batch_mean_of_per_image": lambda: psnr(a64, b64).mean(),
        "psnr_pooled_mse": lambda: pooled_psnr(a64, b64),
    }
    return table[key]() if key in table else None


@pytest.mark.golden("ssim_psnr*.safetensors")
def test_figures(golden_path: Path) -> None:
    golden = Golden(golden_path)
    x, y = golden.tensors["a_u8"], golden.tensors["b_u8"]
    checked = 0
    for key, wanted in golden.config["expected"].items():
        name, _, place = key.removesuffix("]").partition("[")
        found = measured(name, x, y)
        assert found is not None, key
        found = found[int(place)] if place else found
        assert found.flatten().tolist() == pytest.approx(wanted if isinstance(wanted, list) else [wanted], rel=1e-5)
        checked += 1
    assert checked
    a, b = x.float() / 255, y.float() / 255
    assert_same(ssim_nonnegative(a, b), ssim(a, b, nonnegative=True))


@pytest.mark.golden("ssim_psnr*.safetensors")
def test_gradient(golden_path: Path) -> None:
    golden = Golden(golden_path)
    wanted = golden.tensors["ssim_grad_a_crop"]
    a, b = (golden.tensors[key].float() / 255 for key in ("a_u8", "b_u8"))
    (found,) = torch.autograd.grad(ssim(a.requires_grad_(), b).mean(), a)
    assert_same(found[..., : wanted.shape[-2], : wanted.shape[-1]], wanted, 1e-5)
