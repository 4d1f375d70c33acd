"""CLIP: reading sizes off shapes, foreign and broken weights, other image sizes, training."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from lienzo.clip.losses import contrastive_loss
from lienzo.clip.model import CLIP, at_resolution, detect, detect_text, load, load_text, read_config, resize_positions
from lienzo.core.errors import BadInput, BadWeights

TEXT = {"context_length": 9, "vocab_size": 40, "transformer_width": 64, "transformer_layers": 2}
VIT = {"embed_dim": 16, "image_resolution": 24, "vision_layers": 2, "vision_width": 64, "vision_patch_size": 8} | TEXT
RESNET = VIT | {"image_resolution": 64, "vision_layers": [2, 1, 1, 1], "vision_width": 8, "vision_patch_size": None}
KINDS = pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])


def make(config: dict, **more: object) -> CLIP:
    torch.manual_seed(0)
    return CLIP(**{**config, **more}).eval()


def batch(config: dict, n: int = 3) -> tuple[Tensor, Tensor]:
    size = config["image_resolution"]
    tokens = torch.randint(1, 38, (n, 9))
    tokens[:, 5], tokens[:, 6:] = 39, 0
    return torch.randn(n, 3, size, size), tokens


@KINDS
def test_archive_in_half_with_three_scalars(config: dict) -> None:
    model = make(config)
    archive = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    for name, value in (("input_resolution", config["image_resolution"]), ("context_length", 9), ("vocab_size", 40)):
        archive[name] = torch.tensor(value)
    assert detect(archive)
    read = load(archive)
    assert read.config == model.config | {
        "vision_mlp_width": None if config is RESNET else 256,
        "text_mlp_width": 256,
    }
    assert not read.training
    for key, value in read.state_dict().items():
        assert torch.equal(value, archive[key].to(value.dtype))
        assert value.dtype in (torch.float32, torch.int64)
    images, tokens = batch(config)
    with torch.no_grad():
        assert torch.allclose(read(images, tokens)[0], model(images, tokens)[0], atol=0.05)


@KINDS
def test_saved_config_round_trips(config: dict) -> None:
    more = {"transformer_heads": 4, "vision_heads": 2, "quick_gelu": False, "text_mlp_width": 50}
    if config is VIT:
        more |= {"vision_mlp_width": 70, "image_resolution": 30}
    model = make(config, **more)
    read = load(model.state_dict(), json.loads(json.dumps(model.config)))
    assert read.config == model.config
    images, tokens = batch(model.config)
    with torch.no_grad():
        assert torch.equal(read(images, tokens)[0], model(images, tokens)[0])


def test_load_copies() -> None:
    state = make(VIT).state_dict()
    model = load(state)
    with torch.no_grad():
        model.ln_final.bias.add_(1)
    assert state["ln_final.bias"].abs().max() == 0
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("option", ["transformer_heads", "vision_heads", "quick_gelu"])
def test_what_shapes_do_not_tell_changes_the_function(option: str) -> None:
    state = make(VIT).state_dict()
    images, tokens = batch(VIT)
    with torch.no_grad():
        plain = load(state)(images, tokens)[0]
        other = load(state, {option: False if option == "quick_gelu" else 4})(images, tokens)[0]
    assert (plain - other).abs().max() > 1e-5


def test_open_clip_heads_are_known() -> None:
    with torch.device("meta"):
        model = CLIP(**(VIT | {"vision_width": 1280, "vision_layers": 1, "vision_heads": 16}))
    assert load(model.state_dict()).config["vision_heads"] == 16
    assert load(model.state_dict(), {"vision_heads": 20}).config["vision_heads"] == 20


@KINDS
def test_broken_weights_are_named(config: dict) -> None:
    state = make(config).state_dict()
    with pytest.raises(BadWeights, match=r"lack transformer\.resblocks\.1\.ln_2\.bias"):
        load({k: v for k, v in state.items() if k != "transformer.resblocks.1.ln_2.bias"})
    with pytest.raises(BadWeights, match="no CLIP: they lack 'text_projection'"):
        load({k: v for k, v in state.items() if k != "text_projection"})
    with pytest.raises(BadWeights, match=r"unknown visual\.extra"):
        load(state | {"visual.extra": torch.zeros(2)})
    with pytest.raises(BadWeights, match=r"wrong shape for ln_final\.bias"):
        load(state | {"ln_final.bias": torch.zeros(3)})
    with pytest.raises(BadWeights, match="unknown value 'depth'"):
        load(state, {"depth": 3})
    with pytest.raises(BadWeights, match="embed_dim = 17, but the weights have 16"):
        load(state, {"embed_dim": 17})
    with pytest.raises(BadWeights, match="no sensible value"):
        load(state, {"vision_heads": "8"})
    with pytest.raises(BadInput, match="cannot be divided among 7 heads"):
        load(state, {"vision_heads": 7})
    with pytest.raises(BadWeights, match="images of 96 pixels"):
        load(state, {"image_resolution": 96})


def test_a_hostile_index_costs_nothing() -> None:
    state = make(VIT).state_dict()
    with pytest.raises(BadWeights, match="lack"):
        load(state | {"transformer.resblocks.999999999999.ln_1.bias": torch.zeros(64)})
    with pytest.raises(BadWeights):
        load(state | {"visual.positional_embedding": torch.zeros(12, 64)})
    with pytest.raises(BadWeights, match="impossible shape"):
        load(state | {"visual.conv1.weight": torch.zeros(64)})


def test_counters_may_be_missing() -> None:
    state = make(RESNET).state_dict()
    model = load({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    assert model.visual.bn1.num_batches_tracked == 0  # type: ignore[union-attr]


def test_detect() -> None:
    vit, resnet = make(VIT).state_dict(), make(RESNET).state_dict()
    assert detect(vit)
    assert detect(resnet)
    assert detect_text(vit)
    text = {k: v for k, v in vit.items() if not k.startswith("visual.") and k != "logit_scale"}
    assert detect_text(text)
    assert not detect(text)
    assert not detect({})
    assert not detect_text({"conv1.weight": torch.zeros(1)})


def test_text_tower_of_a_clip() -> None:
    model = make(VIT, transformer_heads=4, quick_gelu=False)
    tower = load_text(model.state_dict(), model.config)
    _, tokens = batch(VIT)
    assert set(tower.state_dict()) == {
        k for k in model.state_dict() if not k.startswith("visual.") and k != "logit_scale"
    }
    with torch.no_grad():
        assert torch.equal(tower.encode_text(tokens), model.encode_text(tokens))


@KINDS
def test_image_of_another_size_is_refused(config: dict) -> None:
    size = config["image_resolution"]
    with pytest.raises(BadInput, match=rf"reads {size} x {size} pixels"):
        make(config).encode_image(torch.zeros(1, 3, 2 * size, 2 * size))


@KINDS
def test_another_resolution(config: dict) -> None:
    model = make(config)
    same = at_resolution(model, config["image_resolution"])
    images, tokens = batch(config)
    with torch.no_grad():
        assert torch.equal(same(images, tokens)[0], model(images, tokens)[0])
        larger = at_resolution(model, 128)
        assert larger.config["image_resolution"] == 128
        assert larger.encode_image(torch.randn(2, 3, 128, 128)).shape == (2, 16)
        assert torch.equal(larger.encode_text(tokens), model.encode_text(tokens))
    assert model.config["image_resolution"] == config["image_resolution"]
    with pytest.raises(BadInput, match="smaller than one patch"):
        at_resolution(model, 4)


def test_resize_positions_is_a_resize() -> None:
    ramp = torch.linspace(0, 1, 8).repeat(8, 1).reshape(64, 1)
    positions = torch.cat([torch.full((1, 1), 7.0), ramp])
    larger = resize_positions(positions, 16)
    assert larger.shape == (257, 1)
    assert larger[0] == 7
    grid = larger[1:].view(16, 16)
    assert torch.allclose(grid, grid[:1].expand(16, 16))
    assert (grid[0].diff() > 0).all()
    assert torch.equal(resize_positions(positions, 8), positions)


def test_read_config_of_meta_tensors() -> None:
    with torch.device("meta"):
        state = CLIP(**VIT).state_dict()
    assert {key: value for key, value in read_config(state).items() if key in VIT} == VIT


@KINDS
def test_it_learns(config: dict) -> None:
    model = make(config).train()
    images, tokens = batch(config, 6)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_half_precision_model_runs() -> None:
    model = make(VIT).to(torch.bfloat16)
    images, tokens = batch(VIT)
    assert model(images, tokens)[0].dtype is torch.bfloat16


def test_a_vision_transformer_needs_a_patch_size() -> None:
    with pytest.raises(BadInput, match="patch size"):
        make(VIT, vision_patch_size=None)
    with pytest.raises(BadInput, match="does not fit"):
        make(VIT, vision_patch_size=25)
