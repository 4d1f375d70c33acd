"""The `.yaml` beside a checkpoint is followed, and one that contradicts the weights is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_stable_diffusion import compvis, lightning, networks
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.diffusion.schedules import (
    alphas_cumprod,
    ldm_linear,
    ldm_sqrt,
    ldm_sqrt_linear,
    make_betas,
    stable_diffusion,
)
from lienzo.diffusion.sd_checkpoints import open_checkpoint
from lienzo.diffusion.sd_parts import Parts
from lienzo.diffusion.sd_settings import with_settings

SETTINGS = """\
model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    num_timesteps_cond: 1
    timesteps: 1000
    first_stage_key: "jpg"
    cond_stage_key: "txt"
    image_size: 64
    channels: 4
    cond_stage_trainable: false   # a remark
    conditioning_key: crossattn
    scale_factor: 0.18215
    use_ema: False
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32 # unused
        in_channels: 4
        out_channels: 4
        model_channels: 32
        attention_resolutions: [ 2, 1 ]
        num_res_blocks: 1
        channel_mult: [ 1, 2 ]
        num_heads: 8
        use_spatial_transformer: True
        transformer_depth: 1
        context_dim: 16
        use_checkpoint: True
        legacy: False
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params: {embed_dim: 4, lossconfig: {target: torch.nn.Identity}}
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
"""
"""As CompVis publishes it, for the tiny network."""


def changed(*lines: str) -> str:
    """The settings with these lines in place of those of the same name, or as parameters of the model."""
    text = SETTINGS
    for line in lines:
        name = line.partition(":")[0].strip()
        pattern = rf"(?m)^( *){re.escape(name)}:.*$"
        if re.search(pattern, text):
            text = re.sub(pattern, lambda found, line=line: found[1] + line, text, count=1)
        else:
            text = text.replace("  params:\n", f"  params:\n    {line}\n", 1)
    return text


def bare() -> dict[str, Tensor]:
    """A checkpoint without buffers, which tells neither schedule nor scale."""
    return {key: value for key, value in compvis().items() if "." in key}


def opened(folder: Path, text: str | None, state: dict[str, Tensor] | None = None, **options: Any) -> Any:
    path = folder / "my.v2.safetensors"
    save_file({key: value.contiguous() for key, value in (compvis() if state is None else state).items()}, path)
    if text is not None:
        (folder / "my.v2.yaml").write_text(text)
    return open_checkpoint(path, **options)


def test_what_agrees_changes_nothing(tmp_path: Path) -> None:
    plain, found = opened(tmp_path, None), opened(tmp_path, SETTINGS)
    assert plain.settings is None
    assert found.settings == tmp_path / "my.v2.yaml"
    assert (plain.latent_size, found.latent_size) == (None, 64)
    assert torch.equal(plain.betas, found.betas)
    assert (found.prediction, found.text_skip, found.first_stage.config["scale_factor"]) == ("eps", 0, 0.18215)
    x, context = torch.randn(1, 4, 8, 8), plain.context(["a fox"])
    with torch.no_grad():
        assert torch.equal(plain.unet(x, torch.tensor([5]), context), found.unet(x, torch.tensor([5]), context))


def test_a_lightning_checkpoint_has_one_too(tmp_path: Path) -> None:
    (tmp_path / "sd.yaml").write_text(changed('parameterization: "v"'))
    assert open_checkpoint(lightning(tmp_path / "sd.ckpt", compvis())).prediction == "v"


def test_what_the_weights_do_not_tell(tmp_path: Path) -> None:
    lines = ('parameterization: "v"', "linear_start: 1e-3", "linear_end: 0.02", "timesteps: 500",
             "scale_factor: 0.13", "image_size: 96", "num_heads: 4")  # fmt: skip
    found = opened(tmp_path, changed(*lines), bare())
    assert found.prediction == "v"
    assert torch.equal(found.betas, ldm_linear(500, start=0.001, end=0.02))
    assert found.first_stage.config["scale_factor"] == 0.13
    assert found.latent_size == 96
    assert found.unet.config["num_heads"] == 4
    heads = opened(tmp_path, changed("num_heads: -1\n        num_head_channels: 16"), bare()).unet.config
    assert (heads["num_heads"], heads["num_head_channels"]) == (-1, 16)
    assert opened(tmp_path, None, bare(), prediction="eps").prediction == "eps"  # who opens it has the last word


@pytest.mark.parametrize(
    ("lines", "betas"),
    [
        (["beta_schedule: sqrt_linear"], ldm_sqrt_linear(1000, start=0.00085, end=0.012)),
        (["beta_schedule: sqrt"], ldm_sqrt(1000, start=0.00085, end=0.012)),
        (["beta_schedule: cosine"], make_betas("ldm_cosine", 1000)),
        (["beta_schedule: linear", "linear_start: null", "linear_end: null"], ldm_linear(1000)),
    ],
)
def test_schedules(tmp_path: Path, lines: list[str], betas: Tensor) -> None:
    assert torch.equal(opened(tmp_path, changed(*lines), bare()).betas, betas)


def test_half_precision_agrees(tmp_path: Path) -> None:
    state = {key: value.half() if value.is_floating_point() else value for key, value in compvis().items()}
    assert opened(tmp_path, SETTINGS, state).settings is not None


def test_a_scale_from_the_data_is_that_of_the_file(tmp_path: Path) -> None:
    state = compvis() | {"scale_factor": torch.tensor(0.23)}
    found = opened(tmp_path, changed("scale_factor: 1.0", "scale_by_std: true"), state)
    assert found.first_stage.config["scale_factor"] == pytest.approx(0.23)


def of_version_2() -> dict[str, Tensor]:
    text = {f"cond_stage_model.model.{key}": value for key, value in networks()[2].state_dict().items()}
    own = {"cond_stage_model.model.text_projection": torch.zeros(16, 16)}
    return {key: value for key, value in compvis().items() if not key.startswith("cond_stage_model.")} | text | own


def test_the_layer_of_the_text_encoder(tmp_path: Path) -> None:
    embedder = "target: ldm.modules.encoders.modules.Frozen{}CLIPEmbedder\n"
    openai, open_clip = embedder.format(""), embedder.format("Open")
    second = SETTINGS.replace(openai, open_clip)
    penultimate = second + '      params: {freeze: True, layer: "penultimate"}\n'
    assert opened(tmp_path, None, of_version_2()).text_skip == 1
    (tmp_path / "my.v2.yaml").unlink(missing_ok=True)
    assert opened(tmp_path, second, of_version_2()).text_skip == 0
    assert opened(tmp_path, penultimate, of_version_2()).text_skip == 1
    with pytest.raises(BadWeights, match="= FrozenOpenCLIPEmbedder, and its weights FrozenCLIPEmbedder"):
        opened(tmp_path, second)
    with pytest.raises(BadWeights, match="= FrozenCLIPEmbedder, and its weights FrozenOpenCLIPEmbedder"):
        opened(tmp_path, SETTINGS, of_version_2())
    with pytest.raises(BadWeights, match="read the text encoder at pooled; it should be last"):
        opened(tmp_path, SETTINGS + "      params: {layer: pooled}\n")


V = {"v_pred": torch.zeros(1)}
SCALED = {"scale_factor": torch.tensor(0.5)}


@pytest.mark.parametrize(
    ("lines", "more", "sentence"),
    [
        (["in_channels: 9"], {}, "say in_channels = 9, and its weights 4"),
        (["context_dim: 1024"], {}, "say context_dim = 1024, and its weights 16"),
        (["model_channels: 320"], {}, "say model_channels = 320"),
        (["channel_mult: [1, 2, 4, 4]"], {}, r"say channel_mult = \[1, 2, 4, 4\], and its weights \[1, 2\]"),
        (["num_res_blocks: 2"], {}, "say num_res_blocks = 2"),
        (["attention_resolutions: [4, 2]"], {}, "say attention_resolutions"),
        (['parameterization: "eps"'], V, "say parameterization = eps, and its weights v"),
        (["scale_factor: 0.18215"], SCALED, "say scale_factor = 0.18215, and its weights 0.5"),
        (["linear_end: 0.02"], {}, "give another noise schedule than the checkpoint holds"),
        (["timesteps: 999"], {}, "give another noise schedule"),
        (["parameterization: x0"], {}, "say parameterization = x0; it should be eps or v"),
        (["parameterization: [v]"], {}, "it should be eps or v"),
        (["beta_schedule: lines"], {}, "say beta_schedule = lines; it should be one of linear"),
        (["beta_schedule: [linear]"], {}, "it should be one of linear"),
        (["linear_start: ${model.start}"], {}, "say linear_start = .*, which makes no sense"),
        (["linear_start: .nan"], {}, "say linear_start = nan, which makes no sense"),
        (["linear_start: true"], {}, "say linear_start = True, which makes no sense"),
        (["linear_end: -0.1"], {}, "say linear_end = -0.1"),
        (["timesteps: 1000000000000"], {}, "say timesteps = 1000000000000"),
        (["timesteps: 999.5"], {}, "say timesteps = 999.5"),
        (["image_size: 64.5"], {}, "say image_size = 64.5"),
        (["image_size: 99999"], {}, "say image_size = 99999"),
        (["scale_factor: 0"], {}, "say scale_factor = 0,"),
        (["scale_factor: 1" + "0" * 400], {}, "say scale_factor = 10+"),
        (["scale_factor: 0x" + "f" * 9000], {}, "say scale_factor = a number of thousands of digits"),
        (["num_heads: many"], {}, "say num_heads = many"),
        (["num_heads: 7"], {}, "say num_heads = 7, which does not divide its 32 channels"),
        (["unet_config: 3"], {}, "no sound YAML"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, lines: list[str], more: dict[str, Tensor], sentence: str) -> None:
    with pytest.raises(BadWeights, match=sentence) as raised:
        opened(tmp_path, changed(*lines), compvis() | more)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: 3", "have no table 'model' where one belongs"),
        ("model: {}", "have no table 'params'"),
        ("model: {target: sgm.models.diffusion.DiffusionEngine, params: {network_config: {}}}", "describe no U-Net"),
        ("model: {params: {unet_config: 3}}", "have no table 'unet_config'"),
        ("model: {params: {unet_config: {}}}", "have no table 'params'"),
        ("model: !!python/name:os.system", "no sound YAML"),
        ("model: *a", "no sound YAML"),
        ("", "is no table"),
    ],
)
def test_files_that_are_broken(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadWeights, match=sentence):
        opened(tmp_path, text)


def test_a_yaml_of_another_kind_is_left_aside(tmp_path: Path) -> None:
    assert opened(tmp_path, "pretrained_model_name_or_path: x\nlearning_rate: 1e-4").settings is None


def test_a_small_table_is_enough(tmp_path: Path) -> None:
    found = opened(tmp_path, "model: {params: {parameterization: v, unet_config: {params: {}}}}", bare())
    assert found.prediction == "v"
    assert torch.allclose(alphas_cumprod(found.betas).float(), compvis()["alphas_cumprod"], atol=1e-6)


PUBLISHED = {"in_channels: 4": "in_channels: 4", "model_channels: 32": "model_channels: 320",
             "[ 2, 1 ]": "[ 4, 2, 1 ]", "num_res_blocks: 1": "num_res_blocks: 2", "[ 1, 2 ]": "[ 1, 2, 4, 4 ]",
             "context_dim: 16": "context_dim: 768"}  # fmt: skip


def test_the_published_settings_fit_version_1(tmp_path: Path) -> None:
    text = SETTINGS
    for ours, theirs in PUBLISHED.items():
        assert ours in text
        text = text.replace(ours, theirs)
    shapes = json.loads((Path(__file__).parents[1] / "golden" / "manifest_sd_v1_unet.json").read_text())["keys"]
    unet = {
        key.removeprefix("model.diffusion_model."): torch.empty(shape, device="meta") for key, shape in shapes.items()
    }
    (tmp_path / "v1.yaml").write_text(text)
    found = with_settings(Parts(unet=unet, first_stage={}, text={}), tmp_path / "v1.ckpt")
    assert (found.unet_config, found.text_skip, found.latent_size) == ({"num_heads": 8}, 0, 64)
    assert torch.equal(found.betas, stable_diffusion())
    (tmp_path / "v1.yaml").write_text(text.replace("in_channels: 4", "in_channels: 9"))
    with pytest.raises(BadWeights, match="say in_channels = 9, and its weights 4"):
        with_settings(found, tmp_path / "v1.ckpt")
