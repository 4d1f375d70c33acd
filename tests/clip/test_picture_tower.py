"""A picture tower gives the same vectors however its batches are shared out among threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from lienzo.clip.picture_tower import PictureTower


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 50])
@pytest.mark.usefixtures("three_threads")
def test_threads_change_neither_vectors_nor_their_order_nor_torch(count):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    tower = PictureTower(network, network, 4, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    tower.half = False
    batch = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    x = (batch / 255 - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.4)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x.transpose(0, 3, 1, 2)).float()).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(tower(batch), wanted, atol=1e-5)
    assert (tower.pool is not None) == (count >= 24)
    assert torch.get_num_threads() == 3
