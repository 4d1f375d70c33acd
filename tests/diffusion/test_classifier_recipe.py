"""The recipe of the noisy classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.classifier_recipe import ClassifierRecipe, ClassifierTraining, bordered

SIDE, CLASSES = 16, 6
CONFIG: dict[str, Any] = {
    "image_size": SIDE, "in_channels": 3, "model_channels": 32, "out_channels": 0, "num_res_blocks": 1,
    "attention_resolutions": (2,), "channel_mult": (1, 1), "num_head_channels": 32, "pool": "attention",
    "use_scale_shift_norm": True,
}  # fmt: skip
COSINE = DiffusionSettings("cosine", 40, learn_sigma=False, rescale_timesteps=True)


def coloured(count: int = 24) -> DataSet:
    """Plain pictures, the class of each its colour."""
    labels = np.arange(count, dtype=np.int64) % CLASSES
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 255, 255]], np.uint8)
    colours = corners[:, None, None]
    images = np.broadcast_to(colours[labels], (count, SIDE, SIDE, 3)).copy()
    images[:, ::4] = rng.integers(0, 256, (count, SIDE // 4, SIDE, 3), np.uint8)
    names = tuple(f"picture {i}" for i in range(count))
    kinds = tuple(f"colour {i}" for i in range(CLASSES))
    return DataSet(images, names, labels=labels, label_names=kinds, fingerprint="beef")


def recipe(held: int = 12, **training: Any) -> ClassifierRecipe:
    withheld = coloured().select(range(held))
    return ClassifierRecipe(coloured(), withheld, CONFIG, COSINE, ClassifierTraining(**{"batch_size": 6, **training}))


def trained(made: ClassifierRecipe, steps: int) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model, losses = made.build().train(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = made.batch(made.batch_size * step, torch.Generator().manual_seed(step))
        loss = made.step(model, batch)["cross_entropy"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def test_equal_seeds_give_equal_weights() -> None:
    (a, first), (b, second) = trained(recipe(random_flip=True), 3), trained(recipe(random_flip=True), 3)
    assert first == second
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_colours_are_learned_and_noise_hides_them() -> None:
    model, losses = trained(recipe(batch_size=12), 50)
    figures = recipe().evaluate(model.eval())
    names = [f"accuracy@{k}[withheld,t={t} of 40,n=12]" for t in (0, 10, 20, 29) for k in (1, 5)]
    assert {name for name in figures if name.startswith("accuracy")} == set(names)
    assert losses[0] == pytest.approx(np.log(CLASSES), rel=0.2)
    assert figures[names[0]] > 0.9
    assert all(figures[top] <= figures[five] for top, five in zip(names[::2], names[1::2], strict=True))
    entropy = [value for name, value in figures.items() if name.startswith("cross_entropy")]
    assert len(entropy) == 4
    assert entropy[0] < entropy[-1]
    assert entropy[0] < 0.5


def test_it_sees_noise_of_its_timestep() -> None:
    made = recipe(batch_size=240)
    batch = made.batch(0, torch.Generator().manual_seed(0))
    assert set(batch["t"].tolist()) == set(range(40))
    late = batch["x"][batch["t"] > 36]
    early = batch["x"][batch["t"] < 2]
    assert late.std().item() == pytest.approx(1, abs=0.1)
    assert early.abs().max() < 1.5
    clean = recipe(noised=False)
    batch = clean.batch(0, torch.Generator().manual_seed(0))
    assert batch["t"].eq(0).all()
    assert batch["x"].abs().max() <= 1
    figures = clean.evaluate(clean.build())
    assert [name for name in figures if name.startswith("accuracy@1")] == ["accuracy@1[withheld,t=0 of 40,n=12]"]


def test_timesteps_are_told_as_the_diffusion_model_is_told() -> None:
    made = recipe()
    told: list[torch.Tensor] = []

    class Listening(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            told.append(t)
            return torch.zeros(len(x), CLASSES)

    batch = made.batch(0, torch.Generator().manual_seed(0))
    made.step(Listening(), batch)
    assert torch.equal(told[0], batch["t"].float() * 25)


def test_the_sheet_marks_right_and_wrong() -> None:
    made = recipe()
    model, _ = trained(made, 2)
    sheet: Any = made.samples(model.eval())
    assert sheet.shape == (4 * SIDE, 8 * SIDE, 3)
    assert np.array_equal(sheet, made.samples(model))
    x = torch.zeros(2, 3, SIDE, SIDE)
    framed = bordered(x, torch.tensor([True, False]))
    assert framed[0, 1, 0, 0] > framed[0, 0, 0, 0], "green"
    assert framed[1, 0, -1, -1] > framed[1, 1, -1, -1], "red"
    assert framed[:, :, 1:-1, 1:-1].eq(0).all()
    assert recipe(held=0).samples(model) is None
    assert recipe(held=0).evaluate(model) == {}


def test_facts_and_what_the_network_remembers() -> None:
    made = recipe()
    facts = made.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["data"] == "beef"
    assert facts != recipe(noised=False).facts()
    config: Any = made.build().config
    assert config["out_channels"] == CLASSES
    assert config["classes"] == [f"colour {i}" for i in range(CLASSES)]
    assert DiffusionSettings.read(config["diffusion"]) == COSINE


def test_what_cannot_be_classified() -> None:
    bare = replace(coloured(), labels=None)
    with pytest.raises(BadInput, match="one folder a class"):
        ClassifierRecipe(bare, bare, CONFIG, COSINE)
    single = replace(coloured(), labels=np.zeros(24, np.int64), label_names=("cat",))
    with pytest.raises(BadInput, match="only 'cat'"):
        ClassifierRecipe(single, single, CONFIG, COSINE)
