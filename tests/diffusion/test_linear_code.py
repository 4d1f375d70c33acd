"""Linear codes: exact within their span, the best basis, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.diffusion.linear_code import LinearCode, fit_linear_code
from lienzo.weights.models import Card, load_model, save_model

SIDE, LENGTH = 8, 6


@pytest.fixture(scope="module")
def drawings() -> np.ndarray:
    """Pictures that vary in six directions of falling spread, and nothing else but rounding."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.standard_normal((3 * SIDE * SIDE, LENGTH)))[0].T
    amounts = rng.standard_normal((400, LENGTH)) * np.array([100, 72, 48, 32, 20, 12])
    return (128 + amounts @ directions).round().clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def code(drawings: np.ndarray) -> LinearCode:
    return fit_linear_code(drawings, LENGTH)


def to_images(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_pictures_of_the_span_come_back(drawings: np.ndarray, code: LinearCode) -> None:
    images = to_images(drawings)
    codes = code.encode(images)
    assert codes.shape == (400, LENGTH)
    back = code.decode(codes)
    assert back.shape == images.shape
    assert (back - images).abs().max() < 0.03  # 8-bit pixels and an 8-bit basis


def test_codes_are_of_unit_size_with_the_largest_spread_first(drawings: np.ndarray, code: LinearCode) -> None:
    codes = code.encode(to_images(drawings))
    assert abs(float(codes.square().mean()) - 1) < 0.02
    spread = codes.std(0)
    assert (spread.diff() < 0).all()
    assert codes.mean(0).abs().max() < 0.02


def test_no_other_basis_of_that_length_is_better(drawings: np.ndarray) -> None:
    """The mean square error of three components is that of the exact principal components."""
    images = to_images(drawings)
    short = fit_linear_code(drawings, 3)
    error = (short.decode(short.encode(images)) - images).square().sum(1).sum().item()
    centred = (images.flatten(1) - images.flatten(1).mean(0)).double()
    best = torch.linalg.svdvals(centred)[3:].square().sum().item()
    assert best <= error * (1 + 1e-6)
    assert error < best * 1.02


def test_fitting_repeats(drawings: np.ndarray, code: LinearCode) -> None:
    again = fit_linear_code(drawings, LENGTH)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), code.state_dict().values(), strict=True))
    assert code.basis.dtype == torch.int8


def test_decoding_is_differentiable(code: LinearCode) -> None:
    codes = torch.zeros(2, LENGTH, requires_grad=True)
    code.decode(codes).square().sum().backward()
    assert codes.grad is not None
    assert codes.grad.abs().sum() > 0


def test_the_state_dict_is_all_there_is(code: LinearCode) -> None:
    other = LinearCode(SIDE, LENGTH)
    other.load_state_dict(code.state_dict())
    x = torch.randn(2, LENGTH)
    assert torch.equal(other.decode(x), code.decode(x))
    assert list(other.parameters()) == []


def test_saved_and_loaded(code: LinearCode, drawings: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "code.safetensors"
    save_model(path, "linear-code", code.config, code.state_dict(), Card(title="t", licence="CC0-1.0"), half=True)
    loaded = load_model(path)
    assert loaded.basis.dtype == torch.int8
    assert loaded.config == code.config
    images = to_images(drawings[:4])
    assert torch.allclose(loaded.decode(code.encode(images)), images, atol=0.05)
