"""The VQ first stage of latent diffusion: latents before quantisation, quantised in decode."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import vqgan


@pytest.mark.golden("ldm_vq_interface*.safetensors")
@torch.no_grad()
def test_vq_interface(golden_path: Path) -> None:
    golden = Golden(golden_path)
    names = ("ddconfig", "n_embed", "embed_dim", "beta", "remap", "unknown_index", "sane_index_shape")
    settings = {name: golden.config[name] for name in names if name in golden.config}
    for prefix in ("", "first_stage_model."):
        state = {prefix + key: value for key, value in golden.state.items()}
        assert vqgan.detect(state)
        model = vqgan.load(state, settings)
        h = model.encode(golden.inputs["x"])
        assert_same(h, golden.outputs["h"], what="h")
        assert_same(model.decode(h), golden.outputs["dec"], what="dec")
        assert_same(model.decode_unquantised(h), golden.outputs["dec_not_quantized"], what="dec_not_quantized")
