"""The diffusion recipe: what it learns, what it remembers, and that it does both again exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.adm_recipe import AdmRecipe, AdmTraining, mirrored, spread_rows
from lienzo.diffusion.timestep_samplers import importance_weights

SIDE, BATCH = 8, 4
CONFIG: dict[str, Any] = {
    "image_size": SIDE, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": (), "channel_mult": (1,), "use_scale_shift_norm": True,
}  # fmt: skip
COSINE = DiffusionSettings("cosine", 20, learn_sigma=False)
LEARNED = replace(COSINE, learn_sigma=True, rescale_learned_sigmas=True, rescale_timesteps=True)


def drawings(count: int = 12, classes: int = 3, side: int = SIDE) -> DataSet:
    """Blurry pictures of random colours in a few classes."""
    small = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    large = (nn.functional.interpolate(small, (side, side), mode="bilinear") * 255).byte()
    names = tuple(f"drawing {i}" for i in range(count))
    labels = np.arange(count, dtype=np.int64) % classes
    kinds = tuple(f"kind {i}" for i in range(classes))
    return DataSet(large.permute(0, 2, 3, 1).numpy(), names, labels=labels, label_names=kinds, fingerprint="f00d")


def recipe(settings: DiffusionSettings = COSINE, held: int = 6, **training: Any) -> AdmRecipe:
    config = {**CONFIG, "out_channels": 6 if settings.learn_sigma else 3}
    data = drawings()
    withheld = drawings().select(range(held))
    return AdmRecipe(data, withheld, config, settings, AdmTraining(**{"batch_size": BATCH, **training}))


def model_of(made: AdmRecipe) -> nn.Module:
    torch.manual_seed(0)
    return made.build().train()


def alone(rows: Tensor) -> Tensor:
    return rows


def trained(made: AdmRecipe, model: nn.Module, steps: range, rate: float = 1e-2) -> list[float]:
    """A loop of plain SGD, so that a cut needs no optimiser state; returns the losses."""
    losses = []
    for step in steps:
        batch = made.batch(step * BATCH, torch.Generator().manual_seed(step))
        loss = torch.stack(list(made.step(model, batch).values())).sum()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= rate * parameter.grad
        made.learn(alone)
        losses.append(loss.item())
    return losses


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


ALL = [
    pytest.param({}, COSINE, id="plain"),
    pytest.param({"class_cond": True, "label_dropout": 0.5, "random_flip": True}, LEARNED, id="classes"),
    pytest.param({"schedule_sampler": "loss_second_moment"}, replace(LEARNED, use_kl=True, steps=3), id="bound"),
    pytest.param({}, replace(COSINE, prediction="v"), id="v"),
    pytest.param({}, replace(COSINE, prediction="x0", noise_schedule="sigmoid", steps=30), id="x0"),
]


@pytest.mark.parametrize(("options", "settings"), ALL)
def test_equal_seeds_give_equal_weights(options: dict[str, Any], settings: DiffusionSettings) -> None:
    first, second = recipe(settings, **options), recipe(settings, **options)
    a, b, untouched = model_of(first), model_of(second), model_of(first)
    assert trained(first, a, range(3)) == trained(second, b, range(3))
    assert same(a, b)
    assert not same(a, untouched)


def test_the_loss_aware_sampler_resumes_in_the_middle() -> None:
    settings = replace(LEARNED, use_kl=True, steps=3)
    whole, before = (recipe(settings, schedule_sampler="loss_second_moment") for _ in range(2))
    a, b = model_of(whole), model_of(before)
    trained(whole, a, range(40))
    trained(before, b, range(25))
    assert before.sampler.weights().std() > 0, "the history is full, so the draws are no longer uniform"
    after = recipe(settings, schedule_sampler="loss_second_moment")
    forgetful, c = recipe(settings, schedule_sampler="loss_second_moment"), model_of(before)
    c.load_state_dict(b.state_dict())
    after.restore({name: value.clone() for name, value in before.state().items()})
    trained(after, b, range(25, 40))
    assert same(a, b)
    trained(forgetful, c, range(25, 40))
    assert not same(a, c)


def test_losses_are_shared_over_processes() -> None:
    settings = replace(COSINE, steps=5)
    made, other = (recipe(settings, schedule_sampler="loss_second_moment") for _ in range(2))
    model = model_of(made)
    for each, start in ((made, 0), (other, BATCH)):
        each.step(model, each.batch(start, torch.Generator().manual_seed(start)))
    told = [[torch.cat(parts) for parts in zip(*each._measured, strict=True)] for each in (made, other)]
    calls = iter(range(2))

    def joined(rows: Tensor) -> Tensor:
        index = next(calls)
        assert torch.equal(rows, told[0][index])
        return torch.cat([rows, told[1][index]])

    made.learn(joined)
    assert made.state()["counts"].sum() == 2 * BATCH
    made.learn(joined)  # nothing is told twice
    made.evaluate(model)
    made.learn(joined)
    assert made.state()["counts"].sum() == 2 * BATCH


def test_importance_weights_multiply_each_items_loss() -> None:
    made = recipe(replace(COSINE, steps=2), schedule_sampler="loss_second_moment")
    made.restore({"history": torch.tensor([[1.0] * 10, [3.0] * 10]), "counts": torch.tensor([10, 10])})
    model, batch = model_of(made), made.batch(0, torch.Generator().manual_seed(0))
    batch["u"] = torch.tensor([0.0, 0.2, 0.3, 0.99])  # a quarter of the draws is t = 0
    loss = made.step(model, batch)["mse"]
    terms = made._losses(model, batch, torch.tensor([0, 0, 1, 1]))["mse"]
    weights = importance_weights(made.sampler.weights())[[0, 0, 1, 1]]
    assert weights.tolist() == pytest.approx([2, 2, 2 / 3, 2 / 3], rel=1e-2)
    assert loss.item() == pytest.approx((terms * weights).mean().item(), rel=1e-5)


@pytest.mark.parametrize("settings", [COSINE, replace(COSINE, prediction="v")], ids=["eps", "v"])
def test_eight_pictures_are_learned(settings: DiffusionSettings) -> None:
    data = drawings(8)
    made = AdmRecipe(data, data, CONFIG, settings, AdmTraining(batch_size=8))
    model = model_of(made)
    before = made.evaluate(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for step in range(60):
        loss = sum(made.step(model, made.batch(8 * step, torch.Generator().manual_seed(step))).values())
        optimizer.zero_grad()
        torch.as_tensor(loss).backward()
        optimizer.step()
    after = made.evaluate(model)
    name = f"mse[withheld,{settings.prediction},n=8]"
    assert before.keys() == after.keys() == {name}
    assert after[name] < 0.5 * before[name]


def test_parts_of_the_loss_have_names() -> None:
    for settings, names in ((COSINE, {"mse"}), (LEARNED, {"mse", "vb"}), (replace(LEARNED, use_kl=True), {"vb"})):
        made = recipe(settings)
        losses = made.step(model_of(made), made.batch(0, torch.Generator().manual_seed(0)))
        assert losses.keys() == names
        assert made.evaluate(model_of(made)).keys() == {f"{name}[withheld,eps,n=6]" for name in names}


def test_every_epoch_sees_every_picture_and_its_label() -> None:
    made = recipe(class_cond=True)
    for epoch in range(2):
        starts = range(12 * epoch, 12 * epoch + 12, BATCH)
        batches = [made.batch(start, torch.Generator().manual_seed(start)) for start in starts]
        x0 = torch.cat([batch["x0"] for batch in batches])
        pictures = torch.from_numpy(drawings().images[np.arange(12)]).permute(0, 3, 1, 2) / 127.5 - 1
        rows = [int((pictures - x).abs().flatten(1).sum(1).argmin()) for x in x0]
        assert sorted(rows) == list(range(12))
        assert torch.equal(torch.cat([batch["y"] for batch in batches]), torch.tensor(rows) % 3)


def test_labels_are_dropped_and_pictures_mirrored_only_when_asked() -> None:
    plain = recipe(class_cond=True, batch_size=600)
    other = recipe(class_cond=True, label_dropout=0.25, random_flip=True, batch_size=600)
    a, b = (each.batch(0, torch.Generator().manual_seed(0)) for each in (plain, other))
    assert a["y"].max() == 2
    none = b["y"] == 3
    assert none.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(a["y"][~none], b["y"][~none])
    flipped = (a["x0"] != b["x0"]).flatten(1).any(1)
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.07)
    assert torch.equal(b["x0"][flipped], a["x0"][flipped].flip(3))
    assert torch.equal(mirrored(a["x0"], flipped), b["x0"])


def test_the_network_remembers_its_diffusion_and_classes() -> None:
    made = recipe(LEARNED, class_cond=True, label_dropout=0.1)
    config: Any = made.build().config
    assert DiffusionSettings.read(config["diffusion"]) == LEARNED
    assert config["classes"] == ["kind 0", "kind 1", "kind 2"]
    assert config["num_classes"] == 4
    assert recipe(class_cond=True).config["num_classes"] == 3
    plain = recipe().config
    assert plain["num_classes"] is plain["classes"] is None


def test_facts_are_json_and_tell_what_decides_the_outcome() -> None:
    facts = recipe().facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["data"] == "f00d"
    assert facts["items"] == 12
    for changed in (
        recipe(LEARNED), recipe(class_cond=True), recipe(random_flip=True), recipe(batch_size=2),
        recipe(schedule_sampler="loss_second_moment"), recipe(seed=1),
    ):  # fmt: skip
        assert changed.facts() != facts
    assert recipe(bpd=1).facts() == facts


def test_samples_are_those_of_their_seeds_and_classes() -> None:
    made = recipe(class_cond=True)
    model = model_of(made)
    trained(made, model, range(2), 0.1)
    with torch.no_grad():
        model.label_emb.weight.mul_(20)  # type: ignore[union-attr, operator]
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        sheet = made.samples(model)
    assert sheet.shape == (4 * SIDE, 4 * SIDE, 3)
    assert sheet.dtype == np.uint8
    torch.manual_seed(5)
    assert np.array_equal(sheet, made.samples(model)), "float32 and its own seeds, whatever surrounds it"
    assert made._sample_labels()[:8].tolist() == [0, 1, 2, 0] * 2
    with torch.no_grad():
        model.label_emb.weight[1] += 100  # type: ignore[union-attr, operator, index]
    moved = (made.samples(model) != sheet).reshape(4, SIDE, 4, SIDE, 3).any((0, 1, 3, 4))
    assert moved.tolist() == [False, True, False, False], "one class a column"


def test_bits_per_dimension_of_the_truth_are_few() -> None:
    made = recipe(replace(COSINE, steps=50), bpd=2, held=3)
    model = model_of(made)
    fresh = made.evaluate(model)
    name = "bpd[withheld,n=2,T=50]"
    assert name in fresh
    truth: dict[str, Tensor] = {}

    class Knowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return made.diffusion.eps_from_x0(x, t, truth["x0"][: len(x)])

    truth["x0"] = made._held(model, spread_rows(3, 2), [0, 1])["x0"]
    assert made._bits_per_dim(Knowing())[name] < 0.5 * fresh[name]


def test_without_withheld_pictures_there_are_no_figures() -> None:
    made = recipe(held=0, bpd=2)
    assert made.evaluate(model_of(made)) == {}


def test_withheld_rows_are_spread() -> None:
    assert spread_rows(0, 4).tolist() == []
    assert spread_rows(3, 4).tolist() == [0, 1, 2]
    assert spread_rows(10, 4).tolist() == [0, 3, 6, 9]


def test_what_does_not_fit_is_said() -> None:
    unlabelled = replace(drawings(), labels=None, label_names=())
    with pytest.raises(BadInput, match="one folder a class"):
        AdmRecipe(unlabelled, unlabelled, CONFIG, COSINE, AdmTraining(class_cond=True))
    with pytest.raises(BadInput, match="add --class-cond"):
        recipe(label_dropout=0.1)
    with pytest.raises(BadInput, match="no timestep sampler 'often'"):
        recipe(schedule_sampler="often")
