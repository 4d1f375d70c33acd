import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.nn.noise import PictureNoise


def test_a_picture_gets_the_same_noise_alone_and_in_a_batch() -> None:
    batch, alone = PictureNoise([5, 6, 7]), PictureNoise([6])
    for _ in range(3):
        assert torch.equal(batch(torch.zeros(3, 2, 4))[1:2], alone(torch.zeros(1, 2, 4)))


def test_calls_go_on_and_seeds_differ() -> None:
    noise = PictureNoise([5, 6])
    first, second = noise(torch.zeros(2, 1000)), noise(torch.zeros(2, 1000))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_it_is_standard_normal_and_free_of_the_global_seed() -> None:
    torch.manual_seed(0)
    drawn = PictureNoise([3])(torch.zeros(1, 100_000))
    assert abs(drawn.mean().item()) < 0.02
    assert abs(drawn.std().item() - 1) < 0.02
    torch.manual_seed(1)
    assert torch.equal(drawn, PictureNoise([3])(torch.zeros(1, 100_000)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_precision_does_not_change_the_noise(dtype: torch.dtype) -> None:
    drawn = PictureNoise([3])(torch.zeros(1, 8, dtype=dtype))
    assert drawn.dtype == dtype
    assert torch.equal(drawn, PictureNoise([3])(torch.zeros(1, 8)).to(dtype))


def test_the_largest_seed_works() -> None:
    assert PictureNoise([2**63 - 1])(torch.zeros(1, 2)).isfinite().all()


def test_each_picture_needs_a_seed() -> None:
    with pytest.raises(BadInput, match="2 seeds for 3 pictures"):
        PictureNoise([1, 2])(torch.zeros(3, 4))
