from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_checkpoints import (
    PUBLIC,
    TORSO,
    config_from,
    detect,
    diffusion_from,
    diffusion_of,
    load,
    recognise,
)
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.adm_flags import DiffusionSettings, from_flags

SMALL: dict[str, Any] = {
    "image_size": 64,
    "in_channels": 3,
    "model_channels": 32,
    "out_channels": 6,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 2],
}


def shapes_of(network: type[Adm] | type[AdmClassifier], **config: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        return network(**{**SMALL, **config}).state_dict()


def weights() -> dict[str, Tensor]:
    return {key: torch.zeros(value.shape) for key, value in shapes_of(Adm).items()}


SAME_SHAPES = {"lsun_uncond_100M": "256x256_clip_diffusion_art"}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_file_is_recognised_by_its_shapes(name: str) -> None:
    described = from_flags(PUBLIC[name])
    with torch.device("meta"):
        state = described.build().state_dict()
    assert detect(state)
    found = recognise(state)
    assert found.name == SAME_SHAPES.get(name, name)
    assert found.described.network is described.network
    assert {k: v for k, v in found.described.config.items() if k in described.config} == {
        k: sorted(v) if k == "attention_resolutions" else v for k, v in described.config.items()
    }
    if name not in SAME_SHAPES:
        assert found.described.diffusion == described.diffusion


@pytest.mark.parametrize("levels", [[1], [1, 1], [1, 1, 1], [0.5, 1, 3, 1], [1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("resampling", ["updown", "convolution", "pool"])
@pytest.mark.parametrize("attention", [[], [2, 8], [1, 2, 4, 8]], ids=str)
def test_structure_is_read_off_any_unet(levels: list[float], depth: int, resampling: str, attention: list[int]) -> None:
    config = {
        "model_channels": 64, "channel_mult": levels, "num_res_blocks": depth,
        "attention_resolutions": [factor for factor in attention if factor < 2 ** len(levels)],
        "resblock_updown": resampling == "updown" and len(levels) > 1,
        "conv_resample": resampling != "pool" or len(levels) == 1,
        "use_scale_shift_norm": depth % 2 == 1, "num_classes": 7 if depth == 2 else None,
    }  # fmt: skip
    read = config_from(shapes_of(Adm, **config))
    assert {name: read[name] for name in config} == config


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("updown", [False, True])
def test_structure_is_read_off_any_classifier(depth: int, updown: bool) -> None:
    config = {
        "channel_mult": [1, 1, 2], "num_res_blocks": depth, "attention_resolutions": [2, 4],
        "resblock_updown": updown, "num_head_channels": 32, "pool": "attention", "image_size": 48,
    }  # fmt: skip
    read = config_from(shapes_of(AdmClassifier, **config))
    assert {name: read[name] for name in config} == config


def test_habits_of_the_families() -> None:
    assert config_from(shapes_of(Adm, resblock_updown=True, model_channels=64))["num_head_channels"] == 64
    assert config_from(shapes_of(Adm, resblock_updown=True, model_channels=96))["num_head_channels"] == 64
    assert config_from(shapes_of(Adm, use_scale_shift_norm=True))["num_heads"] == 4
    assert config_from(shapes_of(Adm))["num_heads"] == 1
    assert diffusion_from(shapes_of(Adm)) == DiffusionSettings(learn_sigma=True)
    assert diffusion_from(shapes_of(Adm, out_channels=3)) == DiffusionSettings(learn_sigma=False)
    assert recognise(shapes_of(Adm)).name is None


def test_a_finetuned_public_model_keeps_its_heads_but_not_its_name() -> None:
    flags = PUBLIC["64x64_diffusion"]
    config = {**from_flags(flags).config, "num_classes": 12, "out_channels": 3}
    with torch.device("meta"):
        found = recognise(Adm(**config).state_dict())
    assert found.name is None
    assert found.described.config["use_new_attention_order"]
    assert found.described.config["num_classes"] == 12
    assert found.described.diffusion.noise_schedule == "cosine"
    assert not found.described.diffusion.learn_sigma


def test_upsamplers_are_told_by_their_six_channels_or_their_settings() -> None:
    assert recognise(shapes_of(AdmSuperRes)).described.network is AdmSuperRes
    six = shapes_of(Adm, in_channels=6, out_channels=6)
    state = {key: torch.zeros(value.shape) for key, value in six.items()}
    assert type(load(state)) is AdmSuperRes
    assert type(load(state, {"in_channels": 6})) is Adm
    grey = {k: torch.zeros(v.shape) for k, v in shapes_of(AdmSuperRes, in_channels=1, out_channels=1).items()}
    assert type(load(grey, {"in_channels": 1})) is AdmSuperRes


def test_detect_knows_its_neighbours() -> None:
    state = shapes_of(Adm)
    assert detect(state)
    assert detect(shapes_of(AdmClassifier))
    assert not detect({})
    assert not detect({f"model.{key}": value for key, value in state.items()})
    assert not detect({**state, "input_blocks.1.1.transformer_blocks.0.norm1.weight": torch.zeros(1)})
    assert not detect({**state, "middle_block.1.encoder_kv.weight": torch.zeros(1)})


def test_loading_evaluates_and_settings_win() -> None:
    network = load(weights(), {"num_heads": 4, "dropout": 0.5})
    assert not network.training
    assert network.config["num_heads"] == 4
    assert network.config["dropout"] == 0.5


def test_a_model_says_its_own_diffusion_and_classes() -> None:
    told = {"noise_schedule": "cosine", "steps": 77, "prediction": "v"}
    network = load(weights(), {"diffusion": told})
    assert diffusion_of(network) == DiffusionSettings("cosine", 77, prediction="v")
    assert diffusion_of(load(weights())) == DiffusionSettings("linear", 1000)
    state = {key: torch.zeros(value.shape) for key, value in shapes_of(Adm, num_classes=3).items()}
    for classes in (["a", "b", "c"], ["a", "b"]):
        assert load(state, {"classes": classes}).config["classes"] == classes
    for wrong in (["a"], ["a", "b", "c", "d"], ["a", "b", 3]):
        with pytest.raises(BadWeights, match="they know 3 classes"):
            load(state, {"classes": wrong})
    config = {"num_head_channels": 32, "pool": "adaptive", "out_channels": 3}
    eyes = {key: torch.zeros(value.shape) for key, value in shapes_of(AdmClassifier, **config).items()}
    assert diffusion_of(load(eyes, {"diffusion": {**told, "learn_sigma": False}})).steps == 77
    with pytest.raises(BadWeights, match="they know 3 classes"):
        load(eyes, {"classes": ["a", "b"]})


def without(state: Mapping[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


def test_missing_and_unexpected_keys_are_named() -> None:
    state = without(weights(), "out.2.weight", "middle_block.1.qkv.bias", "input_blocks.1.0.in_layers.2.weight")
    with pytest.raises(BadWeights) as error:
        load({**state, "more": torch.zeros(1)})
    text = str(error.value)
    assert all(f"'{key}'" in text for key in ("out.2.weight", "middle_block.1.qkv.bias", "more"))
    assert "missing" in text
    assert "unexpected" in text


@pytest.mark.parametrize(
    "key", ["time_embed.0.weight", "input_blocks.0.0.weight", "out.2.bias", "input_blocks.1.0.out_layers.3.bias"]
)
def test_keys_that_tell_the_structure_are_named_too(key: str) -> None:
    with pytest.raises(BadWeights, match=f"'{key}' is missing"):
        load(without(weights(), key))


def test_other_broken_weights() -> None:
    state = weights()
    with pytest.raises(BadWeights, match="no array of 2 axes"):
        load({**state, "time_embed.0.weight": torch.zeros(())})
    with pytest.raises(BadWeights, match="form no even levels"):
        load({key: value for key, value in state.items() if not key.startswith("output_blocks.3.")})
    with pytest.raises(BadWeights, match=r"'out.2.weight' has shape"):
        load({**state, "out.2.weight": torch.zeros(6, 32, 1, 1)})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"width": 3}, "unknown argument 'width'"),
        ({"num_heads": 5}, "cannot be shared among 5"),
        ({"num_res_blocks": 10**9}, "2000000002 blocks, and the weights have 4"),
        ({"channel_mult": None}, "make no ADM network"),
        ({"channel_mult": [float("inf"), 1]}, "make no ADM network"),
        ({"num_classes": 10**30}, "make no ADM network"),
        ({"diffusion": {"steps": 10**12}}, "1000000000000 steps"),
        ({"diffusion": {"steps": True}}, "'steps' that is True"),
        ({"diffusion": {"width": 1}}, "setting 'width'"),
        ({"diffusion": {"noise_schedule": "odd"}}, "diffusion is unknown: 'odd'"),
        ({"diffusion": {"prediction": "previous_x"}}, "'previous_x'"),
        ({"diffusion": {"learn_sigma": False}}, "number of channels do not fit"),
        ({"diffusion": [1]}, "no set of settings"),
        ({"classes": ["cat"]}, "they know 0 classes"),
        ({"classes": "cat"}, "they know 0 classes"),
    ],
    ids=str,
)
def test_settings_from_a_hostile_file(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadWeights, match=problem):
        load(weights(), config)


def test_torso_names_are_arguments() -> None:
    read = config_from(shapes_of(Adm))
    assert set(TORSO) <= set(read)
