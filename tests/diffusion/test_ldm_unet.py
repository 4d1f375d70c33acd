"""The U-Net of latent diffusion: its options, what shapes tell, and sentences for what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.ldm_shapes import PREFIX
from lienzo.diffusion.ldm_unet import LdmUnet, detect, load

SMALL: dict[str, Any] = {
    "image_size": 32, "in_channels": 4, "model_channels": 32, "out_channels": 4, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_heads": 4, "use_spatial_transformer": True,
    "context_dim": 24, "legacy": False,
}  # fmt: skip
PLAIN: dict[str, Any] = {**SMALL, "use_spatial_transformer": False, "context_dim": None}


def network(config: dict[str, Any]) -> LdmUnet:
    torch.manual_seed(0)
    model = LdmUnet(**config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.normal_(std=0.1)
    return model


def batch(model: LdmUnet, channels: int | None = None) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    given = {
        "x": torch.randn(2, channels or model.in_channels, *[8] * model.dims, generator=g),
        "timesteps": torch.tensor([3.0, 700.5]),
    }
    if model.context_dim is not None:
        given["context"] = torch.randn(2, 5, model.context_dim, generator=g)
    if isinstance(model.num_classes, int):
        given["y"] = torch.tensor([0, 4])
    elif model.num_classes is not None:
        width = 1 if model.num_classes == "continuous" else model.adm_in_channels
        given["y"] = torch.randn(2, width or 0, generator=g)
    return given


OPTIONS: dict[str, dict[str, Any]] = {
    "stable diffusion 2": {"use_linear_in_transformer": True},
    "inpainting": {"in_channels": 9},
    "deep transformers": {"transformer_depth": 2},
    "depth by level": {"transformer_depth": [0, 3], "channel_mult": [1, 2]},
    "blocks by level": {"num_res_blocks": [1, 2], "attention_resolutions": [1, 2]},
    "some blocks attend": {"num_res_blocks": 2, "num_attention_blocks": [0, 1]},
    "updown": {"resblock_updown": True},
    "pooling": {"conv_resample": False},
    "scale and shift": {"use_scale_shift_norm": True},
    "classes": {"num_classes": 5},
    "a number": {"num_classes": "continuous"},
    "a vector": {"num_classes": "sequential", "adm_in_channels": 6},
    "codes": {"n_embed": 7},
    "no self-attention": {"disable_self_attentions": [False, True], "disable_middle_self_attn": True},
    "one level": {"channel_mult": [1], "attention_resolutions": [1]},
    "three levels": {"channel_mult": [1, 2, 3], "attention_resolutions": [4, 1]},
    "no attention outside the middle": {"attention_resolutions": []},
    "plain": {"use_spatial_transformer": False, "context_dim": None},
    "plain legacy": {"use_spatial_transformer": False, "context_dim": None, "legacy": True, "num_classes": 5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_shapes_tell_the_options(name: str) -> None:
    """A network is read back from its weights alone (but for its heads), in a whole checkpoint too."""
    model = network({**SMALL, **OPTIONS[name]})
    state = {PREFIX + key: value for key, value in model.state_dict().items()}
    assert detect(state)
    again = load(state | {"first_stage_model.x": torch.zeros(1)}, {"num_heads": 4})
    given = batch(model)
    out = model(**given)
    assert out.shape == (2, 7 if "codes" in name else 4, 8, 8)
    assert torch.equal(again(**given), out)
    bare = {key.removeprefix(PREFIX): value for key, value in state.items()}
    assert torch.equal(load(bare, {"num_heads": 4})(**given), out)
    # a plain one without its prefix could as well be an ADM U-Net
    assert detect(bare) == ("plain" not in name)


def test_every_input_matters() -> None:
    model = network({**SMALL, "num_classes": 5, "attention_resolutions": [1, 2]})
    given = batch(model)
    out = model(**given)
    for name, value in given.items():
        other = {**given, name: torch.tensor([1, 3]) if name == "y" else value + 1}
        assert (model(**other) - out).abs().max() > 1e-4, name


def test_with_plain_attention_it_is_the_network_of_adm() -> None:
    config = {**PLAIN, "num_classes": 5, "num_head_channels": 16, "num_heads": -1}
    model = network(config)
    names = ("use_spatial_transformer", "context_dim", "legacy")
    adm = Adm(**{key: value for key, value in config.items() if key not in names}).eval()
    adm.load_state_dict(model.state_dict())
    given = batch(model)
    assert torch.allclose(model(**given), adm(**given), atol=1e-6)


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions(dims: int) -> None:
    model = network({**PLAIN, "dims": dims})
    given = batch(model)
    out = model(**given)
    assert out.shape == given["x"].shape
    assert load(model.state_dict(), {"num_heads": 4})(**given).equal(out)


def test_heads_that_do_not_divide_the_channels() -> None:
    """Six heads of 5 channels over 32: the tokens are 30 wide, as in the original."""
    model = network({**SMALL, "num_heads": 6, "attention_resolutions": [1], "channel_mult": [1]})
    assert model.state_dict()["middle_block.1.proj_in.weight"].shape[:2] == (30, 32)
    given = batch(model)
    assert load(model.state_dict(), {"num_heads": 6})(**given).equal(model(**given))


def test_heads_upsample_counts_in_legacy_plain_attention_only() -> None:
    def heads(model: nn.Module) -> set[int]:
        return {module.heads for module in model.modules() if hasattr(module, "heads")}

    assert heads(network({**PLAIN, "legacy": True, "num_heads_upsample": 2})) == {2, 4}
    assert heads(network({**PLAIN, "legacy": False, "num_heads_upsample": 2})) == {4}


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({"num_heads": 8, "context_dim": 768}, {"num_heads": 8}),  # Stable Diffusion 1
        ({"num_head_channels": 64, "context_dim": 1024, "use_linear_in_transformer": True}, {"num_head_channels": 64}),
        ({"num_heads": 8, "model_channels": 256, "use_linear_in_transformer": True}, {"num_heads": 8}),  # x4 upscaler
        ({"num_head_channels": 32, "model_channels": 256, "channel_mult": [1, 2, 4]}, {"num_head_channels": 32}),
        ({"num_head_channels": 32, "model_channels": 224, "use_spatial_transformer": False, "context_dim": None},
         {"num_head_channels": 32}),  # the LDM of faces
    ],
)  # fmt: skip
def test_heads_of_the_public_files(options: dict[str, Any], heads: dict[str, int]) -> None:
    config = {**SMALL, "model_channels": 320, "channel_mult": [1, 2, 4, 4], "num_heads": -1, **options}
    with torch.device("meta"):
        state = LdmUnet(**config).state_dict()
    found = load({PREFIX + key: value for key, value in state.items()}).config
    wanted = {"num_heads": -1, "num_head_channels": -1, **heads}
    assert {name: found[name] for name in wanted} == wanted


def test_channels_beside_the_latents() -> None:
    model = network({**SMALL, "in_channels": 9})
    given = batch(model, 4)
    concat = torch.rand(2, 5, 8, 8)
    whole = {**given, "x": torch.cat([given["x"], concat], dim=1)}
    assert torch.equal(model(**given, concat=concat), model(**whole))
    with pytest.raises(BadInput, match="9 channels"):
        model(**given)


def test_layouts_and_dtypes() -> None:
    model = network(SMALL)
    given = batch(model)
    out = model(**given)
    assert torch.allclose(model.to(memory_format=torch.channels_last)(**given), out, atol=1e-5)
    model.cast_torso(torch.bfloat16)
    half = model(**given)
    assert model.out[2].weight.dtype == torch.float32
    assert half.dtype == torch.float32
    assert 0 < (half - out).abs().max() < 0.1 * out.abs().max()
    assert torch.equal(model(**given), half)


def test_checkpointing_changes_no_gradient() -> None:
    given = batch(network(SMALL))
    gradients = []
    for use_checkpoint in (False, True):
        model = network({**SMALL, "use_checkpoint": use_checkpoint}).requires_grad_(True)
        model(**given).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_heads": -1}, "num_heads or num_head_channels"),
        ({"context_dim": None}, "context_dim"),
        ({"use_spatial_transformer": False}, "context_dim"),
        ({"dims": 1}, "2 dimensions"),
        ({"channel_mult": [2, 4]}, "should be 1"),
        ({"num_heads": 500}, "attention heads"),
        ({"num_res_blocks": [1, 1, 1]}, "num_res_blocks has 3 values for 2 levels"),
        ({"num_classes": "many"}, "sequential"),
        ({"model_channels": 40}, "32"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        LdmUnet(**{**SMALL, **options})


def test_inputs_that_do_not_fit() -> None:
    model = network(SMALL)
    given = batch(model)
    for change, sentence in (
        ({"x": torch.zeros(2, 3, 8, 8)}, "4 channels"),
        ({"x": torch.zeros(2, 4, 8, 7)}, "7x8"),
        ({"context": None}, r"\(2, tokens, 24\), not none"),
        ({"context": torch.zeros(2, 5, 23)}, r"\(2, 5, 23\)"),
        ({"context": torch.zeros(1, 5, 24)}, r"\(1, 5, 24\)"),
        ({"y": torch.tensor([0, 1])}, "does not know classes"),
    ):
        with pytest.raises(BadInput, match=sentence):
            model(**{**given, **change})
    with pytest.raises(BadInput, match="no text"):
        network(PLAIN)(**given)
    vector = network({**SMALL, "num_classes": "sequential", "adm_in_channels": 6})
    with pytest.raises(BadInput, match=r"\(2, 6\), not none"):
        vector(**given)


def test_weights_that_do_not_fit() -> None:
    state = network(SMALL).state_dict()
    missing = {key: value for key, value in state.items() if key != "middle_block.1.norm.bias"}
    with pytest.raises(BadWeights, match=r"'middle_block.1.norm.bias' is missing"):
        load(missing)
    with pytest.raises(BadWeights, match="'extra' is unexpected"):
        load({**state, "extra": torch.zeros(1)})
    with pytest.raises(BadWeights, match="'channel'"):
        load(state, {"channel": 3})
    with pytest.raises(BadWeights, match="no latent diffusion U-Net"):
        load(state, {"num_heads": 4, "channel_mult": [1, 2, 3]})
    with pytest.raises(BadWeights, match="no even levels"):
        load({key: value for key, value in state.items() if not key.startswith("output_blocks.3.")})
    with pytest.raises(BadWeights, match="is missing"):
        load({"x": torch.zeros(1)})
    assert not detect({"x": torch.zeros(1)})
    assert not detect({key: value for key, value in state.items() if key != "out.2.weight"})
