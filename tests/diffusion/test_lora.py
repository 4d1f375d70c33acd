"""LoRA files: each notation gives the same change, and what does not fit is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_stable_diffusion import networks
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.diffusion.ldm_unet import LdmUnet
from lienzo.diffusion.lora import merge, parse, read_lora

RANK = 2
LINEAR = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"  # (32, 16)
OUT = "middle_block.1.transformer_blocks.0.attn1.to_out.0.weight"  # (64, 64)
CONV = "input_blocks.1.0.in_layers.2.weight"  # (32, 32, 3, 3)
PROJ = "input_blocks.1.1.proj_in.weight"  # (32, 32, 1, 1)
TEXT = "transformer.resblocks.1.attn.in_proj_weight"  # the keys' rows, 16 to 31
FC = "transformer.resblocks.0.mlp.c_fc.weight"  # (64, 16)


def matrices() -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up of each changed weight."""
    g = torch.Generator().manual_seed(3)

    def pair(out: int, inside: int, *kernel: int) -> tuple[Tensor, Tensor]:
        ends = [1] * len(kernel)
        return torch.randn(RANK, inside, *kernel, generator=g), torch.randn(out, RANK, *ends, generator=g)

    return {LINEAR: pair(32, 16), OUT: pair(64, 64), CONV: pair(32, 32, 3, 3), PROJ: pair(32, 32, 1, 1),
            TEXT: pair(16, 16), FC: pair(64, 16)}  # fmt: skip


KOHYA = {
    LINEAR: "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
    OUT: "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0",
    CONV: "lora_unet_down_blocks_0_resnets_0_conv1",
    PROJ: "lora_unet_down_blocks_0_attentions_0_proj_in",
    TEXT: "lora_te_text_model_encoder_layers_1_self_attn_k_proj",
    FC: "lora_te_text_model_encoder_layers_0_mlp_fc1",
}
COMPVIS = {
    LINEAR: "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k",
    OUT: "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_out_0",
    CONV: "lora_unet_input_blocks_1_0_in_layers_2",
    PROJ: "lora_unet_input_blocks_1_1_proj_in",
    TEXT: KOHYA[TEXT],
    FC: KOHYA[FC],
}
PEFT = {
    LINEAR: "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    OUT: "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
    CONV: "unet.down_blocks.0.resnets.0.conv1",
    PROJ: "unet.down_blocks.0.attentions.0.proj_in",
    TEXT: "text_encoder.text_model.encoder.layers.1.self_attn.k_proj",
    FC: "text_encoder.text_model.encoder.layers.0.mlp.fc1",
}
OLD = {**PEFT, LINEAR: "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k",
       OUT: "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out",
       TEXT: "text_encoder.encoder.layers.1.self_attn.k_proj"}  # fmt: skip


def kohya(names: dict[str, str] = KOHYA, alpha: float = 1.0) -> dict[str, Tensor]:
    state = {}
    for key, (down, up) in matrices().items():
        state |= {f"{names[key]}.lora_down.weight": down, f"{names[key]}.lora_up.weight": up,
                  f"{names[key]}.alpha": torch.tensor(alpha)}  # fmt: skip
    return state


def peft() -> dict[str, Tensor]:
    state = {}
    for key, (down, up) in matrices().items():
        state |= {f"{PEFT[key]}.lora_A.weight": down, f"{PEFT[key]}.lora_B.weight": up}
    return state


def old() -> dict[str, Tensor]:
    state = {}
    for key, (down, up) in matrices().items():
        attention = OLD[key].rpartition(".")[2] in ("to_k", "to_out")
        ending = "_lora" if attention else ".lora_linear_layer" if "text" in OLD[key] else ".lora"
        state |= {f"{OLD[key]}{ending}.down.weight": down, f"{OLD[key]}{ending}.up.weight": up}
    return state


def expected(scale: float) -> dict[str, Tensor]:
    """The changed weights, by convolving or multiplying one part after the other."""
    unet, _, text = networks()
    state = {**unet.state_dict(), **text.state_dict()}
    result = {}
    for key, (down, up) in matrices().items():
        product = torch.einsum("or...,ri...->oi...", up.expand(*up.shape[:2], *down.shape[2:]), down)
        changed = state[key].clone()
        rows = slice(16, 32) if key == TEXT else slice(None)
        changed[rows] += scale * product
        result[key] = changed
    return result


@pytest.mark.parametrize(
    ("state", "scale"),
    [(kohya(), 0.5), (kohya(COMPVIS), 0.5), (kohya(alpha=6.0), 3.0), (peft(), 1.0), (old(), 1.0)],
    ids=["kohya", "compvis", "alpha", "peft", "old diffusers"],
)
def test_notations(state: dict[str, Tensor], scale: float) -> None:
    unet, _, text = networks()
    before = {key: value.clone() for key, value in {**unet.state_dict(), **text.state_dict()}.items()}
    lora = parse(state)
    assert merge(lora, unet, text, strength=0.8) == 6
    after = {**unet.state_dict(), **text.state_dict()}
    wanted = expected(0.8 * scale)
    for key, value in after.items():
        assert torch.allclose(value, wanted.get(key, before[key]), atol=1e-5), key
    merge(lora, unet, text, strength=-0.8)
    assert all(torch.allclose(value, before[key], atol=1e-5) for key, value in after.items())


def test_strengths_of_the_two_networks() -> None:
    unet, _, text = networks()
    lora = parse(kohya(alpha=2.0))
    assert merge(lora, unet, text, strength=1.0, text_strength=0.0) == 4
    assert torch.allclose(unet.state_dict()[CONV], expected(1.0)[CONV], atol=1e-5)
    assert torch.equal(text.state_dict()[FC], networks()[2].state_dict()[FC])
    assert merge(lora, unet, None, strength=0.0) == 0


def test_a_middle_kernel() -> None:
    """LoCon with three convolutions: 1x1 down, 3x3 in the middle, 1x1 up."""
    g = torch.Generator().manual_seed(5)
    down, mid, up = (torch.randn(*shape, generator=g) for shape in ((2, 32, 1, 1), (2, 2, 3, 3), (32, 2, 1, 1)))
    name = KOHYA[CONV]
    state = {f"{name}.lora_down.weight": down, f"{name}.lora_mid.weight": mid, f"{name}.lora_up.weight": up}
    unet = networks()[0]
    before = unet.state_dict()[CONV].clone()
    merge(parse(state), unet)
    x = torch.randn(1, 32, 6, 6, generator=g)
    conv = torch.nn.functional.conv2d
    steps = conv(conv(conv(x, down), mid, padding=1), up)
    assert torch.allclose(conv(x, unet.state_dict()[CONV] - before, padding=1), steps, rtol=1e-3, atol=1e-3)


def test_alpha_in_the_description(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    described = {"unet.lora_alpha": 6, "unet.r": 2, "text_encoder.lora_alpha": 2}
    save_file(peft(), path, {"lora_adapter_metadata": json.dumps(described)})
    lora = read_lora(path)
    assert {change.scale for change in lora.unet.values()} == {3.0}
    assert {change.scale for change in lora.text.values()} == {1.0}
    save_file(peft(), path, {"lora_adapter_metadata": json.dumps({"unet.use_rslora": True})})
    with pytest.raises(BadWeights, match="use_rslora"):
        read_lora(path)


NAME = KOHYA[LINEAR]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lora_unet_x.hada_w1_a": torch.zeros(1)}, "LoHa"),
        ({"lora_unet_x.dora_scale": torch.zeros(1)}, "DoRA"),
        ({"lora_te1_x.lora_down.weight": torch.zeros(1)}, "Stable Diffusion XL"),
        ({"conv.weight": torch.zeros(1)}, "is no LoRA: it has the tensor 'conv.weight'"),
        ({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, "lacks the up matrix of 'x'"),
        ({f"{NAME}.lora_up.weight": torch.full((32, 2), torch.inf)}, "not finite"),
        ({f"{NAME}.lora_up.weight": torch.zeros(32, 3)}, "do not fit"),
        ({f"{NAME}.alpha": torch.zeros(2)}, "no single number"),
        ({f"{NAME}.lora_down.weight": torch.zeros(2, 24)}, r"\(32, 24\), and that of this model is \(32, 16\)"),
        ({"lora_unet_x.lora_down.weight": torch.zeros(2, 2), "lora_unet_x.lora_up.weight": torch.zeros(2, 2)},
         r"1 layer that the U-Net of this model lacks \('x'\)"),
    ],
)  # fmt: skip
def test_faults_leave_the_networks_alone(change: dict[str, Tensor], sentence: str) -> None:
    unet, _, text = networks()
    with pytest.raises(BadWeights, match=sentence):
        merge(parse(kohya() | change), unet, text)
    untouched: LdmUnet = networks()[0]
    assert all(torch.equal(value, untouched.state_dict()[key]) for key, value in unet.state_dict().items())
