"""The ResNet of CLIP; equality with OpenAI's is in tests/golden."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lienzo.clip.resnet import AttentionPool, ModifiedResNet
from lienzo.core.errors import BadInput


def test_attention_pool_is_torchs_attention() -> None:
    torch.manual_seed(0)
    pool, x = AttentionPool(3, 32, 4, 10), torch.randn(2, 32, 3, 3)
    seq = x.flatten(2).permute(2, 0, 1)
    seq = torch.cat([seq.mean(0, keepdim=True), seq]) + pool.positional_embedding[:, None]
    expected, _ = F.multi_head_attention_forward(
        seq[:1], seq, seq, 32, 4, None, torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        None, None, False, 0.0, pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
        need_weights=False,
    )  # fmt: skip
    assert torch.allclose(pool(x), expected[0], atol=1e-5)


def test_depths_and_widths() -> None:
    net = ModifiedResNet(image_resolution=96, layers=(1, 3, 2, 1), width=6, heads=3, embed_dim=5).eval()
    assert net(torch.randn(2, 3, 96, 96)).shape == (2, 5)
    assert [len(getattr(net, f"layer{i}")) for i in range(1, 5)] == [1, 3, 2, 1]


def test_bad_options() -> None:
    with pytest.raises(BadInput, match="four stages"):
        ModifiedResNet(image_resolution=64, layers=(1, 1, 1), width=8, heads=4, embed_dim=5)
    with pytest.raises(BadInput, match="32 pixels"):
        ModifiedResNet(image_resolution=31, layers=(1, 1, 1, 1), width=8, heads=4, embed_dim=5)
