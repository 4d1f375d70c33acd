"""Codebooks: nearest codes, straight-through gradients, moving averages."""

from __future__ import annotations

import pytest
import torch

from lienzo.autoencoders.vq import Codebook, EmaCodebook


@pytest.mark.parametrize("book", [Codebook(5, 3), EmaCodebook(5, 3)])
def test_each_vector_becomes_its_nearest_code(book: Codebook | EmaCodebook) -> None:
    z = torch.randn(2, 3, 4, 6)
    out = book.eval()(z)
    assert out.indices.shape == (2, 4, 6)
    far = torch.cdist(z.movedim(1, -1).reshape(-1, 3), book.codes)
    assert torch.equal(out.indices.flatten(), far.argmin(1))
    assert torch.allclose(out.z.movedim(1, -1), book.codes[out.indices], atol=1e-6)
    assert torch.allclose(out.commitment.flatten(), far.min(1).values.square() / 3, atol=1e-5)


def test_gradients_go_straight_through_and_each_loss_moves_its_side() -> None:
    book = Codebook(4, 2)
    z = torch.randn(1, 2, 3, 3, requires_grad=True)
    out = book(z)
    (through,) = torch.autograd.grad(out.z.sum(), z, retain_graph=True)
    assert torch.equal(through, torch.ones_like(z))
    weight = book.embeddings.weight
    commitment = torch.autograd.grad(out.commitment.sum(), [z, weight], retain_graph=True, allow_unused=True)
    codebook = torch.autograd.grad(out.codebook.sum(), [z, weight], allow_unused=True)
    assert commitment[0] is not None
    assert commitment[1] is None
    assert codebook[0] is None
    assert codebook[1] is not None


def test_moving_averages_go_to_the_mean_of_their_vectors() -> None:
    torch.manual_seed(0)
    book = EmaCodebook(2, 1, decay=0.5)
    book.embeddings.copy_(torch.tensor([[-1.0], [1.0]]))
    book.ema_embed.copy_(book.embeddings)
    z = torch.tensor([-3.0, -5.0, 2.0, 4.0]).reshape(1, 1, 1, 4)
    for _ in range(40):
        out = book.train()(z)
    assert torch.allclose(book.codes.flatten(), torch.tensor([-4.0, 3.0]), atol=1e-3)
    assert out.codebook.sum() == 0
    before = book.codes.clone()
    book.eval()(z + 1)
    assert torch.equal(book.codes, before)


def test_a_code_that_nothing_chooses_stays_where_it_is() -> None:
    book = EmaCodebook(2, 1)
    book.embeddings.copy_(torch.tensor([[0.0], [100.0]]))
    book.ema_embed.copy_(book.embeddings)
    for _ in range(50):
        book.train()(torch.randn(1, 1, 4, 4))
    assert book.codes[1].item() == pytest.approx(100, rel=0.05)
