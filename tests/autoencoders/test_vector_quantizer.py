"""Quantisers: nearest codes, both losses, gradients that pass straight, numberings of used codes."""

from __future__ import annotations

import pytest
import torch

from lienzo.autoencoders import vector_quantizer
from lienzo.autoencoders.vector_quantizer import (
    VectorQuantizer,
    nearest,
    nearest_codes,
    straight_through,
    vectors_of,
)
from lienzo.core.errors import BadInput


def test_nearest_is_the_nearest_in_pieces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vectors, codebook = torch.randn(50, 4), torch.randn(9, 4)
    wanted = torch.cdist(vectors, codebook).argmin(dim=1)
    assert torch.equal(nearest(vectors, codebook), wanted)
    monkeypatch.setattr(vector_quantizer, "MAX_DISTANCES", 20)
    assert torch.equal(nearest(vectors, codebook), wanted)


def test_gradients_pass_straight() -> None:
    torch.manual_seed(0)
    latents, codebook = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(7, 3)
    moved = straight_through(latents, codebook)
    torch.testing.assert_close(moved, vectors_of(nearest_codes(latents, codebook), codebook))
    weights = torch.randn(2, 3, 4, 5)
    (grad,) = torch.autograd.grad((moved * weights).sum(), latents)
    torch.testing.assert_close(grad, weights)


@pytest.mark.parametrize("legacy", [True, False])
def test_what_beta_weighs(legacy: bool) -> None:
    torch.manual_seed(0)
    layer = VectorQuantizer(6, 3, beta=0.1, legacy=legacy)
    z = torch.randn(2, 3, 4, 4, requires_grad=True)
    _, loss, indices = layer(z)
    error = (layer.look_up(indices, (2, 4, 4, 3)) - z).square().mean()
    torch.testing.assert_close(loss, 1.1 * error)
    to_latents, to_codes = torch.autograd.grad(loss, [z, layer.embedding.weight])
    plain_latents, plain_codes = torch.autograd.grad(error, [z, layer.embedding.weight])
    torch.testing.assert_close(to_latents, plain_latents * (1 if legacy else 0.1))
    torch.testing.assert_close(to_codes, plain_codes * (0.1 if legacy else 1))


@pytest.mark.parametrize("sane", [True, False])
def test_shapes_of_indices(sane: bool) -> None:
    layer = VectorQuantizer(6, 3, sane_index_shape=sane)
    z = torch.randn(2, 3, 4, 5)
    assert layer(z)[2].shape == ((2, 4, 5) if sane else (40,))
    renumbering = VectorQuantizer(6, 3, sane_index_shape=sane, remap=[1, 4])
    assert renumbering(z)[2].shape == ((2, 4, 5) if sane else (40, 1))


@pytest.mark.parametrize(("unknown", "expected"), [("extra", 3), (1, 1)])
def test_numbering_of_used_codes(unknown: str | int, expected: int) -> None:
    layer = VectorQuantizer(10, 2, remap=[7, 2, 5], unknown_index=unknown)
    codes = torch.tensor([[2, 7], [5, 9]])
    assert layer.renumbered(codes).tolist() == [[1, 0], [2, expected]]
    assert layer.vocabulary == (4 if unknown == "extra" else 3)
    assert layer.original(torch.tensor([0, 1, 2])).tolist() == [7, 2, 5]
    assert layer.original(torch.tensor([3])).tolist() == [7]


def test_unknown_codes_at_random() -> None:
    layer = VectorQuantizer(10, 2, remap=[7, 2, 5])
    codes = torch.full((200,), 9)
    drawn = layer.renumbered(codes, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0, 1, 2}
    assert torch.equal(drawn, layer.renumbered(codes, torch.Generator().manual_seed(0)))


def test_refusals() -> None:
    with pytest.raises(BadInput, match="0 to 6"):
        vectors_of(torch.tensor([[[7]]]), torch.randn(7, 3))
    with pytest.raises(BadInput, match="whole numbers"):
        vectors_of(torch.rand(1, 2, 2), torch.randn(7, 3))
    with pytest.raises(BadInput, match="codes from 0 to 5"):
        VectorQuantizer(6, 3, remap=[6])
    with pytest.raises(BadInput, match="random, extra"):
        VectorQuantizer(6, 3, remap=[1], unknown_index="last")
