import math

import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.nn.embeddings import FourierFeatures, timestep_embedding


def test_timestep_embedding_is_cosines_then_sines() -> None:
    t = torch.tensor([0.0, 3.5, 999.0])
    out = timestep_embedding(t, 8, max_period=100.0)
    for row, time in zip(out, t.tolist(), strict=True):
        angles = [time * 100.0 ** (-i / 4) for i in range(4)]
        expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=1e-5, atol=1e-4)


def test_timestep_embedding_takes_integers_and_pads_odd_widths() -> None:
    odd = timestep_embedding(torch.tensor([7]), 9)
    assert odd.shape == (1, 9)
    assert odd[0, 8] == 0
    assert torch.equal(odd[:, :8], timestep_embedding(torch.tensor([7.0]), 8))


def test_fourier_features_of_known_frequencies() -> None:
    features = FourierFeatures(1, 4)
    features.weight.data = torch.tensor([[0.25], [1.0]])
    out = features(torch.tensor([[1.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.0, 1.0, 1.0, 0.0]]), atol=1e-6, rtol=0)


def test_fourier_features_come_in_pairs() -> None:
    with pytest.raises(BadInput, match="odd"):
        FourierFeatures(1, 3)
