import json
from typing import Any

import pytest
import torch
from goldens import assert_same, named_weights
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_checkpoints import load

SMALL: dict[str, Any] = {
    "image_size": 16,
    "in_channels": 3,
    "model_channels": 32,
    "out_channels": 6,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 2],
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}


def build(network: type[Adm] = Adm, **changes: Any) -> Adm:
    made = network(**{**SMALL, **changes})
    named_weights(made, "t:")
    return made.eval()


def inputs(*sizes: int, batch: int = 2, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, *sizes, generator=generator), torch.tensor([3.0, 721.5])[:batch]


@torch.no_grad()
def test_a_fresh_network_is_silent_and_a_filled_one_is_not() -> None:
    x, t = inputs(8, 8)
    assert torch.equal(Adm(**SMALL)(x, t), torch.zeros(2, 6, 8, 8))
    out = build()(x, t)
    assert out.shape == (2, 6, 8, 8)
    assert out.std() > 0.1


@pytest.mark.parametrize(
    "changes",
    [
        {"resblock_updown": False},
        {"resblock_updown": False, "conv_resample": False},
        {"use_scale_shift_norm": False, "attention_resolutions": []},
        {"channel_mult": [0.5, 1], "model_channels": 64},
        {"num_head_channels": -1, "num_heads": 2, "num_heads_upsample": 4},
        {"num_classes": 3, "dropout": 0.1},
    ],
    ids=str,
)
@torch.no_grad()
def test_every_option_runs_saves_its_arguments_and_reloads(changes: dict[str, Any]) -> None:
    network = build(**changes)
    x, t = inputs(8, 12)
    y = torch.tensor([0, 2]) if "num_classes" in changes else None
    out = network(x, t, y)
    assert out.shape == (2, 6, 8, 12)
    config = json.loads(json.dumps(network.config))
    assert {name: config[name] for name in {**SMALL, **changes}} == {**SMALL, **changes}
    again = load(network.state_dict(), config)
    assert type(again) is Adm
    assert again.config == network.config
    assert torch.equal(again(x, t, y), out)


@pytest.mark.parametrize(("dims", "sizes"), [(1, (16,)), (3, (3, 4, 6))])
@torch.no_grad()
def test_signals_and_volumes(dims: int, sizes: tuple[int, ...]) -> None:
    for updown in (False, True):
        network = build(dims=dims, resblock_updown=updown)
        x, t = inputs(*sizes)
        out = network(x, t)
        assert out.shape == (2, 6, *sizes)
        assert torch.equal(load(network.state_dict(), network.config)(x, t), out)


@torch.no_grad()
def test_heads_of_the_ascending_half() -> None:
    x, t = inputs(8, 8)
    options = {"num_head_channels": -1, "num_heads": 2}
    default, same, other = (build(**options, num_heads_upsample=n)(x, t) for n in (-1, 2, 4))
    assert torch.equal(default, same)
    assert not torch.allclose(default, other, atol=1e-3)


@torch.no_grad()
def test_the_attention_order_matters_with_several_heads() -> None:
    x, t = inputs(8, 8)
    legacy, new = (build(use_new_attention_order=order)(x, t) for order in (False, True))
    assert (legacy - new).abs().max() > 0.05


@torch.no_grad()
def test_each_picture_is_alone_in_its_batch() -> None:
    network = build()
    x, t = inputs(8, 8)
    both = network(x, t)
    assert_same(torch.cat([network(x[:1], t[:1]), network(x[1:], t[1:])]), both, 1e-5)


@torch.no_grad()
def test_odd_sizes_with_one_level_and_a_sentence_with_more() -> None:
    x, t = inputs(7, 9)
    assert build(channel_mult=[1], attention_resolutions=[1])(x, t).shape == (2, 6, 7, 9)
    with pytest.raises(BadInput, match="multiples of 2; 9x7 is not"):
        build()(x, t)
    assert build(channel_mult=[1, 1, 1], attention_resolutions=[])(*inputs(12, 20)).shape == (2, 6, 12, 20)
    with pytest.raises(BadInput, match="multiples of 4; 6x8 is not"):
        build(channel_mult=[1, 1, 1], attention_resolutions=[])(*inputs(8, 6))


def test_checkpointing_gives_the_same_gradients() -> None:
    x, t = inputs(8, 8)
    gradients = []
    for use_checkpoint in (False, True):
        network = build(use_checkpoint=use_checkpoint).train()
        noisy = x.clone().requires_grad_(True)
        network(noisy, t).square().sum().backward()
        gradients.append([noisy.grad, *(p.grad for p in network.parameters())])
    assert gradients[0][0].abs().max() > 0
    for plain, checkpointed in zip(*gradients, strict=True):
        assert torch.equal(plain, checkpointed)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.06), (torch.float16, 0.01)])
@torch.no_grad()
def test_a_half_precision_torso(dtype: torch.dtype, tolerance: float) -> None:
    x, t = inputs(8, 8)
    network = build()
    exact = network(x, t)
    network.cast_torso(dtype)
    assert network.torso_dtype == dtype
    assert network.out[2].weight.dtype == network.time_embed[0].weight.dtype == torch.float32
    out = network(x, t)
    assert out.dtype == torch.float32
    assert 0 < (out - exact).abs().max() / exact.abs().max() < tolerance


@torch.no_grad()
def test_use_fp16_and_wholly_converted_networks_run() -> None:
    x, t = inputs(8, 8)
    assert build(use_fp16=True).torso_dtype == torch.float16
    assert build(use_fp16=True)(x, t).dtype == torch.float32
    assert build().to(torch.bfloat16)(x.bfloat16(), t).dtype == torch.bfloat16
    double = build().double()(x.double(), t)
    assert double.dtype == torch.float64
    assert_same(build()(x, t), double, 2e-5)


def test_bfloat16_trains() -> None:
    x, t = inputs(8, 8)
    network = build().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(x, t).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@torch.no_grad()
def test_labels_matter() -> None:
    x, t = inputs(8, 8)
    network = build(num_classes=3)
    first, second = (network(x, t, torch.tensor(labels)) for labels in ([0, 1], [0, 2]))
    assert torch.equal(first[0], second[0])
    assert (first[1] - second[1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("y", "problem"),
    [
        (None, "draws by class; give labels, one whole number from 0 to 2"),
        (torch.tensor([0, 3]), "0 to 3 were given"),
        (torch.tensor([-1, 1]), "-1 to 1 were given"),
        (torch.tensor([0]), r"shape \(1,\)"),
        (torch.tensor([[0], [1]]), r"shape \(2, 1\)"),
        (torch.tensor([0.0, 1.0]), "float32"),
    ],
)
def test_wrong_labels_are_refused(y: Tensor | None, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        build(num_classes=3)(*inputs(8, 8), y)


def test_wrong_batches_are_refused() -> None:
    network = build()
    x, t = inputs(8, 8)
    with pytest.raises(BadInput, match="does not know classes"):
        network(x, t, torch.tensor([0, 1]))
    with pytest.raises(BadInput, match="3 channels"):
        network(x[:, :2], t)
    with pytest.raises(BadInput, match="2 dimensions"):
        network(x[0], t)


@pytest.mark.parametrize(
    "changes",
    [{"model_channels": 40}, {"num_head_channels": 24}, {"num_head_channels": -1, "num_heads": 3}, {"dims": 4}],
    ids=str,
)
def test_numbers_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Adm(**{**SMALL, **changes})


@torch.no_grad()
def test_the_upsampler_sees_the_small_picture() -> None:
    network = build(AdmSuperRes)
    x, t = inputs(8, 8)
    small = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    out = network(x, t, low_res=small)
    assert out.shape == (2, 6, 8, 8)
    assert not torch.allclose(out, network(x, t, low_res=-small), atol=1e-2)
    again = load(network.state_dict(), network.config)
    assert type(again) is AdmSuperRes
    assert torch.equal(again(x, t, low_res=small), out)
    with pytest.raises(BadInput, match="not none"):
        network(x, t)
    with pytest.raises(BadInput, match=r"not \(2, 1, 4, 4\)"):
        network(x, t, low_res=small[:, :1])
