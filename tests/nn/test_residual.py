import pytest
import torch
from goldens import assert_same, named_weights

from lienzo.core.errors import BadInput
from lienzo.nn.residual import (
    Downsample,
    EmbeddedSequential,
    ResBlock,
    Upsample,
    cast_convolutions,
    convolution,
)


def test_resampling_of_a_picture() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(Downsample(1, use_conv=False)(x)[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))
    assert torch.equal(Upsample(1, use_conv=False)(x)[..., ::2, 1::2], x)


@pytest.mark.parametrize(("dims", "shape", "halved"), [(1, (6,), (3,)), (3, (3, 4, 6), (3, 2, 3))])
def test_resampling_in_other_dimensions(dims: int, shape: tuple[int, ...], halved: tuple[int, ...]) -> None:
    x = torch.zeros(1, 2, *shape)
    for use_conv in (False, True):
        small = Downsample(2, use_conv, dims)(x)
        assert small.shape[2:] == halved
        assert Upsample(2, use_conv, dims)(small).shape == x.shape


def test_odd_sizes_round_up_by_convolution_and_down_by_averaging() -> None:
    x = torch.zeros(1, 2, 5, 7)
    assert Downsample(2, use_conv=True)(x).shape[2:] == (3, 4)
    assert Downsample(2, use_conv=False)(x).shape[2:] == (2, 3)


@pytest.mark.parametrize("option", ["plain", "widen", "widen_conv", "up", "down", "volume"])
def test_block_starts_as_its_skip(option: str) -> None:
    widen = option.startswith("widen")
    dims = 3 if option == "volume" else 2
    block = ResBlock(
        32, 8, 64 if widen else None, use_conv=option == "widen_conv", dims=dims,
        up=option == "up", down=option == "down",
    )  # fmt: skip
    x = torch.randn(2, 32, *[4] * dims)
    out = block(x, torch.randn(2, 8))
    skip = block.skip_connection(x)
    if block.resample is not None:
        skip = block.resample(skip)
    assert torch.equal(out, skip)
    if widen:
        assert block.skip_connection.weight.shape[2] == (3 if option == "widen_conv" else 1)


@pytest.mark.parametrize("scale_shift", [False, True])
def test_the_embedding_matters(scale_shift: bool) -> None:
    block = ResBlock(64, 8, use_scale_shift_norm=scale_shift)
    named_weights(block, "t:")
    generator = torch.Generator().manual_seed(0)
    x, emb = torch.randn(1, 64, 4, 4, generator=generator), torch.randn(2, 1, 8, generator=generator)
    assert block.emb_layers[1].weight.shape[0] == (128 if scale_shift else 64)
    assert not torch.allclose(block(x, emb[0]), block(x, emb[1]), atol=1e-2)


def test_an_embedding_that_is_added_vanishes_where_each_channel_is_a_group() -> None:
    block = ResBlock(32, 8)
    named_weights(block, "t:")
    x = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    assert_same(block(x, torch.ones(1, 8)), block(x, -torch.ones(1, 8)), 1e-3)


def test_scale_shift_formula() -> None:
    block = ResBlock(32, 8, use_scale_shift_norm=True)
    named_weights(block, "t:")
    x, emb = torch.randn(1, 32, 4, 4), torch.randn(1, 8)
    scale, shift = block.emb_layers(emb)[..., None, None].split(32, dim=1)
    h = block.out_layers[0](block.in_layers(x)) * (1 + scale) + shift
    assert_same(block(x, emb), x + block.out_layers[3](torch.nn.functional.silu(h)), 1e-6)


def test_dropout_works_in_training_and_repeats_under_checkpointing() -> None:
    gradients = []
    for use_checkpoint in (False, True):
        block = ResBlock(32, 8, dropout=0.5, use_checkpoint=use_checkpoint)
        named_weights(block, "t:")
        torch.manual_seed(3)
        x = torch.ones(1, 32, 4, 4, requires_grad=True)
        out = block(x * torch.arange(4.0), torch.ones(1, 8))
        out.square().sum().backward()
        gradients.append(x.grad)
        assert not torch.equal(out, block.eval()(x * torch.arange(4.0), torch.ones(1, 8)))
    assert torch.equal(*gradients)


def test_sequential_gives_the_embedding_to_those_that_take_it() -> None:
    layers = EmbeddedSequential(convolution(2, 3, 32), ResBlock(32, 8), Downsample(32, use_conv=False))
    assert layers(torch.zeros(1, 3, 4, 4), torch.zeros(1, 8)).shape == (1, 32, 2, 2)


def test_casting_touches_convolutions_only() -> None:
    block = ResBlock(32, 8)
    cast_convolutions([block], torch.bfloat16)
    dtypes = {key: value.dtype for key, value in block.state_dict().items()}
    assert dtypes["in_layers.2.weight"] == dtypes["out_layers.3.bias"] == torch.bfloat16
    assert dtypes["in_layers.0.weight"] == dtypes["emb_layers.1.weight"] == torch.float32


def test_four_dimensions_are_refused() -> None:
    with pytest.raises(BadInput, match="not 4"):
        convolution(4, 1, 1)
