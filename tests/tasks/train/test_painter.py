"""`train painter`: a folder becomes a model that `create` paints with; tuning keeps the base and adds a style."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import LENGTH, SIZE, STYLES, tiny_painter

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Picture
from lienzo.data.sets import DataSet
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.own_painter import OwnPainter
from lienzo.tasks.create import Create
from lienzo.tasks.easel import open_easel
from lienzo.tasks.painter_recipes import open_base, tuned
from lienzo.tasks.painter_sets import (
    Captioned,
    captions_of_set,
    coded,
    cropped,
    drawn_by,
    in_palettes,
    some,
    styles_of,
    with_words,
)
from lienzo.tasks.train.diffusion import TrainDiffusion
from lienzo.tasks.train.painter import TUNING, TrainPainter, as_painter, is_painter, run
from lienzo.weights.models import load_model, read_card
from lienzo.weights.store import resolve

SMALL: dict[str, Any] = {"batch": 8, "images": 24, "ema_half_lives": (8,), "warmup": 0, "look_images": 0}
TUNE: dict[str, Any] = {**SMALL, "start_from": "painter", "crops": 2, "repaints": 6, "added": 16, "copies": 4}


def picture(seed: int, side: int = 48) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    """Nine pictures with captions beside them."""
    folder = tmp_path / "Hokusai"
    folder.mkdir()
    for i in range(9):
        picture(i).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a bridge {i} in the style of Hokusai\nnumber {i}\n")
    return folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Twenty-four pictures in two folders."""
    for i in range(24):
        folder = tmp_path / "things" / ("red_apple", "boat")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(i, SIZE).save(folder / f"{i}.png")
    return tmp_path / "things"


def train(**given: Any) -> list[Any]:
    return list(run(TrainPainter.make(**given)))


def painted(model: str, prompt: str, **given: Any) -> np.ndarray:
    easel = open_easel(Create.make(prompt=prompt, model=model, seed=1, size=16, upscaler="none", **given))
    (image,) = (event.image for event in easel.pictures() if isinstance(event, Picture))
    return image


def test_a_folder_of_classes_becomes_a_painter(classes: Path, tmp_path: Path) -> None:
    events = train(data=str(classes), size=SIZE, width=32, hidden=32, blocks=1, copies=5, out=tmp_path / "run", **SMALL)
    model = load_model(resolve(tmp_path / "run"))
    assert isinstance(model, OwnPainter)
    assert model.config["painter"]["styles"] == ["things"]
    assert model.config["painter"]["length"] == 16, "twenty-two pictures allow sixteen numbers"
    assert set(model.config["known"]) == {"red apple", "boat"}
    figures = {figure.name for figure in read_card(tmp_path / "run" / "model.safetensors").metrics}  # type: ignore[union-attr]
    assert figures == {"copies", "velocity"}
    assert (tmp_path / "run" / "copies.png").is_file()
    assert any(isinstance(event, Picture) and event.path for event in events), "a sample sheet"
    assert any(isinstance(event, Note) and "of 5 samples" in event.text for event in events)
    assert painted(str(tmp_path / "run"), "a boat").shape == (16, 16, 3)


def test_tuning_adds_a_style_that_prompts_can_name(paintings: Path, tmp_path: Path) -> None:
    events = train(data=str(paintings), out=tmp_path / "run", **TUNE)
    model = load_model(resolve(tmp_path / "run"))
    assert isinstance(model, OwnPainter)
    assert model.config["painter"]["styles"] == [*STYLES, "hokusai"]
    assert model.config["painter"]["length"] == LENGTH + 16
    assert torch.equal(model.code.basis[:LENGTH], load_model(resolve("code")).basis)  # type: ignore[arg-type]
    assert "a bridge 3" in model.config["known"], "captions are kept without the words of style"
    folder = str(tmp_path / "run")
    for prompt in ("a bridge in the style of Hokusai", "un puente al estilo de Hokusai", "мост в стиле Хокусая"):
        easel = open_easel(Create.make(prompt=prompt, model=folder))
        assert easel.wish.style == "hokusai"
        assert easel.wish.text in ("a bridge", "un puente", "мост")
    in_style, plain = painted(folder, "a bridge by Hokusai"), painted(folder, "a bridge")
    assert not np.array_equal(in_style, plain)
    assert np.array_equal(painted(folder, "a bridge", style="Hokusai"), in_style)
    assert {event.name for event in events if isinstance(event, Metric)} >= {
        "velocity",
        "copies[rmse,64px,shift=2,n=4]",
    }


@pytest.mark.parametrize("repaint", [0.5, 0.0])
def test_before_the_first_step_the_tuned_painter_is_the_base(repaint: float, paintings: Path, tmp_path: Path) -> None:
    options = TrainPainter.make(data=str(paintings), out=tmp_path / "run", repaint=repaint, **TUNE)
    made = tuned(options, open_base("painter"), paintings_set(), paintings_set().select([]))
    torch.manual_seed(0)
    start, base = made.recipe.build().eval(), tiny_base()
    assert isinstance(start, OwnPainter)
    text = torch.nn.functional.normalize(torch.randn(3, 32), dim=-1)
    style, x, t = torch.tensor([0, 1, 2]), torch.randn(3, LENGTH + 16), torch.tensor([0.1, 0.5, 0.98])
    before, after = base(x[:, :LENGTH], t, text=text, style=style), start(x, t, text=text, style=style)
    assert torch.allclose(after[:, :LENGTH], before, atol=1e-6)
    assert (after[:, LENGTH:] == 0).all()
    rows = base.style.weight
    begun = start.painter.style.weight[len(STYLES)]
    distances = (rows - begun).norm(dim=1)
    assert distances.argmin() == STYLES.index("flat") if repaint else distances.min() == 0
    assert distances.min() > 0.1 if repaint else True


def test_one_seed_one_painter(paintings: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(data=str(paintings), out=tmp_path / name, **{**TUNE, "copies": 0})
    one, other = (load_model(resolve(tmp_path / name)).state_dict() for name in ("a", "b"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_tuned_painter_can_be_tuned_again(paintings: Path, tmp_path: Path) -> None:
    train(data=str(paintings), out=tmp_path / "one", **{**TUNE, "copies": 0})
    again = {**TUNE, "start_from": str(tmp_path / "one"), "copies": 0, "style": "Monet"}
    train(data=str(paintings), out=tmp_path / "two", **again)
    model = load_model(resolve(tmp_path / "two"))
    assert model.config["painter"]["styles"] == [*STYLES, "hokusai", "monet"]  # type: ignore[index,union-attr]


@pytest.mark.skipif(util.find_spec("peft") is None, reason="peft is not installed")
def test_adapters_leave_a_plain_model_and_a_file_of_their_own(paintings: Path, tmp_path: Path) -> None:
    train(data=str(paintings), out=tmp_path / "run", lora=2, **TUNE)
    model = load_model(resolve(tmp_path / "run"))
    assert isinstance(model, OwnPainter)
    base = tiny_base().state_dict()
    for name, value in model.painter.state_dict().items():
        if name.startswith("memory."):
            value = value[..., : base[name].shape[-1]]  # the code has grown; of its new numbers nothing is remembered
        if name == "reminder.gate.bias":
            value = value.unflatten(0, (3, -1))[:, : len(base[name]) // 3].flatten()
        same = value.shape == base[name].shape and torch.allclose(value, base[name], atol=1e-3)
        learns = (name.endswith("weight") and value.ndim == 2) or name.startswith(("enter", "leave", "style"))
        assert same or learns, name
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"start_from": None, "lora": 2}, "name it with --from"),
        ({"start_from": "upscaler"}, "'upscaler' is a SwinIR, no painter"),
        ({"start_from": None}, "9 pictures are too few to learn from alone; add --from painter"),
    ],
)
def test_what_does_not_fit(given: dict[str, Any], sentence: str, paintings: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence):
        train(data=str(paintings), out=tmp_path / "run", **{**TUNE, **given, "held": 0.0})
    assert not (tmp_path / "run").exists()


def tiny_base() -> CodePainter:
    model = load_model(resolve("painter"))
    assert isinstance(model, CodePainter)
    assert model.config == tiny_painter().config
    return model


def paintings_set() -> DataSet:
    images = np.stack([np.asarray(picture(i, 2 * SIZE)) for i in range(9)])
    names = tuple(f"{i}.png" for i in range(9))
    return DataSet(images, names, captions=tuple((f"a bridge {i}",) for i in range(9)))


def named(names: list[str], **given: Any) -> DataSet:
    return DataSet(np.zeros((len(names), 8, 8, 3), np.uint8), tuple(names), **given)


def test_which_pictures_are_in_which_style() -> None:
    told = (("a",), ("b",))
    in_folders = named(["van_gogh/1.png", "Hokusai/1.png"], captions=told)
    styles, (index,) = styles_of([in_folders], None, "/data/all")
    assert styles == ["hokusai", "van gogh"]
    assert index.tolist() == [1, 0]
    assert styles_of([in_folders], "Mine", "/data/all")[0] == ["mine"]
    assert styles_of([named(["1.png", "2.png"], captions=told)], None, "/data/My_Paintings")[0] == ["my paintings"]
    labels = np.array([0, 1])
    classes = named(["cat/1.png", "dog/1.png"], labels=labels, label_names=("cat", "dog"))
    assert styles_of([classes], None, "pets")[0] == ["pets"], "classes without captions are what is shown"
    corpus = named(["1", "2"], labels=labels, label_names=("flat", "blob"), captions=told)
    assert styles_of([corpus], None, "corpus")[0] == ["blob", "flat"]
    assert styles_of([corpus, named([])], None, "corpus")[1][1].shape == (0,)
    many = named([f"{i}/1.png" for i in range(65)], captions=(("x",),) * 65)
    with pytest.raises(BadInput, match="65 folders, too many to be styles; name one for all with --style"):
        styles_of([many], None, "many")


def test_what_is_said_of_pictures() -> None:
    data = named(["1", "2"], captions=(("A bridge by Hokusai", "  ", "a bridge"), ()))
    assert captions_of_set(data, ["hokusai"]) == [("a bridge",), ()]
    classes = named(["1"], labels=np.array([0]), label_names=("red_apple",))
    assert captions_of_set(classes, []) == [("red apple",)]
    assert captions_of_set(named(["1"]), []) == [()]


def test_views_begin_with_the_whole_picture_and_keep_its_caption() -> None:
    images = np.stack([np.asarray(picture(i, 32)) for i in range(2)])
    views = cropped(Captioned(images, [("one",), ("two",)], np.array([0, 1])), 16, 3, 0)
    assert views.array.shape == (6, 16, 16, 3)
    assert list(views.captions) == [("one",)] * 3 + [("two",)] * 3
    assert views.style.tolist() == [0, 0, 0, 1, 1, 1]
    halves = images[0].reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(views.array[0] - halves).mean() < 6
    assert not np.array_equal(views.array[1], views.array[2])
    assert np.array_equal(cropped(Captioned(images, [(), ()], np.array([0, 1])), 16, 3, 0).array, views.array)


def test_what_the_base_draws_comes_with_its_own_words() -> None:
    base = open_base("painter")
    read = load_model(resolve("sentence"))
    prior = drawn_by(base, ["fox", "cat"], read, 2, 0)
    assert prior.codes.shape == (4, LENGTH)
    assert [rows.tolist() for rows in prior.caption_rows] == [[0], [1], [0], [1]]
    assert (prior.style[:2] == STYLES.index("flat")).all()
    assert prior.style.max() < len(STYLES)
    text = read(["fox", "cat"]).half()
    assert torch.equal(prior.vectors, text)
    paintings = Captioned(paintings_set().images[:, ::2, ::2], [()] * 9, np.arange(9) % 2 + 3)
    drawings = in_palettes(base, paintings, ["fox", "cat", "dog"], read, 5, 0)
    assert drawings.array.shape == (6, SIZE, SIZE, 3)
    assert drawings.style.tolist() == [3, 3, 3, 4, 4, 4]
    assert [text for (text,) in drawings.captions] == ["a fox", "cat", "a dog", "fox", "a cat", "dog"]


def test_pictures_without_captions_can_be_learned() -> None:
    read = load_model(resolve("sentence"))
    base = open_base("painter")
    data = coded(Captioned(paintings_set().images[:, ::2, ::2], [()] * 9, np.zeros(9, np.int64)), base.code, read)
    assert data.vectors.shape == (1, 32)
    assert all(len(rows) == 0 for rows in data.caption_rows)


def test_some_are_evenly_taken_and_different() -> None:
    assert some(["a", "b", "a", "c"], 9) == ["a", "b", "c"]
    assert some([str(i) for i in range(100)], 3) == ["0", "49", "99"]
    assert some([], 3) == []


def test_other_verbs_hand_painters_over() -> None:
    assert is_painter("painter")
    assert not is_painter("adm-64")
    assert not is_painter("nothing-of-this-name")
    given = TrainDiffusion.make(data="x", start_from="painter", images=77, num_res_blocks=2)
    handed = as_painter(given)
    assert (handed.data, handed.start_from, handed.images) == ("x", "painter", 77)
    assert "batch" not in handed.model_fields_set, "what was not given is the painter's own"


def test_what_differs_in_tuning_is_an_option() -> None:
    assert TUNING.keys() <= TrainPainter.model_fields.keys()
    TrainPainter.make(data="x", **TUNING)


def test_words_of_names_count_too() -> None:
    assert with_words(["bridge at night", "cat", "1st place medal"]) == [
        "bridge at night", "cat", "1st place medal", "bridge", "medal", "night", "place",
    ]  # fmt: skip
