"""Training that starts from given weights: all of them go on learning, or low-rank adapters beside them do.

LoRA: Hu et al. 2021 (arXiv 2106.09685), through the library `peft`. A recipe does not know of it: `FineTune` wraps any.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from importlib import import_module, util
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.core.files import replacing
from lienzo.core.text import printable
from lienzo.data.fingerprints import fingerprint
from lienzo.training.recipe import Batch, Gather, Recipe

ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d)  # exactly these: attention reads the weights of its subclasses itself
ADAPTER = "adapter"


class FineTune(Recipe):
    """Another recipe, from given weights.

    Args:
        recipe: the recipe that goes on.
        state: the weights to start from; those that have another shape or no place in the network are left out, and
            named in `left_out`.
        lora: rank of the adapters; None trains all weights.
        whole: with `lora`, modules that have no adapters and learn themselves, or single parameters outside of layers.

    Raises:
        BadInput: no weight fits, or `peft` is wanted and not installed.
    """

    def __init__(self, recipe: Recipe, state: Mapping[str, Tensor], lora: int | None = None, whole: Sequence[str] = ()):
        self.recipe, self.lora, self.whole = recipe, lora, tuple(whole)
        self.name = recipe.name  # type: ignore[misc]
        self.network = recipe.network  # type: ignore[misc]
        self.batch_size = recipe.batch_size
        state = recipe.imported(state)
        with torch.device("meta"):
            wanted = recipe.build().state_dict()
        self.start = {k: v for k, v in state.items() if k in wanted and wanted[k].shape == v.shape}
        self.left_out = sorted({*state, *wanted} - self.start.keys())
        if not self.start:
            shown = ", ".join(printable(key, 60) for key in list(state)[:2])
            raise BadInput(
                f"The weights to start from are of another network: none of its tensors fits ({shown}, ...)."
            )
        if lora is not None:
            require_peft()

    def build(self) -> nn.Module:
        """The network with the weights to start from, and with adapters that change nothing yet."""
        model = self.recipe.build()
        model.load_state_dict(self.start, strict=False)
        if self.lora is not None:
            inject(model, self.lora, self.whole)
        return model

    def export(self, model: nn.Module) -> nn.Module:
        """A copy without adapters that computes the same, for saving."""
        return self.recipe.export(model if self.lora is None else merged(model))

    def facts(self) -> dict[str, Any]:
        begun = fingerprint(*(self.start[name].float().numpy() for name in sorted(self.start)))
        return {**self.recipe.facts(), "start": begun, "lora": self.lora}

    def batch(self, start: int, generator: Generator) -> Batch:
        return self.recipe.batch(start, generator)

    def step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self.recipe.step(model, batch)

    def learn(self, gather: Gather) -> None:
        self.recipe.learn(gather)

    def project(self, model: nn.Module) -> None:
        self.recipe.project(model)

    def state(self) -> dict[str, Tensor]:
        return self.recipe.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.recipe.restore(state)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return self.recipe.evaluate(model)

    def samples(self, model: nn.Module) -> np.ndarray | None:
        return self.recipe.samples(model)


def require_peft() -> Any:
    """The library.

    Raises:
        BadInput: it is not installed; the sentence says how to get it.
    """
    if util.find_spec("peft") is None:
        raise BadInput("Adapters (--lora) need the library peft; install it with: pip install 'lienzo[lora]'.")
    return import_module("peft")


def inject(model: nn.Module, rank: int, whole: Sequence[str] = ()) -> None:
    """Put adapters beside the layers of `model`, in place, and freeze everything but them and `whole`.

    Raises:
        BadInput: the network has no layer that can have one.
    """
    peft = require_peft()
    targets = [name for name, module in model.named_modules() if type(module) in ADAPTED and not _within(name, whole)]
    if not targets:
        raise BadInput("This network has no layers that take adapters; train it without --lora.")
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, lora_dropout=0.0)
    peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name or _within(name, whole))


def merged(model: nn.Module) -> nn.Module:
    """A copy of a network with adapters in which they are added to the weights; its keys are the plain ones."""
    tuners = import_module("peft.tuners.tuners_utils")
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, tuners.BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    return model


def save_adapter(model: nn.Module, folder: Path, whole: Sequence[str] = ()) -> Path:
    """Write only what was learned beside a frozen network, as `peft` reads it.

    Args:
        model: a network with adapters.
        folder: gets adapter_config.json and adapter_model.safetensors, which holds the parameters of `whole` too, under
            their own names.
        whole: as in `FineTune`.
    """
    peft = require_peft()
    config: Any = copy.copy(cast(dict, model.peft_config)[ADAPTER])
    tensors = peft.get_peft_model_state_dict(model, adapter_name=ADAPTER)
    tensors |= {name: value for name, value in model.named_parameters() if "lora_" not in name and _within(name, whole)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "adapter_model.safetensors"
    with replacing(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    config.save_pretrained(folder)
    return path


def _within(name: str, starts: Sequence[str]) -> bool:
    return any(name == start or name.startswith(f"{start}.") for start in starts)
