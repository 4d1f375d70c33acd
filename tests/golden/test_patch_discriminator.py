"""The patch discriminator and its losses equal those of taming-transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from goldens import Golden, assert_same

from lienzo.autoencoders import patch_discriminator
from lienzo.autoencoders.adversarial import hinge_loss, vanilla_loss


@pytest.mark.golden("vqgan_discriminator_losses*.safetensors")
@torch.no_grad()
def test_discriminator_and_losses(golden_path: Path) -> None:
    golden = Golden(golden_path)
    assert patch_discriminator.detect(golden.state)
    model = patch_discriminator.load(golden.state, golden.config)
    assert patch_discriminator.load(golden.state).config == model.config
    assert_same(model(golden.inputs["x"]), golden.outputs["d"], what="d")
    real, fake = golden.inputs["logits_real"], golden.inputs["logits_fake"]
    assert_same(hinge_loss(real, fake), golden.outputs["hinge"], what="hinge")
    assert_same(vanilla_loss(real, fake), golden.outputs["vanilla"], what="vanilla")
