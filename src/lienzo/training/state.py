"""The state of one training run: network, averages, optimiser, recipe, and how many items were seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.core.events import Checkpoint
from lienzo.core.seeds import derived_seed
from lienzo.training.ahead import prepared
from lienzo.training.checkpoints import Flat, flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from lienzo.training.ema import averages
from lienzo.training.plan import Training
from lienzo.training.processes import Processes
from lienzo.training.recipe import Batch, Recipe
from lienzo.training.recompute import recompute_blocks
from lienzo.training.schedule import make_optimizer, rate_at

FREE = frozenset("images minutes accumulate checkpointing compile save_seconds look_images ahead trackers".split())
"""Fields of the plan that a resumed run may change; what a step sees and learns does not hang on them."""
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fresh(recipe: Recipe, plan: Training) -> nn.Module:
    """The recipe's network with the plan's initial weights."""
    torch.manual_seed(derived_seed(plan.seed, "weights"))
    return recipe.build()


class Run:
    """One training run in `folder`. Making it touches no files; `resume` continues from the newest checkpoint.

    Raises:
        BadInput: the network cannot be made as wished, or not trained on this machine.
    """

    def __init__(self, recipe: Recipe, plan: Training, folder: Path):
        self.recipe, self.plan, self.folder = recipe, plan, folder
        self.processes = Processes()
        self.device = self.processes.device
        if plan.precision == "fp16" and self.device.type == "cpu":
            raise BadInput("The precision fp16 needs a GPU; on this machine use bf16 or fp32.")
        self.network = fresh(recipe, plan).to(self.device)
        self.averages = averages(self.network, plan.ema_half_lives)
        if plan.checkpointing:
            recompute_blocks(self.network)
        if plan.compile:
            self.network.compile()
        self.optimizer = make_optimizer(self.network, plan)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")
        self.images_seen = 0
        self.model = self.processes.wrap(self.network)
        self.items = recipe.batch_size * plan.accumulate * self.processes.count  # of one optimiser step
        self.batches = self._batches()

    @property
    def shadow(self) -> nn.Module:
        """The network with the first average's weights, in evaluation mode."""
        return self.averages[0].shadow

    def facts(self) -> dict[str, Any]:
        """What decides the outcome, as JSON: kept in every checkpoint."""
        plan = {key: value for key, value in self.plan.model_dump(mode="json").items() if key not in FREE}
        items = self.recipe.batch_size * self.plan.accumulate * self.processes.count
        facts = {"recipe": self.recipe.name, "items_a_step": items, **plan, **self.recipe.facts()}
        return json.loads(json.dumps(facts))  # tuples become lists, as in a checkpoint

    def resume(self) -> None:
        """Continue from the folder's newest checkpoint, if there is one; before the first step.

        Raises:
            BadInput: it belongs to a run of other settings; the sentence says which.
        """
        found = self.processes.share(lambda: load_checkpoint(self.folder / "checkpoints"))
        if found is None:
            return
        tensors, facts = found
        check_same(facts.get("facts", {}), self.facts(), self.folder)
        parts = by_prefix(tensors)
        self.network.load_state_dict(parts["model"])
        for i, average in enumerate(self.averages):
            average.shadow.load_state_dict(parts[f"ema{i or ''}"])
        restore_optimizer(self.optimizer, tensors)
        self.recipe.restore(parts.get("recipe", {}))
        if "scaler" in facts:
            self.scaler.load_state_dict(facts["scaler"])
        self.images_seen = int(facts["images_seen"])
        self.batches = self._batches()

    def save(self) -> Checkpoint:
        """Write a checkpoint and return its event."""
        tensors = {f"model.{k}": v for k, v in self.network.state_dict().items()}
        for i, average in enumerate(self.averages):
            tensors |= {f"ema{i or ''}.{k}": v for k, v in average.shadow.state_dict().items()}
        tensors |= {f"recipe.{k}": v for k, v in self.recipe.state().items()}
        tensors |= flatten_optimizer(self.optimizer)
        facts = {"images_seen": self.images_seen, "facts": self.facts(), "scaler": self.scaler.state_dict()}
        path = save_checkpoint(self.folder / "checkpoints", self.images_seen, tensors, facts)
        return Checkpoint(str(path), self.images_seen)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """This process's batches with the seeds of their steps, from here to the end."""
        size, rank, count = self.recipe.batch_size, self.processes.rank, self.processes.count
        share = range(self.images_seen + rank * size, 2**62, size * count)

        def make(start: int) -> tuple[int, Batch]:
            seed = derived_seed(self.plan.seed, start)
            return seed, self.recipe.batch(start, torch.Generator().manual_seed(seed))

        return prepared(make, share, self.plan.ahead)

    def step(self) -> dict[str, Tensor]:
        """One optimisation step of `items` items: the mean losses and the norm of the gradient, on the device."""
        plan, last = self.plan, self.plan.accumulate - 1
        totals: dict[str, Tensor] = {}
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        for i in range(plan.accumulate):
            seed, batch = next(self.batches)
            torch.manual_seed(seed)
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
            with self.processes.accelerator.no_sync(self.model) if i < last else torch.enable_grad():
                with torch.autocast(self.device.type, HALF.get(plan.precision), enabled=plan.precision in HALF):
                    losses = self.recipe.step(self.model, batch)
                self.scaler.scale(torch.stack(list(losses.values())).sum() / plan.accumulate).backward()
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach() / plan.accumulate
        return totals | {"gradient": self._update()}

    def _update(self) -> Tensor:
        """Clip, step, average; returns the gradient's norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.images_seen, self.plan)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.recipe.project(self.network)
        self.images_seen += self.items
        self.recipe.learn(self.processes.gather)
        for average in self.averages:
            average.update(self.network, self.images_seen, self.items)
        return norm


def by_prefix(tensors: Flat) -> dict[str, Flat]:
    """Tensors of a checkpoint by what they belong to: model, ema, ema1, recipe, optimizer."""
    parts: dict[str, Flat] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(".")
        parts.setdefault(kind, {})[name] = value
    return parts


def check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse to resume a run whose settings have changed, naming the first that differ."""
    before, now = _flat(before), _flat(now)
    differ = [f"{key}={before[key]}, not {now[key]}" for key in now if key in before and before[key] != now[key]]
    if differ:
        more = f" (and {len(differ) - 3} more)" if len(differ) > 3 else ""
        raise BadInput(
            f"The run in {folder} was begun with {'; '.join(differ[:3])}{more}. Give the same options to resume it, "
            "or another --out to begin anew."
        )


def _flat(facts: dict[str, Any], within: str = "") -> dict[str, Any]:
    """Facts without dicts in dicts: `config.width` for the width in `config`."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        flat |= _flat(value, f"{within}{key}.") if isinstance(value, dict) else {f"{within}{key}": value}
    return flat


def trained(recipe: Recipe, folder: Path, average: int = 0) -> nn.Module:
    """The network with an average's weights from the newest checkpoint in `folder`, in evaluation mode.

    Raises:
        BadInput: there is no checkpoint.
    """
    found = load_checkpoint(folder / "checkpoints")
    if found is None:
        raise BadInput(f"{folder} holds no checkpoint.")
    model = recipe.build()
    model.load_state_dict(by_prefix(found[0])[f"ema{average or ''}"])
    return model.eval().requires_grad_(False)
