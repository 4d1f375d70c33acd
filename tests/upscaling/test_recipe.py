"""The SwinIR recipe: repeatable batches, a good start, and losses that fall."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.upscaling.recipe import LAPTOP, SwinIRRecipe, enlarge_bicubic, psnr, start_as_interpolation
from lienzo.upscaling.swinir import SwinIR

TINY = {**LAPTOP, "img_size": 8, "embed_dim": 8, "depths": [1], "num_heads": [1]}


def discs(count: int, size: int = 64) -> np.ndarray:
    """Drawings of coloured discs with soft edges, uint8 (N, size, size, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    pictures = np.ones((count, size, size, 3))
    for picture in pictures:
        for _ in range(4):
            cy, cx, radius = [*rng.uniform(0, size, 2).tolist(), rng.uniform(5, 20)]
            inside = np.clip(radius - np.hypot(y - cy, x - cx) + 0.5, 0, 1)[..., None]
            picture[:] = picture * (1 - inside) + inside * rng.uniform(0, 1, 3)
    return (pictures * 255).round().astype(np.uint8)


def recipe(**options: object) -> SwinIRRecipe:
    return SwinIRRecipe(discs(6), discs(8)[6:], TINY, **{"crop": 8, "batch_size": 4, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("damaged", [False, True])
def test_batches_come_from_the_generator_alone(damaged: bool) -> None:
    one = recipe(damaged=damaged)
    first = one.batch(0, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    again = one.batch(0, torch.Generator().manual_seed(3))
    other = one.batch(4, torch.Generator().manual_seed(4))
    assert first["low"].shape == (4, 3, 8, 8)
    assert first["high"].shape == (4, 3, 32, 32)
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert not torch.equal(value, other[name])
        assert value.min() >= 0
        assert value.max() <= 1
    torch.testing.assert_close(first["low"] * 255, (first["low"] * 255).round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("scale", "in_chans", "connection"), [(4, 3, "1conv"), (3, 1, "3conv"), (2, 3, "1conv")])
def test_a_fresh_network_interpolates(scale: int, in_chans: int, connection: str) -> None:
    """A parabola is met up to what the small random rest of the network adds, far closer than by chance."""
    torch.manual_seed(0)
    config = {**TINY, "upscale": scale, "in_chans": in_chans, "resi_connection": connection, "img_range": 2.0}
    model = start_as_interpolation(SwinIR(**config)).eval()
    low = ((torch.arange(16) + 0.5) / 16).square().expand(1, in_chans, 16, 16)
    high = ((torch.arange(16 * scale) + 0.5) / (16 * scale)).square().expand(1, in_chans, 16 * scale, 16 * scale)
    with torch.no_grad():
        error = (model(low) - high)[:, :, scale:-scale, scale:-scale]
    assert error.abs().mean() < 0.03


def test_other_heads_are_left_alone() -> None:
    model = SwinIR(**{**TINY, "upsampler": "nearest+conv"})
    before = model.conv_first.weight.clone()
    assert torch.equal(start_as_interpolation(model).conv_first.weight, before)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_it_learns_and_reports(loss: str) -> None:
    one = recipe(loss=loss)
    torch.manual_seed(0)
    model = one.build().train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    before = one.evaluate(model.eval())
    losses = []
    for step in range(40):
        loss = sum(one.step(model, one.batch(4 * step, torch.Generator().manual_seed(step))).values())
        assert isinstance(loss, torch.Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = one.evaluate(model.eval())
    protocol = "rgb,x4,mean,n=2"
    assert set(after) == {f"psnr[{protocol}]", f"psnr-bicubic[{protocol}]", f"gain[{protocol}]"}
    assert after[f"psnr-bicubic[{protocol}]"] == before[f"psnr-bicubic[{protocol}]"]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert after[f"psnr[{protocol}]"] > before[f"psnr[{protocol}]"] + 0.5


def test_samples_are_a_sheet_of_three_columns() -> None:
    one = recipe()
    sheet = one.samples(one.build().eval())
    assert sheet is not None
    assert sheet.shape == (2 * 64, 3 * 64, 3)
    assert sheet.dtype == np.uint8
    assert np.array_equal(sheet[:64, 128:], one.held[0])


def test_without_withheld_pictures_there_is_nothing_to_show() -> None:
    one = SwinIRRecipe(discs(2), discs(0), TINY, crop=8)
    assert one.evaluate(one.build()) == {}
    assert one.samples(one.build()) is None


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(BadInput, match="at least 128 pixels"):
        recipe(crop=32)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(BadInput, match="no loss 'gan'"):
        recipe(loss="gan")


def test_psnr() -> None:
    x = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(x, x + 0.1) == pytest.approx(20, abs=1e-4)
    assert psnr(x, x) == 100
    assert enlarge_bicubic(x, 3).shape == (1, 3, 12, 12)
