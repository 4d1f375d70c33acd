"""A Gaussian as its mean and a root A of its covariance, A^T A = S, and the nuclear norm of A B^T.

A is the Cholesky factor where the covariance is well conditioned, the R of a QR decomposition of the centred features
where it is not, and the centred features themselves where there are fewer pictures than features. All are exact to
rounding, also when the covariance has no full rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput

_CHUNK = 8192  # rows in float64 at a time
_WELL = 1e-8  # ratio of the smallest to the largest pivot above which Cholesky loses nothing that counts
_EXACT = 512  # up to this size singular values are cheap
_ROUNDING = 1e-8  # relative error that the fast way may have at the very worst; measured, it is 10 000 times smaller


@dataclass(frozen=True, eq=False)
class Root:
    """A Gaussian: `mu` (D,), `rows` (R, D) with rows^T rows = covariance, and the covariance's trace."""

    mu: np.ndarray
    rows: np.ndarray
    trace: float


def root_of_rows(x: Tensor) -> Root:
    """The Gaussian of features (N, D), N at least 2."""
    n, dim = x.shape
    mu = x.mean(0, dtype=torch.float64).cpu().numpy()
    if n <= dim:
        rows = _centred(x, mu, 0, n) / np.sqrt(n - 1)
        return Root(mu, rows, float(np.square(rows).sum()))
    sigma = np.zeros((dim, dim))
    for start in range(0, n, _CHUNK):
        part = _centred(x, mu, start, start + _CHUNK)
        sigma += part.T @ part
    sigma /= n - 1
    triangle = _cholesky(sigma)
    if triangle is None:
        triangle = _triangle(x, mu)
    return Root(mu, triangle, float(np.trace(sigma)))


def _triangle(x: Tensor, mu: np.ndarray) -> np.ndarray:
    """The R of a QR decomposition of the centred features over sqrt(n - 1), taking in some rows at a time."""
    triangle = np.zeros((0, x.shape[1]))
    for start in range(0, len(x), _CHUNK):
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, _centred(x, mu, start, start + _CHUNK)]), mode="r"))
    return triangle / np.sqrt(len(x) - 1)


def root_of_covariance(mu: np.ndarray, sigma: np.ndarray) -> Root:
    """The Gaussian of a mean (D,) and a covariance (D, D).

    Raises:
        BadInput: the matrix is not symmetric, or has a negative eigenvalue, so that it is no covariance.
    """
    size = float(np.abs(sigma).max(initial=0))
    if float(np.abs(sigma - sigma.T).max(initial=0)) > 1e-5 * size:
        raise BadInput("These statistics hold no covariance: the matrix sigma is not symmetric.")
    sigma = (sigma + sigma.T) / 2
    trace = float(np.trace(sigma))
    if (triangle := _cholesky(sigma)) is not None:
        return Root(mu, triangle, trace)
    values, vectors = np.linalg.eigh(sigma)
    if values[0] < -1e-5 * max(values[-1], 0):
        raise BadInput("These statistics hold no covariance: the matrix sigma has a negative eigenvalue.")
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return Root(mu, np.sqrt(values[kept])[:, None] * vectors[:, kept].T, trace)


def nuclear_norm(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of the singular values of A B^T.

    They are the roots of the eigenvalues of M M^T, which are four times cheaper but known only to a rounding of the
    largest. That way is taken where the worst that this can do to the sum is known to be small.
    """
    product = a @ b.T
    if product.shape[0] > product.shape[1]:
        product = product.T
    if len(product) > _EXACT:
        values = np.linalg.eigvalsh(product @ product.T)
        if values[0] > 0:
            singular = np.sqrt(values)
            error = np.finfo(np.float64).eps * values[-1] * float((0.5 / singular).sum())
            if error < _ROUNDING * float(singular.sum()):
                return float(singular.sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _centred(x: Tensor, mu: np.ndarray, start: int, stop: int) -> np.ndarray:
    return x[start:stop].double().cpu().numpy() - mu


def _cholesky(sigma: np.ndarray) -> np.ndarray | None:
    """The upper factor, or None where the matrix is too near to having no full rank."""
    try:
        lower = np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        return None
    pivots = np.square(np.diagonal(lower))
    return lower.T if pivots.min() > _WELL * pivots.max() else None
