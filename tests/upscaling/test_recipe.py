"""The SwinIR recipe: repeatable batches, a good start, and losses that fall."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet
from lienzo.upscaling.degradations import luma, shrink
from lienzo.upscaling.recipe import LAPTOP, Degradation, SwinIRRecipe, enlarge_bicubic, psnr, start_as_interpolation
from lienzo.upscaling.swinir import SwinIR

TINY: dict[str, Any] = {**LAPTOP, "img_size": 8, "embed_dim": 8, "depths": [1], "num_heads": [1]}
SAME: dict[str, Any] = {**TINY, "upscale": 1, "upsampler": ""}
GREY: dict[str, Any] = {**SAME, "in_chans": 1}


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


def recipe(config: dict[str, Any] = TINY, **options: Any) -> SwinIRRecipe:
    return SwinIRRecipe(discs(6), discs(8)[6:], config, **{"crop": 8, "batch_size": 4, **options})


@pytest.mark.parametrize("kind", ["bicubic", "light", "real"])
def test_batches_come_from_place_and_generator_alone(kind: str) -> None:
    one = recipe(degradation=Degradation(kind))
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


TASKS = {
    "bicubic": (TINY, Degradation(), "rgb,x4,mean,n=2", "psnr-bicubic"),
    "light": (TINY, Degradation("light"), "rgb,x4,light,mean,n=2", "psnr-bicubic"),
    "real": (TINY, Degradation("real"), "rgb,x4,real,mean,n=2", "psnr-bicubic"),
    "colour noise": (SAME, Degradation("noise", 50), "rgb,noise=50,mean,n=2", "psnr-input"),
    "grey noise": (GREY, Degradation("noise", 12.5), "grey,noise=12.5,mean,n=2", "psnr-input"),
    "colour jpeg": ({**SAME, "window_size": 7}, Degradation("jpeg", 10), "rgb,jpeg=10,mean,n=2", "psnr-input"),
    "grey jpeg": ({**GREY, "window_size": 7}, Degradation("jpeg", 30), "grey,jpeg=30,mean,n=2", "psnr-input"),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_figures_and_sheet(task: str) -> None:
    config, degradation, protocol, baseline = TASKS[task]
    one = recipe(config, degradation=degradation)
    batch = one.batch(0, torch.Generator().manual_seed(0))
    channels = config.get("in_chans", 3)
    assert batch["low"].shape == (4, channels, 8, 8)
    assert batch["high"].shape == (4, channels, 8 * one.scale, 8 * one.scale)
    model = one.build().eval()
    loss = one.step(model, batch)["l2"]
    assert loss.isfinite()
    figures = one.evaluate(model)
    assert list(figures) == [f"psnr[{protocol}]", f"{baseline}[{protocol}]", f"gain[{protocol}]"]
    assert figures == one.evaluate(model)
    sheet = one.samples(model)
    assert sheet is not None
    assert sheet.shape == (128, 192, 3)


def test_noise_has_its_level_and_is_not_cut() -> None:
    one = recipe(SAME, degradation=Degradation("noise", 25), batch_size=12)
    batch = one.batch(0, torch.Generator().manual_seed(0))
    assert (batch["low"] - batch["high"]).std().item() == pytest.approx(25 / 255, rel=0.05)
    assert batch["low"].max() > 1
    protocol = "rgb,noise=25,mean,n=2"
    known = one.evaluate(one.build().eval())[f"psnr-input[{protocol}]"]
    assert 20.2 < known < 22.5, "20 log10(255 / 25) is 20.2; white paper loses the half that is cut"


def test_a_grey_network_learns_brightness() -> None:
    one = recipe(GREY, degradation=Degradation("jpeg", 20))
    high = one._floats(discs(1))
    torch.testing.assert_close(high, luma(torch.from_numpy(discs(1)).permute(0, 3, 1, 2) / 255))
    assert one.degradation(high, 1, torch.Generator()).shape == high.shape


def test_denoising_learns() -> None:
    one = recipe(SAME, degradation=Degradation("noise", 50), loss="charbonnier")
    torch.manual_seed(0)
    model = one.build().train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for step in range(40):
        loss = one.step(model, one.batch(4 * step, torch.Generator().manual_seed(step)))["charbonnier"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert one.evaluate(model.eval())["gain[rgb,noise=50,mean,n=2]"] > 1


def test_the_same_seeds_give_the_same_weights() -> None:
    def trained(**options: Any) -> list[torch.Tensor]:
        one = recipe(degradation=Degradation("real"), **options)
        torch.manual_seed(0)
        model = one.build().train()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for step in range(2):
            one.step(model, one.batch(4 * step, torch.Generator().manual_seed(step)))["l2"].backward()
            optimizer.step()
        return list(model.parameters())

    first, again, other = trained(), trained(), trained(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not all(torch.equal(a, b) for a, b in zip(first, other))


def test_every_picture_comes_once_an_epoch() -> None:
    """Pictures of one colour each tell which was taken; so does the order of any data set's rows."""
    flat = np.repeat(np.arange(6, dtype=np.uint8)[:, None, None, None] * 40, 64, 1).repeat(64, 2).repeat(3, 3)
    data = DataSet(flat, tuple("abcdef"), fingerprint="flat")
    one = SwinIRRecipe(data.images, data.select([0]).images, TINY, crop=8, batch_size=4, data=data.fingerprint)
    seen = [one.batch(start, torch.Generator())["high"][:, 0, 0, 0] * 255 / 40 for start in (0, 4, 8)]
    assert torch.cat(seen).round().int().tolist() == rows_at(6, 0, 12, 0).tolist()
    assert one.evaluate(one.build().eval())
    assert one.facts()["data"] == "flat"


def test_facts_tell_of_options_and_pictures() -> None:
    facts = recipe().facts()
    assert json.loads(json.dumps(facts)) == facts
    others = [recipe(degradation=Degradation("light")), recipe(loss="l1"), recipe(choices=1), recipe(crop=16)]
    others.append(SwinIRRecipe(discs(5), discs(0), TINY, crop=8, batch_size=4))
    assert all(other.facts() != facts for other in others)


def test_the_light_mixture_is_the_one_of_before() -> None:
    from lienzo.upscaling.degradations import damage, to_8_bits

    high = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    light = Degradation("light")(high, 4, torch.Generator().manual_seed(1))
    assert torch.equal(light, to_8_bits(damage(high, 4, torch.Generator().manual_seed(1))))
    assert torch.equal(Degradation()(high, 4, torch.Generator()), to_8_bits(shrink(high, 4)))


@pytest.mark.parametrize(
    ("config", "degradation", "sentence"),
    [
        (SAME, Degradation(), "cannot undo"),
        (TINY, Degradation("noise", 25), "cannot undo"),
        ({**TINY, "in_chans": 1}, Degradation("real"), "colour"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], degradation: Degradation, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        recipe(config, degradation=degradation)


@pytest.mark.parametrize(
    ("given", "sentence"), [(("snow",), "no degradation 'snow'"), (("noise",), "noise was 0"), (("jpeg", 0), "quality")]
)
def test_bad_degradations_are_refused(given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Degradation(*given)


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
