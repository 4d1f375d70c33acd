import pytest
import torch
from goldens import assert_same
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.nn.attention import AttentionBlock, AttentionPool, count_heads, qkv_attention


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (C, T) each, written out."""
    weights = (q.T @ k / q.shape[0] ** 0.5).softmax(dim=1)  # (T, S)
    return v @ weights.T


@pytest.mark.parametrize(("heads_first", "length"), [(True, 5), (False, 5), (True, 300), (False, 300)])
def test_attention_in_both_orders(heads_first: bool, length: int) -> None:
    heads, width = 3, 4
    qkv = 2 * random(2, 3 * heads * width, length)
    expected = torch.empty(2, heads * width, length)
    for b in range(2):
        for h in range(heads):
            start = [(3 * h + part if heads_first else part * heads + h) * width for part in range(3)]
            q, k, v = (qkv[b, s : s + width] for s in start)
            expected[b, h * width : (h + 1) * width] = one_head(q, k, v)
    assert_same(qkv_attention(qkv, heads, heads_first), expected, 2e-6)


def test_the_orders_differ_for_several_heads_only() -> None:
    qkv = random(1, 24, 5)
    assert torch.equal(qkv_attention(qkv, 1, True), qkv_attention(qkv, 1, False))
    assert not torch.allclose(qkv_attention(qkv, 2, True), qkv_attention(qkv, 2, False), atol=0.1)


@pytest.mark.parametrize(
    ("channels", "heads", "each", "expected"), [(64, 4, -1, 4), (64, 4, 16, 4), (64, 1, 8, 8), (64, 1, -1, 1)]
)
def test_count_heads(channels: int, heads: int, each: int, expected: int) -> None:
    assert count_heads(channels, heads, each) == expected


@pytest.mark.parametrize(("heads", "each"), [(3, -1), (0, -1), (1, 48), (1, 0)])
def test_heads_that_do_not_fit(heads: int, each: int) -> None:
    with pytest.raises(BadInput, match="64 channels"):
        count_heads(64, heads, each)


def test_block_starts_as_the_identity_in_any_dimension() -> None:
    block = AttentionBlock(32, num_heads=2)
    for shape in [(2, 32, 7), (2, 32, 3, 5), (2, 32, 2, 3, 2)]:
        x = random(*shape)
        assert torch.equal(block(x), x)


def test_block_does_not_care_for_the_order_of_positions() -> None:
    block = AttentionBlock(32, num_heads=4)
    torch.nn.init.normal_(block.proj_out.weight, generator=torch.Generator().manual_seed(1))
    x = random(1, 32, 4, 4)
    assert_same(block(x.transpose(2, 3)), block(x).transpose(2, 3), 1e-5)


def test_checkpointing_gives_the_same_gradient() -> None:
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        block = AttentionBlock(32, num_heads=2, use_checkpoint=use_checkpoint)
        torch.nn.init.ones_(block.proj_out.weight)
        block(random(1, 32, 6)).square().sum().backward()
        gradients.append(block.qkv.weight.grad)
    assert gradients[0].abs().max() > 0
    assert torch.equal(*gradients)


def test_pool_is_the_first_position_of_full_attention() -> None:
    pool = AttentionPool(size=3, channels=8, num_head_channels=4, out_features=5)
    x = random(2, 8, 3, 3)
    flat = x.flatten(2)
    flat = torch.cat([flat.mean(2, keepdim=True), flat], dim=2) + pool.positional_embedding
    full = pool.c_proj(qkv_attention(pool.qkv_proj(flat), 2, heads_first=False))
    assert_same(pool(x), full[:, :, 0], 1e-6)


def test_pool_refuses_other_sizes() -> None:
    pool = AttentionPool(size=2, channels=8, num_head_channels=4, out_features=5)
    with pytest.raises(BadInput, match="2x2, not 1x4"):
        pool(torch.zeros(1, 8, 1, 4))
