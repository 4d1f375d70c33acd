"""Whole checkpoints of Stable Diffusion: each layout gives the same networks, and faults are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_stable_diffusion import compvis, diffusers_folder, lightning, networks, with_averages
from torch import Tensor

from lienzo.clip.tokenizer import END, tokenize
from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.diffusers_keys import UnetNames, unet_to_ldm
from lienzo.diffusion.schedules import stable_diffusion
from lienzo.diffusion.sd_checkpoints import StableDiffusion, detect, open_checkpoint

MANIFEST = Path(__file__).parents[1] / "golden" / "manifest_sd_v1_unet.json"


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def noise(seed: int = 0) -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def assert_same_parts(found: StableDiffusion) -> None:
    """The parts compute what the networks that were saved compute."""
    unet, vae, text = networks()
    x, t = noise(), torch.tensor([3.0, 700.0])
    tokens = tokenize(["a red fox", ""], pad=END)
    context = text.text_states(tokens)
    assert torch.equal(found.context(["a red fox", ""]), context)
    assert torch.equal(found.unet(x, t, context), unet(x, t, context))
    assert torch.equal(found.first_stage.decoder(x), vae.decoder(x))
    images = noise(1)[:, :3]
    assert torch.allclose(found.first_stage.posterior(images).mean, vae.posterior(images).mean, atol=1e-6)


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_a_file_of_compvis(tmp_path: Path, prefix: str) -> None:
    state = compvis(prefix) | {"strange": torch.zeros(1)}
    assert detect(state)
    for path in (lightning(tmp_path / "sd.ckpt", state), saved(tmp_path / "sd.safetensors", state)):
        found = open_checkpoint(path)
        assert_same_parts(found)
        assert torch.allclose(found.betas, stable_diffusion(), rtol=1e-6)
        assert found.first_stage.config["scale_factor"] == 0.18215
        assert (found.prediction, found.text_skip, found.text_pad) == ("eps", 0, END)
        assert found.ignored == ("strange",)


def test_half_precision_without_buffers(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in compvis().items() if key.count(".")}
    found = open_checkpoint(saved(tmp_path / "sd.safetensors", state), scale_factor=0.3, prediction="v")
    assert torch.equal(found.betas, stable_diffusion())
    assert next(found.unet.parameters()).dtype == torch.float32
    assert found.first_stage.config["scale_factor"] == 0.3
    assert found.model().prediction == "v"


def test_a_folder_of_diffusers(tmp_path: Path) -> None:
    found = open_checkpoint(diffusers_folder(tmp_path / "sd", "v_prediction"))
    assert_same_parts(found)
    assert found.prediction == "v"
    assert found.first_stage.config["scale_factor"] == 0.5
    assert torch.equal(found.betas, stable_diffusion())


def test_averages_are_preferred(tmp_path: Path) -> None:
    path = lightning(tmp_path / "sd.ckpt", with_averages(compvis()))
    plain = networks()[0].state_dict()["out.2.weight"]
    assert torch.equal(open_checkpoint(path).unet.state_dict()["out.2.weight"], plain / 2)
    assert torch.equal(open_checkpoint(path, ema=False).unet.state_dict()["out.2.weight"], plain)
    partial = with_averages(compvis())
    del partial["model_ema.diffusion_modelout2weight"]
    path = lightning(tmp_path / "partial.ckpt", partial)
    with pytest.raises(BadWeights, match="diffusion_modelout2weight"):
        open_checkpoint(path)


def test_another_autoencoder(tmp_path: Path) -> None:
    other = {key: value + 1 for key, value in networks()[1].state_dict().items()}
    found = open_checkpoint(lightning(tmp_path / "sd.ckpt", compvis()), vae=saved(tmp_path / "vae.safetensors", other))
    assert torch.equal(found.first_stage.state_dict()["encoder.conv_in.bias"], other["encoder.conv_in.bias"])


def test_stable_diffusion_2_reads_the_penultimate_layer(tmp_path: Path) -> None:
    text = networks()[2].state_dict()
    state = {key: value for key, value in compvis().items() if not key.startswith("cond_stage_model.")}
    state |= {f"cond_stage_model.model.{key}": value for key, value in text.items()}
    own = {"logit_scale": torch.zeros(()), "attn_mask": torch.zeros(77, 77), "text_projection": torch.zeros(16, 16)}
    state |= {f"cond_stage_model.model.{key}": value for key, value in own.items()}
    found = open_checkpoint(lightning(tmp_path / "sd2.ckpt", state))
    assert (found.text_skip, found.text_pad) == (1, 0)
    assert found.text_encoder.config["quick_gelu"] is False
    with torch.no_grad():
        expected = found.text_encoder.text_states(tokenize("a fox"), skip=1)
        assert torch.equal(found.context(["a fox"]), expected)


@pytest.mark.parametrize("prediction", ["eps", "v"])
@torch.no_grad()
def test_the_denoiser(tmp_path: Path, prediction: str) -> None:
    """Of the true noise level and an untrained network, by the formulas of eps and v."""
    found = open_checkpoint(lightning(tmp_path / "sd.ckpt", compvis()), prediction=prediction)  # type: ignore[arg-type]
    model = found.model()
    context = found.context(["a fox", "a cat"])
    sigma = model.sigmas[[10, 600]].float()
    x, level = 3 * noise(), sigma[:, None, None, None]
    output = found.unet(x / (1 + level**2).sqrt(), torch.tensor([10.0, 600.0]), context)
    expected = x - level * output
    if prediction == "v":
        expected = x / (1 + level**2) - level / (1 + level**2).sqrt() * output
    assert torch.allclose(model(x, sigma, context=context), expected, rtol=1e-3, atol=1e-3)


def without(state: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(start)}


def bad(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return state | {key: torch.full_like(state[key], float("nan"))}


NAN = "model.diffusion_model.time_embed.0.bias"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda s: without(s, "first_stage_model."), "has no autoencoder"),
        (lambda s: without(s, "cond_stage_model."), "has no text encoder"),
        (lambda s: without(s, "model.") | {"x": torch.zeros(1)}, "autoencoder alone"),
        (lambda s: {k.removeprefix("model.diffusion_model."): v for k, v in s.items() if k.startswith("model.")},
         "U-Net alone"),
        (lambda s: s | {"conditioner.embedders.0.x": torch.zeros(1)}, "Stable Diffusion XL"),
        (lambda s: s | {"control_model.x": torch.zeros(1)}, "ControlNet"),
        (lambda s: without(s, "model.diffusion_model.out.2.bias"), "'out.2.bias' is missing"),
        (lambda s: without(s, "model.diffusion_model.out.2.weight"), "'out.2.weight' is missing"),
        (lambda s: without(s, "first_stage_model.decoder.norm_out.bias"), "'decoder.norm_out.bias' is missing"),
        (lambda s: without(s, "cond_stage_model.transformer.text_model.final_layer_norm.bias"), "lack ln_final.bias"),
        (lambda s: s | {"model.diffusion_model.extra.weight": torch.zeros(1)}, "'extra.weight' is unexpected"),
        (lambda s: bad(s, NAN), "'time_embed.0.bias' holds numbers that are not finite"),
        (lambda s: s | {"betas": torch.ones(1000)}, "noise schedule 'betas'"),
        (lambda s: {"layers.0.weight": torch.zeros(2, 2)}, "no checkpoint of Stable Diffusion"),
    ],
)  # fmt: skip
def test_faults_are_told(tmp_path: Path, make: object, sentence: str) -> None:
    path = saved(tmp_path / "sd.safetensors", make(compvis()))  # type: ignore[operator]
    with pytest.raises(BadWeights, match=sentence):
        open_checkpoint(path)


def test_folders_with_faults(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no unet"):
        open_checkpoint(tmp_path)
    folder = diffusers_folder(tmp_path / "sd")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": "sample"}))
    with pytest.raises(BadWeights, match="'sample'"):
        open_checkpoint(folder)
    (folder / "text_encoder_2").mkdir()
    with pytest.raises(BadWeights, match="Stable Diffusion XL"):
        open_checkpoint(folder)


def test_options_are_checked(tmp_path: Path) -> None:
    path = lightning(tmp_path / "sd.ckpt", compvis())
    with pytest.raises(BadInput, match="eps or v"):
        open_checkpoint(path, prediction="flow")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="clip_skip"):
        open_checkpoint(path).context(["a"], clip_skip=0)


def test_names_of_diffusers() -> None:
    """Names as they stand in the public files of Stable Diffusion 1 in both layouts."""
    pairs = {
        "down_blocks.0.attentions.0.transformer_blocks.0.ff": "input_blocks.1.1.transformer_blocks.0.ff",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
        "down_blocks.3.resnets.1.norm2": "input_blocks.11.0.out_layers.0",
        "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
        "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.1.conv",
        "up_blocks.1.upsamplers.0.conv": "output_blocks.5.2.conv",
        "up_blocks.3.attentions.2.proj_out": "output_blocks.11.1.proj_out",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
    }
    names = UnetNames([2, 2, 2, 2], [True, True, True, False])
    assert {theirs: names.to_ldm(theirs) for theirs in pairs} == pairs
    assert {names.to_diffusers(ours): ours for ours in pairs.values()} == pairs
    keys = [key.removeprefix("model.diffusion_model.") for key in json.loads(MANIFEST.read_text())["keys"]]
    there = {}
    for key in keys:
        module, _, kind = key.rpartition(".")
        there[f"{names.to_diffusers(module)}.{kind}"] = torch.empty(0)
    assert len(there) == len(keys)
    assert set(unet_to_ldm(there)) == set(keys)
    with pytest.raises(BadWeights, match="strange"):
        unet_to_ldm(there | {"strange": torch.empty(0)})
