import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Adm, AdmSuperRes
from lienzo.diffusion.adm_classifier import AdmClassifier
from lienzo.diffusion.adm_flags import DiffusionSettings, from_flags


def test_defaults_are_those_of_guided_diffusion() -> None:
    described = from_flags({})
    assert described.network is Adm
    assert described.config == {
        "image_size": 64, "in_channels": 3, "model_channels": 128, "out_channels": 3, "num_res_blocks": 2,
        "attention_resolutions": [4, 8], "channel_mult": [1, 2, 3, 4], "num_classes": None, "dropout": 0.0,
        "use_checkpoint": False, "use_fp16": False, "num_heads": 4, "num_head_channels": -1,
        "num_heads_upsample": -1, "use_scale_shift_norm": True, "resblock_updown": False,
        "use_new_attention_order": False,
    }  # fmt: skip
    assert described.diffusion == DiffusionSettings(learn_sigma=False)


def test_text_values_are_read() -> None:
    described = from_flags(
        {"channel_mult": "0.5, 1,2", "attention_resolutions": " 32, 16", "learn_sigma": "True,", "num_heads": "2"}
    )
    assert described.config["channel_mult"] == [0.5, 1, 2]
    assert described.config["attention_resolutions"] == [2, 4]
    assert described.config["out_channels"] == 6
    assert described.config["num_heads"] == 2
    with torch.device("meta"):
        assert described.build().config["channel_mult"] == [0.5, 1, 2]


def test_diffusion_flags() -> None:
    flags = {
        "learn_sigma": True, "noise_schedule": "cosine", "diffusion_steps": 4000, "rescale_timesteps": True,
        "rescale_learned_sigmas": True, "predict_xstart": True, "use_kl": True,
    }  # fmt: skip
    expected = DiffusionSettings("cosine", 4000, True, True, True, "x0", True)
    assert from_flags(flags).diffusion == expected


def test_the_other_networks() -> None:
    upsampler = from_flags({"large_size": 512, "small_size": 128, "class_cond": True})
    assert upsampler.network is AdmSuperRes
    assert upsampler.config["channel_mult"] == [1, 1, 2, 2, 4, 4]
    assert upsampler.config["num_classes"] == 1000
    classifier = from_flags({"image_size": 128, "classifier_depth": 4})
    assert classifier.network is AdmClassifier
    assert classifier.config["num_res_blocks"] == 4
    assert classifier.config["pool"] == "attention"
    assert classifier.config["attention_resolutions"] == [4, 8, 16]


@pytest.mark.parametrize(
    ("flags", "loss", "variance"),
    [
        ({}, "mse", "fixed_large"),
        ({"learn_sigma": True, "rescale_learned_sigmas": True}, "rescaled_mse", "learned_range"),
        ({"learn_sigma": True, "use_kl": True, "rescale_learned_sigmas": True}, "rescaled_kl", "learned_range"),
    ],
)
def test_the_process_is_made_as_guided_diffusion_makes_it(flags: dict[str, bool], loss: str, variance: str) -> None:
    settings = from_flags({**flags, "diffusion_steps": 50, "rescale_timesteps": True, "predict_v": True}).diffusion
    process = settings.process()
    assert (process.loss_type, process.variance_type, process.mean_type) == (loss, variance, "v")
    assert (process.num_timesteps, process.rescale_timesteps) == (50, True)
    with pytest.raises(BadInput, match="not both"):
        from_flags({"predict_v": True, "predict_xstart": True})


def test_small_classifiers_have_heads_that_fit() -> None:
    config = from_flags({"classifier_width": 96, "classifier_channel_mult": "1,2", "image_size": 24}).config
    assert (config["num_head_channels"], config["channel_mult"]) == (32, [1, 2])
    assert from_flags({"image_size": 256, "classifier_depth": 2}).config["num_head_channels"] == 64


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"num_chanels": 128}, "no model flag 'num_chanels'"),
        ({"image_size": 100}, "channel_mult for pictures of 100 pixels"),
        ({"learn_sigma": "maybe"}, "'learn_sigma' was 'maybe'"),
        ({"num_channels": "many"}, "'num_channels' was 'many'"),
        ({"attention_resolutions": "a,b"}, "'attention_resolutions' was 'a,b'"),
        ({"attention_resolutions": "0"}, "sizes in pixels"),
    ],
)
def test_flags_that_cannot_be_read(flags: dict[str, object], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        from_flags(flags)
