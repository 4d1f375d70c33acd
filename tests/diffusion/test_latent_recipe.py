"""Latent diffusion: every objective learns, conditions reach the network, latents are cached, runs resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.stage_recipe import stage_config
from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.events import Progress
from lienzo.data.sets import DataSet
from lienzo.diffusion.latent_painter import LatentDenoiser, LatentPainter, detect, joined, latent_denoiser, load
from lienzo.diffusion.latent_recipe import (
    LatentRecipe,
    LatentTraining,
    Scaled,
    Texts,
    cached_latents,
    hint_of_mask,
    measured_scale,
    random_masks,
)

SMALL: dict[str, Any] = {"width": 32, "depth": 1, "multiples": [1], "heads": 2}


def stage() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(**stage_config("kl", 4, 3, resolution=16)).eval()


def pictures(count: int = 10) -> DataSet:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    names = tuple(map(str, range(count)))
    return DataSet(images, names, labels=np.arange(count) % 2, label_names=("disc", "square"), fingerprint="noise")


def recipe(condition: str = "none", objective: str = "flow", architecture: str = "unet", **more: Any) -> LatentRecipe:
    """Latents that are the class: -1 for a disc, 1 for a square."""
    data, held = pictures(), pictures(4)
    latents = [
        (each.labels * 2.0 - 1)[:, None, None, None] * np.ones((1, 3, 4, 4), np.float32) for each in (data, held)
    ]
    vectors = np.array([[[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]], np.float32)
    texts = tuple(
        Texts(vectors, [np.array([y]) for y in each.labels], {"encoder": "x"}, ["disc"]) for each in (data, held)
    )
    config = {**SMALL, "condition": condition, "objective": objective, "architecture": architecture}
    training = LatentTraining(batch_size=8, **{k: v for k, v in more.items() if k != "hint"})
    config |= {k: v for k, v in more.items() if k == "hint"}
    return LatentRecipe(
        data, held, (latents[0], latents[1]), stage(), config, training, texts if condition == "text" else None
    )


def trained(made: LatentRecipe, steps: int, model: Any = None, optimizer: Any = None, first: int = 0) -> Any:
    torch.manual_seed(0)
    model = made.build() if model is None else model
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), 2e-3)
    found = []
    for i in range(first, first + steps):
        loss = made.step(model, made.batch(8 * i, torch.Generator().manual_seed(i)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return model, optimizer, found


@pytest.mark.parametrize(
    ("objective", "architecture"), [("flow", "unet"), ("eps", "unet"), ("v", "unet"), ("flow", "dit")]
)
def test_every_objective_learns_and_draws_the_class(objective: str, architecture: str) -> None:
    made = recipe("class", objective, architecture)
    model, _, found = trained(made, 50)
    assert np.mean(found[-10:]) < 0.7 * np.mean(found[:5])
    denoise = latent_denoiser(model.eval(), objective)
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        guess = denoise(5.0 * noise, torch.full((2,), 5.0), y=torch.tensor([0, 1])).mean((1, 2, 3))
    assert guess[1] - guess[0] > 0.3


@pytest.mark.parametrize("condition", ["none", "class", "text", "picture"])
@pytest.mark.parametrize("architecture", ["unet", "dit"])
def test_every_condition_trains_measures_shows_and_is_saved(condition: str, architecture: str) -> None:
    made = recipe(condition, architecture=architecture)
    model, _, found = trained(made, 2)
    assert np.isfinite(found).all()
    assert made.evaluate(model) == made.evaluate(model)
    assert made.samples(model).dtype == np.uint8
    saved = made.export(model)
    assert detect(saved.state_dict())
    again = load(saved.state_dict(), saved.config)
    batch = made.batch(0, torch.Generator().manual_seed(0))
    told = {name: batch[name] for name in ("text", "keep", "y", "picture") if name in batch}
    assert torch.equal(again(batch["x0"], batch["t"], **told), model.eval()(batch["x0"], batch["t"], **told))


def test_a_hidden_text_is_not_read() -> None:
    made = recipe("text")
    model, _, _ = trained(made, 3)
    x, t, hidden = torch.randn(1, 3, 4, 4), torch.tensor([0.5]), torch.tensor([False])
    with torch.no_grad():
        one, other = (model(x, t, text=torch.full((1, 1, 3), v), keep=hidden) for v in (0.0, 5.0))
        seen = model(x, t, text=torch.full((1, 1, 3), 5.0), keep=~hidden)
    assert torch.equal(one, other)
    assert not torch.allclose(one, seen)


def test_half_of_the_labels_are_hidden() -> None:
    y = torch.cat([recipe("class", dropout=0.5).batch(8 * i, torch.Generator().manual_seed(i))["y"] for i in range(20)])
    assert 0.35 < (y == 2).float().mean() < 0.65


def test_min_snr_weights() -> None:
    kept = torch.tensor([0.5, 0.99])  # signal-to-noise 1 and 99
    assert recipe(objective="eps", min_snr=5.0)._weights(kept).tolist() == pytest.approx([1.0, 5 / 99], rel=1e-4)
    assert recipe(objective="v", min_snr=5.0)._weights(kept).tolist() == pytest.approx([0.5, 5 / 100], rel=1e-4)


def test_two_steps_resumed_equal_four() -> None:
    whole, _, _ = trained(recipe("class"), 4)
    half, optimizer, _ = trained(recipe("class"), 2)
    half, _, _ = trained(recipe("class"), 2, half, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), half.parameters(), strict=True))


def test_latents_are_encoded_once(tmp_path: Path) -> None:
    data, net = pictures(20), stage()
    net.rescale(2.0)
    events = list(cached_latents(net, data.images, "a", tmp_path, torch.device("cpu")))
    assert [type(event) for event in events[:-1]] == [Progress, Progress]
    again = list(cached_latents(net, data.images, "a", tmp_path, torch.device("cpu")))
    assert len(again) == 1
    assert len(list(tmp_path.glob("latents-*.npy"))) == 1
    stored = again[0]
    assert isinstance(stored, np.memmap)
    x = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        wanted = net.encode(x).numpy()
    read = Scaled(stored, net.scale_factor)[np.arange(20)]
    assert np.allclose(read, wanted, rtol=2e-3, atol=2e-3)
    assert (np.asarray(stored, np.float32) * measured_scale(stored)).std() == pytest.approx(1, rel=1e-2)
    list(cached_latents(net, data.images, "b", tmp_path, torch.device("cpu")))
    assert len(list(tmp_path.glob("latents-*.npy"))) == 2


def test_masks_cover_something_and_hide_it() -> None:
    masks = random_masks(200, 16, torch.Generator().manual_seed(0))
    share = masks.mean((1, 2, 3))
    assert masks.unique().tolist() == [0.0, 1.0]
    assert share.min() >= 1 / 17
    assert (share == 1).any()
    net, x = stage(), torch.rand(1, 3, 16, 16)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    changed = torch.where(mask > 0, 1 - x, x)
    assert torch.equal(hint_of_mask(net, x, mask), hint_of_mask(net, changed, mask))


def test_wrong_conditions_are_named() -> None:
    model = LatentDenoiser(channels=3, side=4, **SMALL)
    with pytest.raises(BadInput, match="takes no class"):
        model(torch.zeros(1, 3, 4, 4), torch.zeros(1), y=torch.zeros(1, dtype=torch.long))
    with pytest.raises(BadInput, match="one of flow, eps, v"):
        LatentDenoiser(channels=3, side=4, objective="x", **SMALL)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="text_width"):
        LatentDenoiser(channels=3, side=4, condition="text", **SMALL)
    saved = joined(stage(), model, 16)
    assert isinstance(saved, LatentPainter)
    with pytest.raises(BadWeights, match="a latent painter"):
        load({k: v for k, v in saved.state_dict().items() if "conv_out" not in k}, saved.config)
