"""LPIPS from the users' files and its options. That its figures are right is proven by the golden file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny_models
from torch import Tensor
from torch.nn import functional as F

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.lpips import LPIPS, detect, feature_distance, load, lpips, open_lpips
from lienzo.metrics.nets.lpips_backbones import ENDS, SMALLEST
from lienzo.metrics.protocol import Protocol
from lienzo.weights.models import load_model, save_model

NETS = sorted(ENDS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path))
    save_tiny_models(tmp_path)
    return tmp_path


def network(net: str, **options: object) -> LPIPS:
    torch.manual_seed(0)
    model = LPIPS(net=net, **options).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.startswith("lin"):
            parameter.abs_()
    return model


def pair(side: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, side, side + 3, generator=generator), torch.rand(2, 3, side, side + 3, generator=generator)


def torchvision(model: LPIPS) -> dict[str, Tensor]:
    """The backbone's tensors under torchvision's names, with a classifier."""
    state = model.net.state_dict()
    return {"features." + key.split(".", 1)[1]: value for key, value in state.items()} | {
        "classifier.1.weight": torch.zeros(3, 3)
    }


def heads(model: LPIPS) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if key.startswith("lin")}


@pytest.mark.parametrize("net", NETS)
def test_two_files_make_one_measure(net: str, tmp_path: Path) -> None:
    model, (x, y) = network(net), pair()
    torch.save(torchvision(model), tmp_path / "backbone.pth")
    torch.save(heads(model), tmp_path / "heads.pth")
    found = open_lpips(net, tmp_path / "backbone.pth", tmp_path / "heads.pth")
    assert found.config == {"net": net, "version": "0.1", "linear": True, "spatial": False}
    assert torch.equal(found(x, y), model(x, y))
    assert not any(parameter.requires_grad for parameter in found.parameters())


@pytest.mark.parametrize("net", NETS)
def test_one_file_of_either_kind(net: str, tmp_path: Path) -> None:
    model, (x, y) = network(net), pair()
    state = model.state_dict()
    assert detect(state)
    twice = state | {key.replace("lin", "lins.", 1): value for key, value in heads(model).items()}
    torch.save(twice, tmp_path / "whole.pth")
    without_dropout = {key.replace("model.1", "model.0"): value for key, value in state.items()}
    save_model(tmp_path / "ours.safetensors", "lpips", model.config, state, {"title": "t", "licence": "CC0-1.0"})
    for found in (load_model(tmp_path / "whole.pth"), load(without_dropout), load_model(tmp_path / "ours.safetensors")):
        assert isinstance(found, LPIPS)
        assert torch.equal(found(x, y), model(x, y))


@pytest.mark.parametrize("net", NETS)
def test_a_distance(net: str) -> None:
    model, (x, y) = network(net), pair()
    value = lpips(model, x, y)
    assert value.shape == (2,)
    assert (value > 0).all()
    torch.testing.assert_close(lpips(model, y, x), value)
    assert lpips(model, x, x).tolist() == [0, 0]
    torch.testing.assert_close(torch.stack(model.layers(2 * x - 1, 2 * y - 1)).sum(0).flatten(), value)
    near = lpips(model, x, x + 0.1 * (y - x))
    assert (near < value).all()


def test_versions_differ_in_the_scaling_of_the_input() -> None:
    x, y = pair()
    new, old = network("alex"), network("alex", version="0.0")
    old.load_state_dict(new.state_dict())
    scaled = [(z - new.scaling_layer.shift) / new.scaling_layer.scale for z in (x, y)]
    torch.testing.assert_close(new(x, y), old(*scaled))
    assert (new(x, y) - old(x, y)).abs().max() > 1e-4


def test_without_heads_all_channels_count_alike(tmp_path: Path) -> None:
    model, (x, y) = network("vgg", linear=False), pair()
    assert not heads(model)
    maps = [model.net(model.scaling_layer(z)) for z in (x, y)]
    cosines = [F.cosine_similarity(a, b, dim=1).mean((1, 2)) for a, b in zip(*maps)]
    torch.testing.assert_close(model(x, y).flatten(), sum(2 - 2 * c for c in cosines), rtol=1e-4, atol=1e-5)
    torch.save(torchvision(model), tmp_path / "vgg16.pth")
    assert torch.equal(open_lpips("vgg", tmp_path / "vgg16.pth", None)(x, y), model(x, y))


def test_a_map_of_the_pictures_size() -> None:
    (x, y), plain, spatial = pair(), network("alex"), network("alex", spatial=True)
    y[..., :20] = x[..., :20]  # the left half is the same
    parts = spatial.layers(x, y)
    assert {tuple(part.shape) for part in parts} == {(2, 1, 40, 43)}
    whole = spatial(x, y)
    assert whole[..., :8].mean() < 0.3 * whole[..., -8:].mean()
    assert lpips(spatial, x, y).tolist() == pytest.approx(lpips(plain, x, y).tolist(), rel=0.5)


@pytest.mark.parametrize("net", NETS)
def test_gradients(net: str) -> None:
    model, (x, y) = network(net), pair()
    x.requires_grad_()
    value = lpips(model, x, y)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.isfinite().all()
    assert (lpips(model, x - 0.02 * gradient / gradient.abs().max(), y) < value).all()
    for same in (x.detach().clone(), torch.zeros_like(x)):
        (none,) = torch.autograd.grad(lpips(model, same.requires_grad_(), same.detach()).sum(), same)
        assert none.isfinite().all()


@pytest.mark.parametrize("net", NETS)
def test_the_smallest_pictures(net: str) -> None:
    model, side = network(net), SMALLEST[net]
    x = torch.rand(1, 3, side, side)
    assert model(x, 1 - x).isfinite().all()
    with pytest.raises(BadInput, match=rf"LPIPS with {net} needs pictures of at least {side} pixels a side; these"):
        model(x[..., 1:], x[..., 1:])


def test_wrong_input(tmp_path: Path) -> None:
    model = network("alex")
    with pytest.raises(BadInput, match="no LPIPS network 'resnet'; choose alex, vgg or squeeze"):
        LPIPS(net="resnet")
    with pytest.raises(BadInput, match="no LPIPS network 'resnet'"):
        open_lpips("resnet", "a.pth", None)
    with pytest.raises(BadInput, match=r"no LPIPS version '0\.2'"):
        LPIPS(version="0.2")
    with pytest.raises(BadInput, match=r"RGB pictures \(B, 3, H, W\); these are \(1, 1, 64, 64\)"):
        model(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    with pytest.raises(BadInput, match="one shape"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 65))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(BadWeights, match="not those of torchvision's alex: they have no 'features'"):
        open_lpips("alex", tmp_path / "resnet.pth", None)
    torch.save(torchvision(model), tmp_path / "alex.pth")
    torch.save(heads(network("vgg")), tmp_path / "heads.pth")
    with pytest.raises(BadWeights, match=r"not those of LPIPS with alex: 'lin1.model.1.weight' has shape"):
        open_lpips("alex", tmp_path / "alex.pth", tmp_path / "heads.pth")
    with pytest.raises(BadWeights, match=r"not those of LPIPS with vgg: .* missing"):
        open_lpips("vgg", tmp_path / "alex.pth", tmp_path / "heads.pth")
    with pytest.raises(BadWeights, match=r"no LPIPS: they lack 'net\.slice1\.0\.weight'"):
        load(heads(model))


def test_feature_distance_is_named_as_what_it_is() -> None:
    distance, (x, y) = feature_distance("guide"), pair(16)
    assert distance.name == "lpips-like[net=guide]"
    assert Protocol.parse(distance.name)["net"] == "guide"
    assert feature_distance("judge").name == "lpips-like[net=judge]"
    value = distance(x, y)
    assert value.shape == (2,)
    assert ((value > 0) & (value <= 4)).all()
    assert distance(x, x).tolist() == [0, 0]
    torch.testing.assert_close(value, torch.stack(distance.layers(x, y)).mean(0))
    assert (distance(x, x + 0.1 * (y - x)) < value).all()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(distance(x, y).sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_feature_distance_refuses() -> None:
    with pytest.raises(BadInput, match="compact kind"):
        feature_distance("upscaler")
    distance = feature_distance("guide")
    with pytest.raises(BadInput, match=r"RGB pictures \(B, 3, H, W\)"):
        distance(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    with pytest.raises(BadInput, match="one shape"):
        distance(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))
