"""The recipe of small autoencoders: pure batches, learning, figures, sheets, and the sampler it saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lienzo.autoencoders.latent_pictures import (
    decoded,
    encoded,
    interpolation,
    liveliest_axes,
    reconstructions,
    sampled,
    traversal,
)
from lienzo.autoencoders.vae import Vae
from lienzo.autoencoders.vae_objectives import KINDS
from lienzo.autoencoders.vae_recipe import VaeRecipe, VaeTraining
from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.state import trained

SIDE, BATCH = 8, 8


def bars(count: int = 48, colour: bool = False) -> DataSet:
    """A bright bar on black at one of eight heights."""
    images = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    for i, image in enumerate(images):
        image[i % SIDE] = (250, 120, 60) if colour else 250
    names = tuple(f"bar {i}" for i in range(count))
    return DataSet(images, names, labels=np.arange(count) % SIDE, label_names=tuple("abcdefgh"), fingerprint="f00d")


def recipe(kind: str = "vae", options: dict[str, Any] | None = None, colour: bool = False, **given: Any) -> VaeRecipe:
    config = {"latent": 4, "hidden": [32], **given.pop("config", {})}
    defaults = {"vq-vae": {"size": 8, "dim": 2}, "vamp": {"components": 5}}
    training = VaeTraining(kind, {**defaults.get(kind, {}), **(options or {})}, BATCH, **given)
    return VaeRecipe(bars(colour=colour), bars(12, colour), config, training)


def learned(made: VaeRecipe, steps: int, rate: float = 5e-3) -> Vae:
    """A short plain loop."""
    torch.manual_seed(0)
    model = made.build()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        batch = made.batch(step * BATCH, torch.Generator().manual_seed(step))
        loss = torch.stack(list(made.step(model, batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert isinstance(model, Vae)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_pure_batches_and_shows_itself(kind: str) -> None:
    made = recipe(kind)
    one, other = (made.batch(8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert one["x"].shape == (BATCH, 1, SIDE, SIDE)
    model = learned(made, 2)
    figures = made.evaluate(model)
    assert all(np.isfinite(value) for value in figures.values())
    assert "psnr[withheld,n=12]" in figures
    assert ("elbo[nats,mse,sigma=1,n=12]" in figures) == made.objective.variational
    sheet = made.samples(model)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (4 * (SIDE + 1) + 1, 12 * (SIDE + 1) + 1, 3)
    assert np.array_equal(sheet, made.samples(model))


@pytest.mark.parametrize(
    ("kind", "config"), [("ae", {}), ("vae", {"latent": 3}), ("vae", {"network": "conv", "width": 8}), ("vq-vae", {})]
)
def test_it_learns_to_reconstruct(kind: str, config: dict[str, Any]) -> None:
    made = recipe(kind, {"loss": "bce"}, config=config)
    before, after = (made.evaluate(learned(made, steps)) for steps in (0, 150))
    assert after["psnr[withheld,n=12]"] > before["psnr[withheld,n=12]"] + 5


def test_the_likelihood_bound_is_tighter_with_more_draws() -> None:
    made = recipe("vae", {"loss": "bce"})
    figures = made.evaluate(learned(made, 60))
    names = {name.partition("[")[0]: value for name, value in figures.items()}
    assert names["elbo"] == pytest.approx(-(names["reconstruction"] + names["kl"]), rel=1e-6)
    assert names["nll"] <= -names["elbo"]


def test_colours_get_three_channels_and_facts_are_plain() -> None:
    made = recipe(colour=True)
    assert made.config["input_shape"] == [3, SIDE, SIDE]
    assert made.facts()["objective"]["beta"] == 1.0
    assert made.batch(0, torch.Generator())["x"].amax() == pytest.approx(250 / 255)


@pytest.mark.parametrize("sampler", ["normal", "mixture", "flow", "vamp"])
def test_the_sampler_is_fitted_and_exported(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zuko" if sampler == "flow" else "sklearn")
    monkeypatch.setattr("lienzo.autoencoders.latent_samplers.FLOW_STEPS", 5)
    made = recipe("vamp" if sampler == "vamp" else "ae", sampler=sampler, components=3)
    model = learned(made, 5)
    exported = made.export(model)
    assert isinstance(exported, Vae)
    assert exported.prior is not None
    assert model.prior is None
    kind = "flow" if sampler == "flow" else "mixture"
    assert exported.config["prior"]["kind"] == kind
    again = Vae(**exported.config)
    again.load_state_dict(exported.state_dict())
    assert torch.equal(sampled(again.eval(), range(3)), sampled(exported.eval(), range(3)))
    assert not torch.equal(sampled(exported, [0]), sampled(model, [0]))


def test_the_vamp_sampler_needs_its_kind() -> None:
    with pytest.raises(BadInput, match="belongs to the kind vamp"):
        recipe("vae", sampler="vamp")


def test_a_run_resumes_where_it_stopped(tmp_path: Path) -> None:
    made = recipe("vq-vae")
    plan = Training(images=6 * BATCH, warmup=0, ema_half_lives=(BATCH,), save_seconds=1e-9)
    list(fit(made, plan, tmp_path / "whole"))
    events = fit(made, plan, tmp_path / "parts")
    for event in events:
        if getattr(event, "images_seen", 0) >= 2 * BATCH:
            break
    events.close()  # type: ignore[attr-defined]
    list(fit(made, plan, tmp_path / "parts"))
    one, other = (trained(made, tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_pictures_of_the_latent_space() -> None:
    made = recipe("ae", {"loss": "bce"}, config={"latent": 3})
    model = learned(made, 100)
    x = made.batch(0, torch.Generator())["x"]
    codes = encoded(model, x)
    assert torch.equal(reconstructions(model, x), decoded(model, codes))
    way = interpolation(model, codes[0], codes[1], 5)
    assert torch.allclose(way[[0, -1]], decoded(model, codes[:2]), atol=1e-6)
    rows = traversal(model, codes[0], [2, 0], 1.5, 3).unflatten(0, (2, 3))
    ends = codes[0].repeat(2, 1)
    ends[0, 2], ends[1, 0] = -1.5, 1.5
    assert torch.allclose(rows[[0, 1], [0, 2]], decoded(model, ends), atol=1e-6)
    with torch.no_grad():
        model.decoder.layers[0][0].weight[:, 1] = 0  # this number does nothing now
    assert liveliest_axes(model, codes[0], 3.0, 3)[-1] == 1
    assert len(liveliest_axes(model, codes[0], 3.0, 2)) == 2
