"""The one training loop: a generator of events around any recipe.

To resume, run the same command again: every step seeds itself from (seed, images seen), so a run that was
killed draws the same data and noise as one that was not (after NVIDIA's EDM2).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from lienzo.core.events import Checkpoint, Event, Metric, Picture, Progress
from lienzo.core.seeds import derived_seed
from lienzo.training.checkpoints import flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from lienzo.training.ema import Ema
from lienzo.training.recipe import Recipe, Training


def rate_at(images_seen: int, plan: Training) -> float:
    """Learning rate after `images_seen` items: linear rise, plateau, linear fall."""
    rise = min(1.0, (images_seen + 1) / plan.warmup) if plan.warmup else 1.0
    left = 1 - images_seen / plan.images
    fall = min(1.0, left / plan.fall) if plan.fall else 1.0
    return plan.learning_rate * rise * max(fall, 0.0)


def make_optimizer(model: nn.Module, plan: Training) -> torch.optim.AdamW:
    """AdamW with decay on matrices and kernels, none on gains, biases and scalars."""
    weights = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": plan.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, plan.beta2))


class Run:
    """The state of one training run: model, EMA, optimiser and how many items were seen."""

    def __init__(self, recipe: Recipe, plan: Training, folder: Path):
        self.recipe, self.plan, self.folder = recipe, plan, folder
        self.accelerator = Accelerator()
        torch.manual_seed(derived_seed(plan.seed, "weights"))
        model = recipe.build()
        self.ema = Ema(model, plan.ema_half_life)
        self.ema.shadow.to(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(model, make_optimizer(model, plan))
        self.images_seen = 0
        self._resume()

    def _resume(self) -> None:
        found = load_checkpoint(self.folder / "checkpoints")
        if found is None:
            return
        tensors, facts = found
        pick = {name: {} for name in ("model", "ema")}  # type: dict[str, dict[str, torch.Tensor]]
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            if kind in pick:
                pick[kind][name] = value
        self.accelerator.unwrap_model(self.model).load_state_dict(pick["model"])
        self.ema.shadow.load_state_dict(pick["ema"])
        restore_optimizer(self.optimizer, tensors)
        self.images_seen = int(facts["images_seen"])

    def save(self) -> Checkpoint:
        """Write a checkpoint and return its event."""
        tensors = {f"model.{k}": v for k, v in self.accelerator.unwrap_model(self.model).state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.shadow.state_dict().items()}
        tensors |= flatten_optimizer(self.optimizer)
        facts = {"images_seen": self.images_seen, "recipe": self.recipe.name, "plan": self.plan.model_dump()}
        path = save_checkpoint(self.folder / "checkpoints", self.images_seen, tensors, facts)
        return Checkpoint(str(path), self.images_seen)

    def step(self) -> dict[str, float]:
        """One optimisation step; returns the losses as floats."""
        seed = derived_seed(self.plan.seed, self.images_seen)
        torch.manual_seed(seed)
        batch = self.recipe.batch(self.images_seen, torch.Generator().manual_seed(seed))
        batch = {key: value.to(self.accelerator.device) for key, value in batch.items()}
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.images_seen, self.plan)
        self.model.train()
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.plan.bf16):
            losses = self.recipe.step(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(sum(losses.values()))
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        self.images_seen += self.recipe.batch_size
        self.ema.update(self.accelerator.unwrap_model(self.model), self.images_seen, self.recipe.batch_size)
        return {name: value.item() for name, value in losses.items()}

    def look(self) -> Iterator[Event]:
        """Figures and a sample picture of the EMA weights."""
        with torch.no_grad():
            figures = self.recipe.evaluate(self.ema.shadow)
            picture = self.recipe.samples(self.ema.shadow)
        for name, value in figures.items():
            yield Metric(name, value, images_seen=self.images_seen)
        if picture is not None:
            yield Picture(index=self.images_seen, seed=self.plan.seed, image=picture)


def fit(recipe: Recipe, plan: Training, folder: Path) -> Iterator[Event]:
    """Train `recipe` by `plan` in `folder`, resuming from its newest checkpoint.

    Yields:
        Progress for every step, Metric for losses about once a second (also appended to `metrics.jsonl`),
        Metric and Picture at each look, Checkpoint for each save. `folder/checkpoints` holds the last two states.
    """
    run = Run(recipe, plan, folder)
    folder.mkdir(parents=True, exist_ok=True)
    began, first = time.monotonic(), run.images_seen
    saved = logged = began
    next_look = run.images_seen + plan.look_images if plan.look_images else plan.images
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as log:
        while run.images_seen < plan.images:
            losses = run.step()
            now = time.monotonic()
            yield Progress(recipe.name, run.images_seen - first, plan.images - first, now - began, "image")
            finished = run.images_seen >= plan.images
            if now - logged >= 1 or finished:
                logged = now
                log.write(json.dumps({"images_seen": run.images_seen, "seconds": now - began, **losses}) + "\n")
                log.flush()
                yield from (Metric(name, value, images_seen=run.images_seen) for name, value in losses.items())
            if now - saved >= plan.save_seconds or finished:
                yield run.save()
                saved = time.monotonic()
            if run.images_seen >= next_look or finished:
                next_look += plan.look_images or plan.images
                yield from run.look()


def trained(recipe: Recipe, folder: Path) -> nn.Module:
    """The EMA weights of the newest checkpoint in `folder`, in evaluation mode."""
    model = recipe.build()
    found = load_checkpoint(folder / "checkpoints")
    if found is None:
        raise FileNotFoundError(f"{folder} holds no checkpoint")
    model.load_state_dict({k.removeprefix("ema."): v for k, v in found[0].items() if k.startswith("ema.")})
    return model.eval().requires_grad_(False)
