"""An own painter: widened it draws what it drew; one file holds network and code; mixed batches; sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadWeights
from lienzo.diffusion.code_painter import CodePainter, widen
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.drawing import draw_codes
from lienzo.diffusion.linear_code import MULTIPLE, LinearCode, encode_all, extend_linear_code, fit_linear_code
from lienzo.diffusion.own_painter import OwnPainter, detect, joined, load
from lienzo.diffusion.own_painter_recipe import Beside, OwnPainterRecipe, Shown, pixels
from lienzo.weights.models import Card, load_model, save_model

SIDE, LENGTH, WORDS = 16, 32, 8
CONFIG = {"length": LENGTH, "width": 16, "hidden": 24, "blocks": 2, "rank": 4, "condition": 24, "text_dim": WORDS,
          "styles": ["flat", "blob"]}  # fmt: skip


def pictures(count: int, seed: int, grain: float = 0.0) -> np.ndarray:
    """Blurry pictures of random colours; with `grain`, of stripes besides."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 4, 4, generator=generator)
    large = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear")
    stripes = (torch.arange(SIDE) % 2).float() - 0.5
    amount = grain * torch.randn(count, 3, SIDE, 1, generator=generator)
    return ((large + amount * stripes).clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def painter() -> CodePainter:
    torch.manual_seed(0)
    model = shaken(CodePainter(**CONFIG))
    assert isinstance(model, CodePainter)
    return model


@pytest.fixture(scope="module")
def code() -> LinearCode:
    return fit_linear_code(pictures(80, 0), LENGTH)


def given(count: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(2)
    return {"t": torch.rand(count), "text": torch.randn(count, WORDS)}


def test_a_widened_painter_draws_what_it_drew(painter: CodePainter) -> None:
    wide = widen(painter, 16, ["hokusai", "monet"])
    assert wide.config["styles"] == ["flat", "blob", "hokusai", "monet"]
    x, extra = torch.randn(4, LENGTH), torch.randn(4, 16)
    old_styles, new_styles = torch.tensor([0, 1, 2, 1]), torch.tensor([0, 1, 4, 1])
    before = painter(x, **given(), style=old_styles)
    after = wide(torch.cat([x, extra], 1), **given(), style=new_styles)
    assert torch.allclose(after[:, :LENGTH], before, atol=1e-6)
    assert (after[:, LENGTH:] == 0).all()
    mean = painter.style.weight[:2].mean(0)
    assert torch.allclose(wide.style.weight[2:4], mean.expand(2, -1))
    like = torch.randn(1, CONFIG["condition"])
    assert torch.equal(widen(painter, 0, ["x"], like).style.weight[2], like[0])


def test_a_seed_draws_the_same_picture_before_and_after(painter: CodePainter, code: LinearCode) -> None:
    """Noise of the old numbers is the old noise, as new ones come in multiples of 16."""
    wider_code = extend_linear_code(code, pictures(40, 1, grain=0.2), 32)
    added = wider_code.config["length"] - LENGTH
    assert added > 0
    wide = widen(painter, added, ["new"])
    text = given(2)["text"]
    old = draw_codes(painter, text, torch.tensor([0, 2]), [5, 6], length=LENGTH, guidance=3.0)
    new = draw_codes(wide, text, torch.tensor([0, 3]), [5, 6], length=LENGTH + added, guidance=3.0)
    assert torch.allclose(new[:, :LENGTH], old, atol=1e-5)
    assert new[:, LENGTH:].abs().max() < 1e-5
    assert np.abs(pixels(wider_code, new).astype(int) - pixels(code, old)).max() <= 1


def test_both_new_parts_learn_from_the_first_step(painter: CodePainter) -> None:
    wide = widen(painter, 16, ["new"]).train()
    out = wide(torch.randn(4, LENGTH + 16), **given(), style=torch.tensor([2, 2, 0, 3]))
    (out - 1).square().mean().backward()
    assert wide.leave.weight.grad is not None
    assert wide.enter.weight.grad is not None
    assert wide.style.weight.grad is not None
    assert (wide.leave.weight.grad[LENGTH:].abs().sum(1) > 0).all()
    assert (wide.enter.weight.grad[:, LENGTH:].abs().sum(0) > 0).all()
    assert wide.style.weight.grad[2].abs().sum() > 0


def test_an_extended_code_shows_what_the_old_one_cannot_and_keeps_the_rest(code: LinearCode) -> None:
    striped = pictures(60, 3, grain=0.2)
    wider = extend_linear_code(code, striped, 64, energy=0.99)
    added = wider.config["length"] - LENGTH
    assert added % MULTIPLE == 0
    assert torch.equal(wider.basis[:LENGTH], code.basis)
    assert torch.equal(wider.spread[:LENGTH], code.spread)
    assert torch.equal(wider.mean, code.mean)

    def error(some: LinearCode, images: np.ndarray) -> float:
        back = pixels(some, encode_all(some, images)).astype(float)
        return float(((back - images) ** 2).mean())

    assert error(wider, striped) < 0.1 * error(code, striped)
    assert error(wider, pictures(20, 9)) < 1.05 * error(code, pictures(20, 9))
    codes = encode_all(wider, striped)
    assert torch.allclose(codes[:, :LENGTH], encode_all(code, striped), atol=1e-5)
    assert 0.5 < codes[:, LENGTH:].square().mean() < 2, "new numbers are of the size of the old ones"
    basis = wider.basis.float() * wider.step[:, None]
    products = basis[LENGTH:] @ basis.T
    products[:, LENGTH:] -= torch.eye(added)
    assert products.abs().max() < 0.02, "orthonormal, and orthogonal to the old rows, up to 8 bits"


def test_a_code_that_needs_nothing_is_not_extended(code: LinearCode) -> None:
    assert extend_linear_code(code, pictures(10, 1), 0).config["length"] == LENGTH
    few = extend_linear_code(code, pictures(20, 1, grain=0.2), 64)
    assert few.config["length"] == LENGTH + 16, "twenty pictures give one lot of sixteen"


def test_one_file_is_the_whole_painter(painter: CodePainter, code: LinearCode, tmp_path: Path) -> None:
    model = joined(painter, code, ["a fox"])
    path = tmp_path / "model.safetensors"
    save_model(path, "painter", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    loaded = load_model(path)
    assert isinstance(loaded, OwnPainter)
    assert loaded.config == model.config
    assert loaded.config["known"] == ["a fox"]
    assert detect(model.state_dict())
    assert not detect(painter.state_dict())
    x, style = torch.randn(4, LENGTH), torch.tensor([0, 1, 2, 0])
    assert torch.equal(loaded(x, **given(), style=style), painter(x, **given(), style=style))
    assert torch.equal(loaded.code.decode(x), code.decode(x))


def test_other_tensors_are_refused(painter: CodePainter, code: LinearCode) -> None:
    model = joined(painter, code)
    state = {name: value for name, value in model.state_dict().items() if name != "code.mean"}
    with pytest.raises(BadWeights, match=r"'code\.mean' is missing"):
        load(state, model.config)


def coded(code: LinearCode, count: int, seed: int, style: int = 0, captioned: bool = True) -> CodedPictures:
    vectors = torch.nn.functional.normalize(torch.randn(6, WORDS, generator=torch.Generator().manual_seed(3)), dim=-1)
    rows = [np.array([i % 6] if captioned else [], dtype=np.int64) for i in range(count)]
    return CodedPictures(encode_all(code, pictures(count, seed)), torch.full((count,), style), rows, vectors)


def recipe(painter: CodePainter, code: LinearCode, captioned: bool = True) -> OwnPainterRecipe:
    wider = extend_linear_code(code, pictures(40, 1, grain=0.2), 16)
    config = {**CONFIG, "length": LENGTH + 16, "styles": [*CONFIG["styles"], "new"]}
    old = coded(code, 12, 4, 1)
    old.codes = torch.nn.functional.pad(old.codes, (0, 16))
    beside = [Beside(0.25, coded(wider, 10, 5, 2)), Beside(0.5, old, painter)]
    shown = Shown(coded(wider, 3, 0).vectors[:3], torch.tensor([2, 2, 0]), pictures(3, 0))
    own = coded(wider, 9, 6, 2, captioned)
    return OwnPainterRecipe(own, config, coded(wider, 2, 7, 2), wider, batch_size=16, beside=beside, shown=shown)


def test_batches_are_mixed_by_their_shares(painter: CodePainter, code: LinearCode) -> None:
    made = recipe(painter, code)
    batch = made.batch(32, torch.Generator().manual_seed(0))
    assert {len(value) for value in batch.values()} == {16}
    assert (batch["style"][:8] == 2).all(), "own pictures and those beside them keep the new style"
    assert ((batch["style"][8:] == 1) | (batch["style"][8:] == 3)).all()
    seen = torch.cat([made.batch(start, torch.Generator().manual_seed(0))["clean"][:4] for start in range(0, 144, 16)])
    assert torch.equal(seen.unique(dim=0), made.data.codes.unique(dim=0)), "nine batches of four: every picture"


def test_what_the_teacher_says_is_learned_in_place_of_its_pictures(painter: CodePainter, code: LinearCode) -> None:
    made = recipe(painter, code)
    batch = made.batch(0, torch.Generator().manual_seed(0))
    t = batch["t"][:, None]
    noisy = (1 - t) * batch["clean"] + t * batch["noise"]
    style = torch.where(batch["style"] == 3, painter.no_style, batch["style"])
    answer = painter(
        noisy[8:, :LENGTH], batch["t"][8:], text=batch["text"][8:], style=style[8:], keep=batch["keep"][8:]
    )
    assert torch.allclose(batch["target"][8:, :LENGTH], answer, atol=1e-6)
    assert (batch["target"][8:, LENGTH:] == 0).all()
    assert torch.equal(batch["target"][:8], batch["clean"][:8])
    wide = widen(painter, 16, ["new"])
    only_old = {name: value[8:] for name, value in batch.items()}
    assert made.step(wide, only_old)["velocity"] < 1e-9, "the widened painter agrees with its teacher"


def test_pictures_without_captions_have_the_null_sentence(painter: CodePainter, code: LinearCode) -> None:
    batch = recipe(painter, code, captioned=False).batch(0, torch.Generator().manual_seed(0))
    assert not batch["keep"][:4].any()
    assert batch["keep"][4:].any()


def test_sheets_show_real_pictures_above_drawn_ones(painter: CodePainter, code: LinearCode) -> None:
    made = recipe(painter, code)
    torch.manual_seed(0)
    model = made.build().eval()
    sheet = made.samples(model)
    assert sheet is not None
    assert sheet.shape == (2 * SIDE, 3 * SIDE, 3)
    assert np.array_equal(sheet[:SIDE, :SIDE], pictures(3, 0)[0])
    again = made.samples(model)
    assert np.array_equal(sheet, again)
    assert made.evaluate(model).keys() == {"velocity[withheld]"}


def test_facts_tell_what_decides_the_outcome(painter: CodePainter, code: LinearCode) -> None:
    one, other = recipe(painter, code), recipe(painter, code)
    assert one.facts() == other.facts()
    other.beside[0] = Beside(0.3, other.beside[0].data)
    assert one.facts() != other.facts()
