"""The course's U-Net: sizes off shapes, options, and what it refuses. Its numbers are proven by the golden test."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from goldens import assert_same

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.classcond_unet import ClassCondUnet, detect, load, shapes

SMALL: dict[str, Any] = {
    "block_out_channels": (8, 16), "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "norm_num_groups": 4, "layers_per_block": 1,
}  # fmt: skip
UNSEEN = ("norm_num_groups", "attention_head_dim", "null_class", "classes")
VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "colour": {"in_channels": 3, "out_channels": 3, "num_classes": 4, "class_emb_size": 2},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "fourier": {"time_embedding_type": "fourier"},
    "learned time": {"time_embedding_type": "learned", "num_train_timesteps": 12, "time_embedding_dim": 20},
    "resnets resample": {"down_block_types": ("AttnDownBlock2D",) * 2, "up_block_types": ("AttnUpBlock2D",) * 2,
                         "downsample_type": "resnet", "upsample_type": "resnet"},
    "named resnets": {"down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D"),
                      "up_block_types": ("ResnetUpsampleBlock2D", "UpBlock2D")},
    "no middle": {"mid_block_type": None},
    "no attention": {"add_attention": False, "layers_per_block": 2},
    "null class": {"null_class": True, "classes": ("a", "b"), "num_classes": 2},
}  # fmt: skip


def network(**options: Any) -> ClassCondUnet:
    torch.manual_seed(0)
    return ClassCondUnet(**{**SMALL, **options}).eval()


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_shapes_tell_the_network(options: dict[str, Any]) -> None:
    model = network(**options)
    state = model.state_dict()
    assert detect(state)
    told = {name: model.config[name] for name in UNSEEN}
    again = load(state, told)
    x = torch.randn(2, model.in_channels, 8, 12)  # not square
    t, y = torch.tensor([1, 9]), torch.tensor([0, 1])
    assert again(x, t, y).shape == x.shape
    assert_same(again(x, t, y), model(x, t, y), 1e-6)
    assert load(state, model.config).config == model.config


def test_the_defaults_are_the_notebooks() -> None:
    with torch.device("meta"):
        model = ClassCondUnet()
    assert sum(p.numel() for p in model.parameters()) == 1_708_201
    found = shapes(model.state_dict())
    assert {name: value for name, value in found.items() if model.config[name] != value} == {"time_embedding_dim": 128}


@torch.no_grad()
def test_time_and_class_matter_and_the_null_class_is_another() -> None:
    model = network(null_class=True)
    assert model.null_class == 10
    x = torch.randn(1, 1, 8, 8)
    answers = [model(x, torch.tensor([t]), torch.tensor([y])) for t, y in ((1, 0), (500, 0), (1, 9), (1, 10))]
    assert all(not torch.equal(a, b) for i, a in enumerate(answers) for b in answers[:i])


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="multiples of 2; 1 channels of 9x8 are not"):
        network()(torch.zeros(1, 1, 8, 9), torch.zeros(1), torch.zeros(1, dtype=torch.long))
    with pytest.raises(BadInput, match="'down_block_types' was 'SkipDownBlock2D'; it should be one of DownBlock2D"):
        network(down_block_types=("SkipDownBlock2D", "DownBlock2D"))
    with pytest.raises(BadInput, match="as many widths as blocks"):
        network(block_out_channels=(8, 8, 8))
    with pytest.raises(BadInput, match="num_train_timesteps"):
        network(time_embedding_type="learned")
    with pytest.raises(BadInput, match="10 channels cannot be normalised in 4 groups"):
        network(block_out_channels=(10, 16))


def test_other_weights_are_refused() -> None:
    state = network().state_dict()
    assert not detect({"class_emb.weight": state["class_emb.weight"]})
    with pytest.raises(BadWeights, match=r"time_emb_proj.* is missing"):
        load({k: v for k, v in state.items() if "time_emb_proj" not in k})
    with pytest.raises(BadWeights, match=r"'model\.conv_out\.bias' is missing"):
        load({k: v for k, v in state.items() if k != "model.conv_out.bias"}, {"norm_num_groups": 4})
