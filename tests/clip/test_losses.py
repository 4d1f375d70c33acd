"""The losses by hand; the originals' numbers are in tests/golden."""

from __future__ import annotations

import math

import pytest
import torch

from lienzo.clip.losses import contrastive_loss, cyclic_losses, distillation_loss, relational_loss, sigmoid_loss
from lienzo.core.errors import BadInput


def test_known_values() -> None:
    scale = torch.tensor(math.log(5.0))
    # Right pairs have cosine 1, wrong ones 0; the lengths of the embeddings do not matter.
    loss = contrastive_loss(2 * torch.eye(4), 7 * torch.eye(4), scale)
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-5)), rel=1e-5)
    same = contrastive_loss(torch.ones(4, 3), torch.ones(4, 3), scale)
    assert same.item() == pytest.approx(math.log(4), rel=1e-5)


def test_weight_of_the_directions() -> None:
    torch.manual_seed(0)
    a, b, scale = torch.randn(5, 8), torch.randn(5, 8), torch.tensor(1.0)
    i2t, t2i = contrastive_loss(a, b, scale, 1.0), contrastive_loss(a, b, scale, 0.0)
    assert i2t != t2i
    assert torch.equal(t2i, contrastive_loss(b, a, scale, 1.0))
    assert torch.allclose(contrastive_loss(a, b, scale, 0.25), 0.25 * i2t + 0.75 * t2i)


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="needs its text"):
        contrastive_loss(torch.ones(2, 3), torch.ones(3, 3), torch.tensor(0.0))
    with pytest.raises(BadInput, match=r"1\.5"):
        contrastive_loss(torch.ones(2, 3), torch.ones(2, 3), torch.tensor(0.0), 1.5)
    with pytest.raises(BadInput, match="needs its text"):
        sigmoid_loss(torch.ones(2, 3), torch.ones(3, 3), torch.tensor(0.0), 0.0)
    with pytest.raises(BadInput, match=r"\(2, 2\) pairs; there are 2 pictures and 3 texts"):
        sigmoid_loss(torch.ones(2, 3), torch.ones(3, 3), torch.tensor(0.0), 0.0, torch.eye(2).bool())


def test_sigmoids_by_hand() -> None:
    scale, bias = torch.tensor(math.log(6.0)), torch.tensor(-2.0)
    right, wrong = math.log1p(math.exp(-4)), math.log1p(math.exp(-2))  # logits 6 - 2 where right, 0 - 2 where wrong
    loss = sigmoid_loss(3 * torch.eye(4), torch.eye(4), scale, bias)
    assert loss.item() == pytest.approx(right + 3 * wrong, rel=1e-5)
    assert sigmoid_loss(torch.eye(4), torch.eye(4), scale, bias, chunk=3).item() == pytest.approx(loss.item())
    everything = torch.ones(4, 4, dtype=torch.bool)
    missed = math.log1p(math.exp(2))
    other = sigmoid_loss(torch.eye(4), torch.eye(4), scale, bias, everything)
    assert other.item() == pytest.approx(right + 3 * missed, rel=1e-5)


def test_chunks_of_the_sigmoid_loss_keep_no_logits() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(2, 64, 4, requires_grad=True).unbind()
    sizes: dict[int, int] = {}
    for chunk in (0, 8):
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            sigmoid_loss(images, texts, torch.tensor(1.0), torch.tensor(-1.0), chunk=chunk)
        sizes[chunk] = sum(kept.values())
    assert sizes[0] > 64 * 64 * 4
    assert sizes[8] < sizes[0] / 2


def test_cycles_by_hand() -> None:
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    in_modal, cross_modal = cyclic_losses(images, texts)
    assert in_modal.item() == pytest.approx(2 * 2 / 4)  # the two texts are equal, the pictures at right angles
    assert cross_modal.item() == pytest.approx(2 * 2 / 4)  # picture 0 fits text 1, picture 1 does not fit text 0
    assert [term.item() for term in cyclic_losses(images, images)] == [0, 0]


def test_halves_of_the_cycles_have_their_mean() -> None:
    torch.manual_seed(0)
    images, texts = torch.nn.functional.normalize(torch.randn(2, 6, 4), dim=-1)
    whole = torch.stack(cyclic_losses(images, texts))
    halves = [torch.stack(cyclic_losses(images[s], texts[s], images, texts)) for s in (slice(3), slice(3, 6))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_imitation_is_best_where_the_answers_are_the_teachers() -> None:
    torch.manual_seed(0)
    teacher = 3 * torch.randn(5, 5)
    entropy = [-(each.softmax(1) * each.log_softmax(1)).sum(1).mean() for each in (teacher, teacher.T)]
    torch.testing.assert_close(distillation_loss(teacher, teacher), (entropy[0] + entropy[1]) / 2)
    assert distillation_loss(teacher + torch.randn(5, 5), teacher) > sum(entropy) / 2 + 0.01


def test_relations_leave_out_a_sentence_and_its_equals() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    same = torch.eye(5, dtype=torch.bool)
    teacher = vectors @ vectors.T
    assert relational_loss(teacher, teacher, same).item() == pytest.approx(0, abs=1e-6)
    changed = teacher + same.float()  # only where a sentence meets itself
    assert relational_loss(changed, teacher, same).item() == pytest.approx(0, abs=1e-6)
    mine = torch.zeros(5, 5)
    wanted = (10 * teacher).masked_fill(same, -torch.inf).softmax(1)
    by_hand = (torch.xlogy(wanted, wanted).sum(1) + math.log(4)).mean()
    torch.testing.assert_close(relational_loss(mine, teacher, same), by_hand)
    assert relational_loss(mine, teacher, torch.ones(5, 5).bool()).item() == 0
