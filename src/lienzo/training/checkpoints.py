"""Checkpoints that survive a kill at any moment: written beside, fsynced, renamed, the last two kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from lienzo.weights.writing import write_tensors

Flat = dict[str, torch.Tensor]


def save_checkpoint(folder: Path, images_seen: int, tensors: Flat, facts: dict[str, Any]) -> Path:
    """Write one checkpoint atomically and drop all but the last two; `facts` is JSON-able."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"state_{images_seen:012d}.safetensors"
    whole = {k: v.detach().contiguous() for k, v in tensors.items()}
    write_tensors(target, whole, {"facts": json.dumps(facts)})
    for old in sorted(folder.glob("state_*.safetensors"))[:-2]:
        old.unlink(missing_ok=True)
    for leftover in folder.glob(".*.safetensors"):
        leftover.unlink(missing_ok=True)  # of a run that was killed while writing
    return target


def load_checkpoint(folder: Path) -> tuple[Flat, dict[str, Any]] | None:
    """The newest readable checkpoint, or None; a damaged one is passed over for the one before it."""
    for path in sorted(folder.glob("state_*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {})["facts"])
                return {key: file.get_tensor(key) for key in file.keys()}, facts  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError, OSError):
            continue
    return None


def newest_items(folder: Path) -> int:
    """How many items the newest checkpoint had seen; 0 where there is none."""
    names = sorted(path.stem for path in folder.glob("state_*.safetensors"))
    return int(names[-1].removeprefix("state_")) if names else 0


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> Flat:
    """The optimiser's per-parameter tensors under `optimizer.<index>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Flat) -> None:
    """Put tensors of `flatten_optimizer` back; learning rates are the schedule's and not stored."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
