"""The recipes of classes: that they learn, repeat themselves exactly, and measure and show what they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.diffusion.class_denoisers import class_denoiser
from lienzo.diffusion.classcond_unet import ClassCondUnet
from lienzo.diffusion.classes_recipe import (
    ClassesRecipe,
    ClassTraining,
    DiTRecipe,
    NotebookRecipe,
    ShuffleRecipe,
    all_grey,
    draw,
    flow_times,
    spread_of,
)
from lienzo.diffusion.dit import DiT
from lienzo.diffusion.shuffle_unet import ShuffleUnet
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.state import trained

SIDE, BATCH, CLASSES = 8, 8, 3
KINDS: dict[str, tuple[type[ClassesRecipe], dict[str, Any]]] = {
    "shuffle": (ShuffleRecipe, {"widths": (16, 16), "depths": (1, 1), "head_width": 8, "condition": 16}),
    "dit": (DiTRecipe, {"patch_size": 2, "hidden_size": 16, "depth": 1, "num_heads": 1}),
    "notebook": (NotebookRecipe, {
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }),
}  # fmt: skip


def bars(count: int = 24, colour: bool = False, labelled: bool = True) -> DataSet:
    """A bright bar on black, whose row tells the class; grey unless `colour`."""
    images = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    for image, label in zip(images, labels):
        image[2 * label + 1] = (250, 120, 60) if colour else 250
    names = tuple(f"bar {i}" for i in range(count))
    kinds = tuple(f"kind {i}" for i in range(CLASSES)) if labelled else ()
    return DataSet(images, names, labels=labels if labelled else None, label_names=kinds, fingerprint="f00d")


def recipe(kind: str, data: DataSet | None = None, **training: Any) -> ClassesRecipe:
    made, config = KINDS[kind]
    return made(data or bars(), bars(6), config, ClassTraining(**{"batch_size": BATCH, **training}))


def learned(made: ClassesRecipe, steps: int, rate: float = 1e-2) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model = made.build()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    losses = []
    for step in range(steps):
        loss = made.step(model, made.batch(step * BATCH, torch.Generator().manual_seed(step)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_of_one_seed_are_equal_and_the_loss_falls(kind: str) -> None:
    made = recipe(kind)
    (one, losses), (other, _) = learned(made, 40), learned(made, 40)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert np.mean(losses[-8:]) < 0.6 * losses[0]
    figures = made.evaluate(one.eval())
    assert list(figures) == [f"loss[withheld,{made.objective},n=6]"]
    assert figures == made.evaluate(one)
    assert 0 < next(iter(figures.values())) < 0.8 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_a_finite_sheet_with_a_row_a_class(kind: str) -> None:
    made = recipe(kind)
    model = made.build().eval()
    sheet = made.samples(model)
    assert sheet.shape == (CLASSES * SIDE, 8 * SIDE, 3)
    assert sheet.dtype == np.uint8
    assert (sheet == sheet[..., :1]).all()  # grey pictures stay grey
    assert np.array_equal(sheet, made.samples(model))


def test_after_training_every_row_shows_its_class() -> None:
    made = recipe("shuffle", label_dropout=0.0, batch_size=BATCH)
    model, _ = learned(made, 250, 5e-3)
    y = torch.arange(CLASSES).repeat_interleave(4)
    x = draw(model.eval(), y, SIDE, range(len(y)), *made.sampler)
    assert (x.mean(dim=(1, 3)).argmax(1) == 2 * y + 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_ends_equal(kind: str, tmp_path: Path) -> None:
    made = recipe(kind)
    assert json.loads(json.dumps(made.facts())) == made.facts() | {"config": json.loads(json.dumps(made.config))}
    plan = Training(images=4 * BATCH, warmup=0, ema_half_lives=(8,), save_seconds=1e-9, look_images=10**9)
    list(fit(made, plan, tmp_path / "whole"))
    cut = fit(recipe(kind), plan, tmp_path / "cut")
    for event in cut:
        if type(event).__name__ == "Checkpoint" and event.images_seen == 2 * BATCH:
            cut.close()
    list(fit(recipe(kind), plan, tmp_path / "cut"))
    whole, resumed = (trained(made, tmp_path / name).state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_grey_pictures_are_learned_in_one_channel_and_coloured_ones_in_three() -> None:
    assert recipe("shuffle").config["channels"] == 1
    coloured = recipe("notebook", bars(colour=True))
    assert (coloured.config["in_channels"], coloured.config["out_channels"]) == (3, 3)
    assert coloured.batch(0, torch.Generator())["x0"].shape == (BATCH, 3, SIDE, SIDE)
    assert all_grey(bars().images)
    assert not all_grey(bars(colour=True).images)


def test_labels_are_those_of_the_pictures_and_some_are_hidden() -> None:
    made = recipe("dit", label_dropout=0.0)
    batch = made.batch(0, torch.Generator().manual_seed(0))
    assert (batch["x0"].mean(dim=(1, 3)).argmax(1) == 2 * batch["y"] + 1).all()
    hidden = recipe("dit", label_dropout=0.5, batch_size=200).batch(0, torch.Generator().manual_seed(0))["y"]
    assert 70 <= int((hidden == CLASSES).sum()) <= 130
    assert made.config["class_dropout_prob"] == 0
    assert recipe("notebook", label_dropout=0.0).config["null_class"] is False
    assert recipe("notebook", label_dropout=0.1).config["null_class"] is True


def test_every_timestep_is_learned_also_the_last() -> None:
    made = recipe("notebook")
    levels = made.level(torch.linspace(0, 1, 4001)[:-1])
    assert levels.unique().tolist() == list(range(1000))
    assert int(made.level(torch.tensor([1.0]))) == 999


def test_flow_times_are_logit_normal_with_uniform_ends() -> None:
    t = flow_times((torch.arange(100_000) + 0.5) / 100_000)
    logits = t[10_000:].logit()
    assert logits.mean().item() == pytest.approx(0, abs=0.01)
    assert logits.std().item() == pytest.approx(1, abs=0.01)
    assert t[:10_000].mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0.01 <= t.min() < t.max() <= 0.985


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_the_denoiser_agree_about_the_noise(kind: str) -> None:
    """A denoiser made of the network that was trained gives what the loss compares: one formula both ways."""
    made = recipe(kind)
    torch.manual_seed(0)
    model = made.build()
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.normal_(std=0.1)
    batch = made.batch(0, torch.Generator().manual_seed(0))
    x0, noise, level, y = batch["x0"], batch["noise"], made.level(batch["u"]), batch["y"]
    denoiser = class_denoiser(model)
    with torch.no_grad():
        losses = made.losses(model, x0, noise, level, y)
        sigma, weight = in_sigmas(made, denoiser, level)
        denoised = denoiser(x0 + sigma.view(-1, 1, 1, 1) * noise, sigma, y=y)
    assert torch.allclose(losses, weight * (denoised - x0).square().flatten(1).mean(1), rtol=1e-3)


def in_sigmas(made: ClassesRecipe, denoiser: Any, level: Tensor) -> tuple[Tensor, Tensor]:
    """Noise levels, and the weight that the recipe gives to the error of the clean picture there."""
    if isinstance(made, NotebookRecipe):
        sigma = denoiser.sigmas_for(level).float()
        return sigma, sigma**-2
    if isinstance(made, DiTRecipe):
        return level / (1 - level), level**-2
    data = made.config["sigma_data"]
    return level, (level**2 + data**2) / (level * data) ** 2


def test_which_denoiser_fits_which_network() -> None:
    kinds = [type(class_denoiser(network)).__name__ for network in (
        ShuffleUnet(widths=(8,), depths=(1,), head_width=8),
        ClassCondUnet(block_out_channels=(8, 8, 8), norm_num_groups=4, layers_per_block=1),
        DiT(input_size=4, hidden_size=8, depth=1, num_heads=1, objective="flow"),
        DiT(input_size=4, hidden_size=8, depth=1, num_heads=1),
    )]  # fmt: skip
    assert kinds == ["EDMDenoiser", "DiscreteDenoiser", "FlowDenoiser", "DiscreteDenoiser"]
    with pytest.raises(BadInput, match="Linear does not draw numbered classes"):
        class_denoiser(nn.Linear(1, 1))


def test_a_picture_is_the_same_alone_and_in_a_batch() -> None:
    made = recipe("shuffle")
    model, _ = learned(made, 5)
    y = torch.tensor([0, 1, 2])
    together = draw(model.eval(), y, SIDE, range(3), *made.sampler)
    alone = draw(model, y[1:2], SIDE, range(1, 2), *made.sampler)
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_pictures_without_classes_are_refused_and_a_flat_set_has_a_spread() -> None:
    with pytest.raises(BadInput, match="no classes"):
        recipe("shuffle", bars(labelled=False))
    assert spread_of(np.zeros((5, 4, 4, 3), np.uint8)) == 0.1
    nothing_held = ShuffleRecipe(bars(), bars(0), KINDS["shuffle"][1])
    assert nothing_held.evaluate(nothing_held.build()) == {}
