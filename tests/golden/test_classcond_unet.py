"""The course's class-conditional U-Net, at the options that the golden file or the shapes of its tensors tell."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same, named_weights
from torch import Tensor

from lienzo.diffusion.classcond_unet import ClassCondUnet, detect, load


@pytest.mark.golden("mnist_classcond_unet*.safetensors")
@torch.no_grad()
def test_classcond_unet(golden_path: Path) -> None:
    golden = Golden(golden_path)
    state, told = golden.state or named_state(golden), options(golden.config)
    assert detect(state)
    model = load(state, told)
    assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    inputs = golden.inputs
    labels = inputs["labels"] if "labels" in inputs else inputs["y"]
    assert_same(model(inputs["x"], inputs["timesteps"], labels), golden.outputs["y"])


def named_state(golden: Golden) -> dict[str, Tensor]:
    """The weights that the file derives from the names of its tensors."""
    shapes = {key: torch.empty(shape, device="meta") for key, shape in golden.config["keys"].items()}
    model = load(shapes, options(golden.config)).to_empty(device="cpu")
    named_weights(model, golden.config["salt"], golden.config.get("key_prefix", ""))
    return model.state_dict()


def options(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the network among all that a file tells, also one level down."""
    known = inspect.signature(ClassCondUnet).parameters
    found: dict[str, Any] = {}
    for part in [*(value for value in config.values() if isinstance(value, dict)), config]:
        found |= {name: value for name, value in part.items() if name in known}
    # `in_channels` may be counted with those of the class, as diffusers does; the shapes tell it anyway.
    found.pop("in_channels", None)
    return found
