"""The patch discriminator beyond its golden file."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lienzo.autoencoders.patch_discriminator import ActNorm, PatchDiscriminator, detect, load
from lienzo.core.errors import BadInput, BadWeights


@pytest.mark.parametrize(
    "options", [{}, {"n_layers": 1, "input_nc": 1}, {"n_layers": 5, "ndf": 4}, {"use_actnorm": True}], ids=str
)
def test_every_option_is_read_off_the_shapes(options: dict[str, Any]) -> None:
    own = PatchDiscriminator(**{"ndf": 8, **options}).eval()
    for prefix in ("", "discriminator.", "loss.discriminator."):
        state = {prefix + key: value for key, value in own.state_dict().items()}
        assert detect(state)
        again = load({**state, "encoder.conv_in.weight": torch.ones(1)})
        assert again.config == own.config
        x = torch.randn(1, own.config["input_nc"], 128, 128)
        assert torch.equal(again(x), own(x))


def test_logits_are_of_patches() -> None:
    """A changed pixel changes the logits of the patches that see it, and no others."""
    own = PatchDiscriminator(ndf=4, n_layers=2).eval()
    x = torch.zeros(1, 3, 64, 64)
    changed = x.clone()
    changed[..., :8, :8] = 1
    differs = (own(x) != own(changed))[0, 0]
    assert differs[0, 0]
    assert not differs[8:].any()


def test_actnorm_normalises_its_first_batch() -> None:
    layer = ActNorm(3).train()
    x = torch.randn(8, 3, 5, 5) * 4 + 2
    y = layer(x)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(x + 1), y + layer.scale)


def test_refusals() -> None:
    with pytest.raises(BadInput):
        PatchDiscriminator(ndf=0)
    with pytest.raises(BadWeights, match=r"main\.0\.weight"):
        load({})
