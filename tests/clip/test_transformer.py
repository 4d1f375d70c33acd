"""The text tower and the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lienzo.clip.transformer import Attention, Block, QuickGELU, TextTower
from lienzo.core.errors import BadInput


def tower(**more: object) -> TextTower:
    torch.manual_seed(0)
    options = {"width": 64, "layers": 3, "heads": 4, "context_length": 8, "vocab_size": 30, "embed_dim": 10}
    return TextTower(**{**options, **more}).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torchs(causal: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(32, 4, causal), nn.MultiheadAttention(32, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(7) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
    assert torch.allclose(ours(x), expected, atol=1e-5)


def test_quick_gelu() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0])
    assert torch.allclose(QuickGELU()(x), x / (1 + torch.exp(-1.702 * x)))


def test_what_follows_the_end_mark_changes_nothing() -> None:
    model = tower()
    a = torch.tensor([[27, 3, 4, 29, 0, 0, 0, 0]])
    b = torch.tensor([[27, 3, 4, 29, 5, 29, 7, 1]])
    with torch.no_grad():
        assert torch.allclose(model.encode_text(a), model.encode_text(b), atol=1e-6)
        assert torch.allclose(model.encode_text(a), model.encode_text(a[:, :4]), atol=1e-6)
        assert not torch.allclose(model.encode_text(a), model.encode_text(a.flip(1)), atol=1e-2)


def test_states_and_skipping() -> None:
    model = tower()
    tokens = torch.tensor([[27, 3, 29, 0]])
    with torch.no_grad():
        last = model.text_states(tokens, norm=False)
        before = model.text_states(tokens, skip=1, norm=False)
        assert torch.allclose(model.transformer.resblocks[-1](before), last)
        assert torch.allclose(model.ln_final(last), model.text_states(tokens))
        start = model.text_states(tokens, skip=3, norm=False)
        assert torch.allclose(start, model.token_embedding(tokens) + model.positional_embedding[:4])


def test_without_projection() -> None:
    model = tower(embed_dim=None)
    assert model.encode_text(torch.tensor([[27, 29]])).shape == (1, 64)
    assert "text_projection" not in model.state_dict()


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="at most 8"):
        tower().text_states(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(BadInput, match="cannot be skipped"):
        tower().text_states(torch.zeros(1, 2, dtype=torch.long), skip=4)
    with pytest.raises(BadInput, match="3 heads"):
        tower(heads=3)


def test_the_first_place_alone_is_what_the_whole_block_gives_it() -> None:
    torch.manual_seed(0)
    block, x = Block(16, 4, 64, quick_gelu=True, causal=False), torch.randn(3, 7, 16)
    torch.testing.assert_close(block.first(x), block(x)[:, 0])
