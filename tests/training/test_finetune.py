"""Fine-tuning starts as the given weights; adapters change nothing at first, and merging them changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.adm_recipe import AdmRecipe, AdmTraining
from lienzo.training import finetune
from lienzo.training.finetune import FineTune, inject, merged, save_adapter
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.recipe import Batch, Recipe
from lienzo.training.state import trained

needs_peft = pytest.mark.skipif(finetune.util.find_spec("peft") is None, reason="peft is not installed")


class Line(Recipe):
    """Two layers that learn y = sum(x)."""

    name = "line"
    network = "linear-code"
    batch_size = 4

    def __init__(self, wide: int = 6):
        self.wide, self.told = wide, 0

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, self.wide), nn.Tanh(), nn.Linear(self.wide, 1))

    def batch(self, start: int, generator: Generator) -> Batch:
        return {"x": torch.randn(4, 3, generator=generator)}

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (model(batch["x"])[:, 0] - batch["x"].sum(1)).square().mean()}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"loss[ones]": self.step(model, {"x": torch.ones(4, 3)})["loss"].item()}

    def learn(self, gather: Any) -> None:
        self.told += 1


def started(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return Line().build()


def shaken(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
PLAN = Training(images=24, warmup=0, learning_rate=1e-2, ema_half_lives=(8,), save_seconds=1e9, seed=1)


@pytest.mark.parametrize("lora", [None, pytest.param(2, marks=needs_peft)])
def test_training_starts_as_the_given_weights(lora: int | None) -> None:
    given = started()
    recipe = FineTune(Line(), given.state_dict(), lora)
    assert torch.equal(recipe.build()(X), given(X))
    assert (recipe.name, recipe.network, recipe.batch_size, recipe.left_out) == ("line", "linear-code", 4, [])


def test_what_does_not_fit_is_left_out_and_named() -> None:
    state = {**started().state_dict(), "more.weight": torch.zeros(1)}
    recipe = FineTune(Line(wide=7), state)
    assert recipe.left_out == ["0.bias", "0.weight", "2.weight", "more.weight"]
    assert torch.equal(recipe.build().state_dict()["2.bias"], state["2.bias"])


def test_another_network_is_refused() -> None:
    with pytest.raises(BadInput, match="of another network"):
        FineTune(Line(), {"tower.weight": torch.zeros(3)})


def test_the_run_asks_the_recipe_itself(tmp_path: Path) -> None:
    inner = Line()
    recipe = FineTune(inner, started().state_dict())
    figures = {getattr(event, "name", "") for event in fit(recipe, PLAN, tmp_path)}
    assert "loss[ones]" in figures
    assert inner.told == 6
    assert recipe.facts() != FineTune(Line(), started(4).state_dict()).facts()
    assert recipe.facts() == FineTune(Line(), started().state_dict()).facts()


def test_without_peft_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'lienzo\[lora\]'"):
        FineTune(Line(), started().state_dict(), 2)


@needs_peft
def test_only_adapters_and_what_is_named_learn(tmp_path: Path) -> None:
    given = started()
    recipe = FineTune(Line(), given.state_dict(), 2, whole=("2",))
    list(fit(recipe, PLAN, tmp_path))
    model = trained(recipe, tmp_path)
    after, before = recipe.export(model).state_dict(), given.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed == {"0.weight", "2.weight", "2.bias"}
    moved = after["0.weight"] - before["0.weight"]
    assert torch.linalg.matrix_rank(moved, atol=1e-6) <= 2
    frozen = {name: value for name, value in model.state_dict().items() if "base_layer" in name}
    assert all(torch.equal(v, before[name.replace("base_layer.", "")]) for name, v in frozen.items())


@needs_peft
@pytest.mark.parametrize("make", [started, lambda: Adm(**ADM)], ids=["two layers", "adm"])
def test_merged_equals_the_network_with_adapters(make: Any) -> None:
    torch.manual_seed(0)
    model = make()
    plain = model.state_dict().keys()
    inject(model, 3)
    shaken(model).eval()
    one = merged(model)
    assert one.state_dict().keys() == plain
    if isinstance(model, Adm):
        given: tuple[Tensor, ...] = (torch.randn(2, 3, 16, 16), torch.tensor([3.0, 500.0]))
    else:
        given = (X,)
    assert torch.allclose(one(*given), model(*given), atol=1e-5)
    assert any("lora_" in name for name, _ in model.named_parameters()), "the original keeps its adapters"


ADM: dict[str, Any] = {
    "image_size": 16, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_head_channels": 32,
}  # fmt: skip


@needs_peft
def test_an_adapter_file_gives_the_adapters_back(tmp_path: Path) -> None:
    import peft

    model = started()
    inject(model, 2, ["2"])
    shaken(model)
    path = save_adapter(model, tmp_path / "adapter", ["2"])
    stored = load_file(path)
    assert json.loads((path.parent / "adapter_config.json").read_text())["r"] == 2
    learned = {name: stored.pop(name) for name in ("2.weight", "2.bias")}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in learned.items())
    assert all("lora_" in name for name in stored)
    base = {k.replace("base_layer.", ""): v for k, v in model.state_dict().items() if "lora_" not in k}
    other = Line().build()
    other.load_state_dict(base)
    inject(other, 2, ["2"])
    peft.set_peft_model_state_dict(other, stored, adapter_name=finetune.ADAPTER)
    assert torch.equal(other(X), model(X))


@needs_peft
def test_networks_without_layers_for_adapters() -> None:
    with pytest.raises(BadInput, match="no layers that take adapters"):
        inject(nn.Sequential(nn.Embedding(3, 2)), 2)


@pytest.mark.parametrize("lora", [None, pytest.param(2, marks=needs_peft)])
def test_one_seed_one_outcome(lora: int | None, tmp_path: Path) -> None:
    ends = []
    for name in ("a", "b"):
        recipe = FineTune(Line(), started().state_dict(), lora)
        list(fit(recipe, PLAN, tmp_path / name))
        ends.append(recipe.export(trained(recipe, tmp_path / name)).state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("lora", [None, pytest.param(2, marks=needs_peft)])
def test_any_recipe_goes_on(lora: int | None, tmp_path: Path) -> None:
    """The diffusion recipe, for one: its network, timestep sampler and figures stay its own."""
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    data = DataSet(images, tuple(f"picture {i}" for i in range(6)))
    settings = DiffusionSettings("cosine", 10, learn_sigma=False)
    inner = AdmRecipe(data, data.select([0, 1]), ADM, settings, AdmTraining(batch_size=2))
    torch.manual_seed(2)
    given = inner.build().state_dict()
    recipe = FineTune(inner, given, lora)
    assert recipe.left_out == []
    list(fit(recipe, Training(images=4, warmup=0, learning_rate=1e-2, ema_half_lives=(1,)), tmp_path))
    model = recipe.export(trained(recipe, tmp_path))
    after = model.state_dict()
    assert after.keys() == given.keys()
    assert model.config == inner.build().config
    changed = {name for name in given if not torch.equal(after[name], given[name])}
    assert changed
    assert lora is None or all(after[name].ndim > 1 for name in changed), "only weights of layers have adapters"
