"""Principal components, subspace angles, and the linear autoencoder that finds them."""

from __future__ import annotations

import math

import pytest
import torch

from lienzo.autoencoders.pca import components, subspace_angles
from lienzo.autoencoders.vae import Vae


def cloud(count: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([3.0, 2.0, 1.0] + [0.3] * 9)
    turned = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0]
    x = torch.randn(count, 12, generator=generator) * spread @ turned
    return x - x.mean(0)


def test_components_are_the_eigenvectors_of_the_covariance() -> None:
    x = cloud() + 5
    found = components(x, 3)
    values, vectors = torch.linalg.eigh(x.double().T.cov())
    assert torch.allclose(found.variances, values.flip(0)[:3])
    assert torch.allclose((found.axes * vectors.flip(1).T[:3]).sum(1).abs(), torch.ones(3).double())
    assert torch.allclose(found.coordinates(x.double()).var(0), found.variances)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.3, 1.2, math.pi / 2])
def test_angles_of_two_planes_that_share_a_line(angle: float) -> None:
    a = torch.eye(4, dtype=torch.float64)[:2]
    b = torch.tensor([[1.0, 0, 0, 0], [0, math.cos(angle), math.sin(angle), 0]], dtype=torch.float64)
    mixed = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64) @ b  # another basis of the same plane
    assert subspace_angles(a, mixed).tolist() == pytest.approx([0.0, angle], abs=1e-12)


def test_a_linear_autoencoder_spans_the_principal_components() -> None:
    x = cloud().reshape(-1, 1, 3, 4)
    torch.manual_seed(0)
    model = Vae(input_shape=(1, 3, 4), latent=3, hidden=(), variational=False, linear_output=True)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = (model(x).reconstruction - x).square().flatten(1).sum(1).mean()
        error.backward()
        return error

    wanted = components(x, 3).axes
    weight = model.decoder.layers[0][0].weight
    assert subspace_angles(weight.detach().T, wanted).max().rad2deg() > 20
    for _ in range(3):
        optimizer.step(loss)
    assert subspace_angles(weight.detach().T, wanted).max().rad2deg() < 0.5
