"""The recipe of first stages: it learns, gradients go where they should, codes come alive, and it resumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lienzo.autoencoders.codebook_care import CodebookCare
from lienzo.autoencoders.perceptual import Perceptual, map_distance, unit_channels
from lienzo.autoencoders.stage_contest import Contest
from lienzo.autoencoders.stage_recipe import (
    Kind,
    StageLosses,
    StageRecipe,
    StageTraining,
    cropped,
    stage_config,
    tinted,
)
from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet

LOOKS = Perceptual("halves", lambda x: [unit_channels(F.avg_pool2d(x, 2) + 2), 0.1 * x])
JUDGE = {"ndf": 8, "n_layers": 1, "use_actnorm": True}


def pictures(count: int = 12, size: int = 16) -> DataSet:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
    images = colours.repeat(size // 2, 1).repeat(size // 2, 2)
    return DataSet(images, tuple(map(str, range(count))), fingerprint="squares")


def recipe(kind: Kind = "vqgan", factor: int = 4, losses: dict[str, Any] | None = None, **more: Any) -> StageRecipe:
    config = stage_config(kind, factor, 4, codes=16, width=32, resolution=16)
    training = StageTraining(kind, StageLosses(**(losses or {})), JUDGE, batch_size=4, **more)
    return StageRecipe(pictures(), pictures(6), config, training, LOOKS)


def trained(made: StageRecipe, steps: int, model: Any = None, optimizer: Any = None, first: int = 0) -> Any:
    """A few steps as the loop does them."""
    torch.manual_seed(0)
    model = made.build() if model is None else model
    optimizer = optimizer or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 2e-3)
    found = []
    for i in range(first, first + steps):
        torch.manual_seed(i)
        losses = made.step(model, made.batch(4 * i, torch.Generator().manual_seed(i)))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        made.project(model)
        made.learn(lambda x: x)
        found.append({name: float(value.detach()) for name, value in losses.items()})
    return model, optimizer, found


@pytest.mark.parametrize("kind", ["vqgan", "gumbel", "kl"])
def test_it_learns(kind: Kind) -> None:
    made = recipe(kind, 2, losses={"adversary_start": 400, "anneal": 100})
    model, _, found = trained(made, 60)
    first, last = (np.mean([losses["l1"] for losses in part]) for part in (found[:5], found[-5:]))
    assert last < 0.8 * first
    assert {"adversary", "discriminator"} <= found[0].keys() == found[-1].keys()
    figures = made.evaluate(model.eval())
    assert any(name.startswith("psnr[") for name in figures)
    assert any(name.startswith("perplexity") for name in figures) == (kind != "kl")
    assert made.samples(model).dtype == np.uint8
    stage = made.export(model)
    x = torch.from_numpy(made.data.images[np.arange(12)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert stage.encode(x).std().item() == pytest.approx(1, rel=1e-3)
    assert stage.decode(stage.encode(x)).shape == x.shape


def test_nobody_judges_before_the_start() -> None:
    made = recipe(losses={"adversary_start": 8})
    assert ["judging" in made.batch(start, torch.Generator()) for start in (0, 4, 8)] == [False, False, True]
    model = made.build()
    losses = made.step(model, made.batch(0, torch.Generator()))
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in model.discriminator.parameters()]
    assert all(g is not None and not g.any() for g in gradients)  # none is missing: several processes want them


@pytest.mark.parametrize("name", ["adversary", "discriminator", "l1", "perceptual", "codebook"])
def test_gradients_go_to_their_own_side(name: str) -> None:
    made = recipe()
    model = made.build()
    loss = made.step(model, made.batch(0, torch.Generator().manual_seed(0)))[name]
    loss.backward()

    def moved(module: torch.nn.Module) -> bool:
        return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())

    assert moved(model.discriminator) == (name == "discriminator")
    assert moved(model.stage.decoder) == (name in ("adversary", "l1", "perceptual"))
    assert moved(model.stage.encoder) == (name != "discriminator")


def test_the_adaptive_weight_evens_the_pull_also_when_wrapped() -> None:
    made = recipe(losses={"adversary": 0.5})
    model = made.build()

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = model

        def forward(self, *args: Any) -> Any:
            return self.module(*args)

    batch = made.batch(0, torch.Generator().manual_seed(0))
    losses = made.step(Wrapped(), batch)
    last = model.stage.decoder.conv_out.weight
    pull, push = (
        torch.autograd.grad(part, last, retain_graph=True)[0].norm()
        for part in (losses["l1"] + losses["perceptual"], losses["adversary"])
    )
    assert float(push / pull) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("losses", [{}, {"averaged": True}])
def test_two_steps_resumed_equal_four(losses: dict[str, Any]) -> None:
    whole = recipe(losses=losses, flip=True, tint=0.5, crop=8)
    model, _, _ = trained(whole, 4)
    first = recipe(losses=losses, flip=True, tint=0.5, crop=8)
    half, optimizer, _ = trained(first, 2)
    second = recipe(losses=losses, flip=True, tint=0.5, crop=8)
    second.restore(first.state())
    half, _, _ = trained(second, 2, half, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), half.state_dict().values(), strict=True))
    assert whole.state().keys() == second.state().keys()


def test_averaged_codes_learn_by_no_gradient() -> None:
    made = recipe(losses={"averaged": True})
    model, _, _ = trained(made, 3)
    assert isinstance(model, Contest)
    assert not model.stage.quantize.embedding.weight.requires_grad


def test_dead_codes_go_where_features_are() -> None:
    care = CodebookCare(4, memory=1, dead=0.1)
    codebook = torch.tensor([[0.0, 0.0], [50.0, 50.0], [60.0, 60.0], [70.0, 70.0]])
    features = torch.zeros(1, 2, 2, 2)
    for _ in range(3):
        care.note(features, torch.zeros(4, dtype=torch.long))
        care.join(lambda x: x)
        care.apply(codebook)
    assert torch.equal(codebook, torch.zeros(4, 2))


def test_moving_averages_find_the_means() -> None:
    care = CodebookCare(2, memory=2, dead=0.0, averaged=True)
    codebook = torch.tensor([[0.0], [1.0]])
    features = torch.tensor([-1.0, -3.0, 5.0, 7.0]).reshape(1, 1, 2, 2)
    for _ in range(40):
        care.note(features, torch.tensor([0, 0, 1, 1]))
        care.join(lambda x: x)
        care.apply(codebook)
    assert torch.allclose(codebook, torch.tensor([[-2.0], [6.0]]), atol=1e-3)


def test_temperature_falls_along_a_cosine() -> None:
    made = recipe("gumbel", losses={"temperature": (1.0, 0.2), "anneal": 100})
    assert [made.temperature(start) for start in (0, 50, 100, 500)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_every_factor(factor: int) -> None:
    made = recipe("kl", factor)
    assert made.build().stage.encode(torch.zeros(1, 3, 16, 16)).shape == (1, 4, 16 // factor, 16 // factor)


def test_pieces_and_paper() -> None:
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    assert cropped(x, 8, torch.Generator().manual_seed(0)).shape == (3, 3, 8, 8)
    assert torch.allclose(tinted(x, 0.0, torch.Generator()), x, atol=1e-6)
    white = tinted(torch.ones(64, 3, 2, 2), 0.5, torch.Generator().manual_seed(0))
    left = (white == 1).all(dim=(1, 2, 3)).float().mean().item()
    assert 0.3 < left < 0.7


def test_map_distance_sums_maps_and_channels() -> None:
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0)
    assert map_distance([a, a], [b, b]).item() == pytest.approx(2 * 3 * 4)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(BadInput, match="power of two"):
        stage_config("kl", 6, 4)
    with pytest.raises(BadInput, match="takes 4 multiples"):
        stage_config("kl", 8, 4, multiples=(1, 2))
    with pytest.raises(BadInput, match="multiple of 4"):
        recipe(crop=10)
