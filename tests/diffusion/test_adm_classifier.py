from typing import Any

import pytest
import torch
from goldens import assert_same, named_weights
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm_checkpoints import config_from, load
from lienzo.diffusion.adm_classifier import POOLS, AdmClassifier, class_gradient

SMALL: dict[str, Any] = {
    "image_size": 8,
    "in_channels": 3,
    "model_channels": 32,
    "out_channels": 5,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 1],
    "num_head_channels": 16,
}


def build(**changes: Any) -> AdmClassifier:
    made = AdmClassifier(**{**SMALL, **changes})
    named_weights(made, "t:")
    return made.eval()


def inputs(*sizes: int, channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(2, channels, *sizes, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([3.0, 721.5]), torch.tensor([4, 1])


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("updown", [False, True])
@torch.no_grad()
def test_every_pool_classifies_and_reloads(pool: str, updown: bool) -> None:
    network = build(pool=pool, resblock_updown=updown, use_scale_shift_norm=updown)
    x, t, _ = inputs(8, 8)
    logits = network(x, t)
    assert logits.shape == (2, 5)
    assert logits.std() > 0.01
    read = config_from(network.state_dict())
    assert {name: read[name] for name in ("pool", "out_channels", "resblock_updown", "use_scale_shift_norm")} == {
        "pool": pool,
        "out_channels": 5,
        "resblock_updown": updown,
        "use_scale_shift_norm": updown,
    }
    again = load(network.state_dict(), network.config)
    assert type(again) is AdmClassifier
    assert torch.equal(again(x, t), logits)


@pytest.mark.parametrize("pool", ["adaptive", "spatial", "spatial_v2"])
@torch.no_grad()
def test_pools_that_take_any_size(pool: str) -> None:
    x, t, _ = inputs(7, 9)
    assert build(pool=pool)(x, t).shape == (2, 5)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("dims", "sizes"), [(1, (8,)), (3, (4, 8, 8))])
@torch.no_grad()
def test_other_dimensions(pool: str, dims: int, sizes: tuple[int, ...]) -> None:
    network = build(pool=pool, dims=dims)
    x, t, _ = inputs(*sizes)
    if pool == "attention" and dims == 3:
        x = x[:, :, :, :8, :8]
    assert network(x, t).shape == (2, 5)


def test_the_attention_pool_takes_its_own_size_only() -> None:
    x, t, _ = inputs(16, 8)
    with pytest.raises(BadInput, match="4x4, not 8x4"):
        build(pool="attention")(x, t)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="no pool 'max'; there are adaptive"):
        build(pool="max")
    with pytest.raises(BadInput, match="num_head_channels"):
        build(pool="attention", num_head_channels=-1)
    with pytest.raises(BadInput, match="3 channels"):
        build()(torch.zeros(1, 1, 8, 8), torch.zeros(1))


@torch.no_grad()
def test_a_half_precision_torso() -> None:
    x, t, _ = inputs(8, 8)
    exact = build(pool="attention")(x, t)
    for network in (build(pool="attention"), build(pool="spatial_v2"), build(pool="adaptive", use_fp16=True)):
        network.cast_torso(torch.bfloat16)
        assert network(x, t).dtype == torch.float32
    network = build(pool="attention")
    network.cast_torso(torch.bfloat16)
    assert (network(x, t) - exact).abs().max() < 0.1 * exact.abs().max()


def test_gradient_of_a_linear_classifier_is_exact() -> None:
    weights = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    x, t, y = inputs(2, 2)
    with torch.no_grad():
        gradient = class_gradient(lambda x, t: x.flatten(1) @ weights.T, x, t, y)
    p = (x.flatten(1) @ weights.T).softmax(1)
    expected = weights[y] - p @ weights
    assert_same(gradient, expected.reshape(x.shape), 1e-5)
    assert not gradient.requires_grad


def test_gradient_raises_the_probability_and_wrong_labels_are_refused() -> None:
    network = build()
    x, t, y = inputs(8, 8)
    gradient = class_gradient(network, x, t, y)
    with torch.no_grad():
        before, after = (network(z, t).log_softmax(1).gather(1, y[:, None]) for z in (x, x + 0.01 * gradient))
    assert (after > before).all()
    with pytest.raises(BadInput, match="0 to 4"):
        class_gradient(network, x, t, y + 4)
