"""DiT: the published names and start, patches and sizes, and reading a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.dit import DiT, detect, grid_embedding, load

SMALL: dict[str, Any] = {
    "input_size": 8, "patch_size": 2, "in_channels": 3, "hidden_size": 16, "depth": 2, "num_heads": 2, "num_classes": 5,
}  # fmt: skip


def network(**options: Any) -> DiT:
    """A network whose zeros are filled, so that everything matters."""
    torch.manual_seed(0)
    model = DiT(**{**SMALL, **options}).eval().requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.3)
    return model


def batch(side: tuple[int, int] = (8, 8), channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(2, channels, *side, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([3.0, 700.0]), torch.tensor([0, 4])


def test_the_published_names_and_shapes() -> None:
    """DiT-XL/2 at 256 px: 675 M parameters, as the paper counts them."""
    with torch.device("meta"):
        model = DiT()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes["x_embedder.proj.weight"] == (1152, 4, 2, 2)
    assert shapes["t_embedder.mlp.0.weight"] == (1152, 256)
    assert shapes["t_embedder.mlp.2.bias"] == (1152,)
    assert shapes["y_embedder.embedding_table.weight"] == (1001, 1152)
    assert shapes["pos_embed"] == (1, 256, 1152)
    assert shapes["blocks.27.attn.qkv.weight"] == (3456, 1152)
    assert shapes["blocks.27.attn.proj.bias"] == (1152,)
    assert shapes["blocks.27.mlp.fc1.weight"] == (4608, 1152)
    assert shapes["blocks.27.mlp.fc2.weight"] == (1152, 4608)
    assert shapes["blocks.27.adaLN_modulation.1.weight"] == (6912, 1152)
    assert shapes["final_layer.linear.weight"] == (32, 1152)
    assert shapes["final_layer.adaLN_modulation.1.weight"] == (2304, 1152)
    assert len(shapes) == 28 * 10 + 2 + 4 + 1 + 1 + 4
    assert sum(p.numel() for p in model.parameters()) == 675_129_632


def test_a_new_network_gives_zeros_and_its_blocks_are_the_identity() -> None:
    torch.manual_seed(0)
    model = DiT(**SMALL)
    x, t, y = batch()
    assert model(x, t, y).shape == (2, 6, 8, 8)
    assert not model(x, t, y).any()
    tokens = torch.randn(2, 16, 16)
    assert torch.equal(model.blocks[0](tokens, torch.randn(2, 16)), tokens)


def test_positions_tell_column_then_row() -> None:
    table = grid_embedding(2, 3, 8)[0]  # (6, 8)
    column, row = 2, 1
    rates = [1.0, 1 / 100]
    expected = [f(place * rate) for place in (column, row) for f in (math.sin, math.cos) for rate in rates]
    assert table[row * 3 + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_unpatchify_turns_patches_back_into_the_picture() -> None:
    model = network(learn_sigma=False)
    x = torch.randn(2, 3, 4, 6)
    patches = x.reshape(2, 3, 2, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).reshape(2, 6, 12)  # pixels before channels
    assert torch.equal(model.unpatchify(patches, 2, 3), x)


def test_the_patch_embedder_is_its_convolution() -> None:
    model = network(patch_size=4)
    x, _, _ = batch()
    expected = model.x_embedder.proj(x).flatten(2).transpose(1, 2)
    assert torch.allclose(model.x_embedder(x), expected, atol=1e-6)


def test_moving_a_picture_by_patches_only_matters_through_positions() -> None:
    model = network()
    x, t, y = batch()
    model.pos_embed.zero_()
    moved = model(x.roll(4, dims=3), t, y)
    assert torch.allclose(moved, model(x, t, y).roll(4, dims=3), atol=1e-5)


def test_other_sizes_and_the_stored_positions() -> None:
    model = network()
    x, t, y = batch((4, 12))
    assert model(x, t, y).shape == (2, 6, 4, 12)
    assert torch.equal(model.positions(4, 4), model.pos_embed)
    x, t, y = batch()
    before = model(x, t, y)
    model.pos_embed += 1  # a checkpoint's own are used
    assert not torch.equal(model(x, t, y), before)


def test_time_class_and_objective_matter() -> None:
    model, flow = network(), network(objective="flow")
    x, t, y = batch()
    assert not torch.equal(model(x, t, y), model(x, t + 1, y))
    assert not torch.equal(model(x, t, y), model(x, t, torch.tensor([1, model.null_class])))
    assert torch.allclose(flow(x, t / 1000, y), model(x, t, y), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"learn_sigma": False, "mlp_ratio": 3.0, "patch_size": 4, "num_classes": 2}])
def test_shapes_tell_the_network(options: dict[str, Any]) -> None:
    model = network(**options)
    state = model.state_dict()
    assert detect(state)
    again = load(state, {"num_heads": 2})
    x, t, y = batch()
    assert torch.equal(again(x, t, y % 2), model(x, t, y % 2))
    assert load(state, model.config).config == model.config
    assert again.config == model.config


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="3 channels and sides that are multiples of 2; 3 channels of 9x8 are not"):
        network()(torch.zeros(1, 3, 8, 9), torch.zeros(1), torch.zeros(1, dtype=torch.long))
    with pytest.raises(BadInput, match="multiple of 4 and of its 3 heads"):
        network(num_heads=3)
    with pytest.raises(BadInput, match="patches of 3"):
        network(patch_size=3)
    state = network().state_dict()
    with pytest.raises(BadWeights, match=r"pos_embed.* is missing"):
        load({k: v for k, v in state.items() if k != "pos_embed"})
    with pytest.raises(BadWeights, match=r"'blocks\.1\.attn\.proj\.bias' is missing"):
        load({k: v for k, v in state.items() if k != "blocks.1.attn.proj.bias"}, {"num_heads": 2})
