"""`paint`: pictures that their recipe makes again, goals of every kind, and one sentence for what does not fit."""

from __future__ import annotations

import io
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.autoencoders.vqgan import VQModel
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture, Preview, Progress
from lienzo.guidance.canvas import CANVASES
from lienzo.guidance.optimisers import OPTIMISERS
from lienzo.guidance.perceptor import TowerPerceptor
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.tasks import canvases
from lienzo.tasks.drawing import Drawn
from lienzo.tasks.paint import Paint, run
from lienzo.tasks.painting import measure, open_painting
from lienzo.tasks.reproduce import Reproduce
from lienzo.tasks.reproduce import run as run_reproduce
from lienzo.weights.models import Card, save_model

FAST: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "size": 24, "iterations": 3, "cuts": 2, "canvas": "pixels",
                        "begin": "plain"}  # fmt: skip


def paint(**options: Any) -> list[Event]:
    return list(run(Paint.make(**{**FAST, **options})))


def picture(**options: Any) -> Picture:
    return next(event for event in paint(**options) if isinstance(event, Picture))


def verdict(name: str = "painting.png", **options: Any) -> str:
    last = list(run_reproduce(Reproduce.make(picture=Path(name), **options)))[-1]
    assert isinstance(last, Note)
    return last.text


def a_picture(name: str, height: int = 24, width: int = 24) -> Path:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(name)
    return Path(name)


def half(name: str, height: int = 24, width: int = 24) -> Path:
    """A mask that is white on the left."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 255
    Image.fromarray(mask).save(name)
    return Path(name)


class TinyStage(torch.nn.Module):
    """An autoencoder of four codes, a quarter as large a side."""

    factor, channels = 4, 3

    def __init__(self) -> None:
        super().__init__()
        self.codebook = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1], [-1, -1, 1]])

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 4)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.repeat_interleave(4, 2).repeat_interleave(4, 3)


# Pictures


@pytest.mark.parametrize("canvas", list(CANVASES))
def test_every_canvas_paints(canvas: str) -> None:
    events = paint(canvas=canvas, previews=2)
    done = next(event for event in events if isinstance(event, Picture))
    assert done.image.shape == (24, 24, 3)
    assert done.image.std() > 0
    assert -1 <= done.scores["judge"] <= 1
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2, 3]
    assert [event.step for event in events if isinstance(event, Preview)] == [2]
    assert {event.name for event in events if isinstance(event, Metric)} >= {"prompts", "tv"}
    assert os.listdir() == ["painting.png"]
    assert np.array_equal(load_picture("painting.png"), done.image)


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_every_optimiser_and_the_seed_decides(optimiser: str) -> None:
    one = picture(optimiser=optimiser).image
    assert np.array_equal(picture(optimiser=optimiser).image, one)
    assert not np.array_equal(picture(optimiser=optimiser, seed=8).image, one)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a red fox | fog:-0.5"}, {"prompt": "a seed ^ a tree"}, {"prompt": "a fox:1:0.4"},
        {"noise_prompt": ("3", "5:-0.2")}, {"smooth": 50}, {"loss": ("symmetry:3",)}, {"cutouts": "whole"},
        {"loss": ("palette:2; colours=red->blue", "contrast")}, {"augment": False}, {"distance": "cosine"},
        {"drops": (0.1,)}, {"clip": ("judge",)}, {"iterations": 4}, {"cut_batches": 2}, {"lr": 0.2},
        {"begin": "shapes"}, {"pigment": 0},
    ],
)  # fmt: skip
def test_what_is_asked_for_changes_the_picture(changes: dict[str, Any]) -> None:
    assert not np.array_equal(picture(**changes).image, picture().image)


def test_only_a_clip_that_knows_of_noise_looks_through_a_veil(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**options: Any) -> list[float]:
        painting = open_painting(Paint.make(**{**FAST, **options}))
        return [target.veil for guide in painting.guides(7) for target in guide.targets]

    assert told() == [0]  # that of these tests knows of none
    monkeypatch.setattr(TowerPerceptor, "noisy_tower", property(lambda self: self.prepare, lambda *given: None), False)
    assert told(veil=0.7) == [0.7]
    assert told(veil=0.7, canvas="sketch") == [0]


def test_prompts_of_any_script_and_a_name_for_the_judge() -> None:
    assert picture(prompt="🦊🍎").scores["judge"]
    assert picture(prompt="ثعلب أحمر").image.shape == (24, 24, 3)
    assert picture(prompt="un zorro rojo | \\^ \\| \\: nada").scores
    assert not picture(prompt="", image_prompt=(str(a_picture("sea.png")),)).scores
    assert not picture(judge="none").scores


def test_a_judge_that_guides_is_told() -> None:
    notes = [event.text for event in paint(clip=("judge",)) if isinstance(event, Note)]
    assert "its score says little" in notes[0]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"size": 100}, (100, 100)), ({"size": 160, "aspect": "widescreen"}, (160, 90)),
        ({"size": 100, "aspect": "portrait"}, (80, 100)), ({"size": 90, "aspect": "3:2"}, (90, 60)),
        ({"width": 33, "height": 21}, (33, 21)), ({"width": 60, "aspect": "3:2"}, (60, 40)),
        ({"height": 40, "aspect": "2:1"}, (80, 40)), ({"size": 64, "aspect": "1:1.5"}, (42, 64)),
    ],
)  # fmt: skip
def test_sizes(options: dict[str, Any], size: tuple[int, int]) -> None:
    assert measure(Paint.make(prompt="a", **options)) == size


def test_shapes_are_on_paper_and_their_recipe_makes_them_again() -> None:
    """A start from found shapes shows in the picture, and another seed finds others."""
    image, other = (picture(begin="shapes", iterations=1, lr=0.001, seed=seed).image for seed in (1, 2))
    assert image[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 150
    assert image[6:18, 6:18].astype(float).std() > 15
    assert not np.array_equal(image, other)
    assert verdict().startswith("Exact")


@pytest.mark.parametrize(
    "options", [{"init": Path("start.png")}, {"spot": ("a moon",), "spot_mask": (Path("mask.png"),)}]
)
def test_shapes_are_for_paintings_that_start_from_nothing(options: dict[str, Any]) -> None:
    a_picture("start.png")
    half("mask.png")
    assert np.array_equal(picture(begin="shapes", **options).image, picture(**options).image)


def test_a_drawing_is_what_a_painting_begins_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Artist:
        def __init__(self, name: str, device: torch.device):
            assert name == "painter"

        def draw(self, prompts: list[str], seed: int) -> list[Drawn]:
            asked.append((prompts, seed))
            image = np.full((8, 8, 3), 255, np.uint8)
            image[:, :4] = (200, 30, 10)
            return iter([Drawn(prompts[0], seed, image)])

    monkeypatch.setattr("lienzo.tasks.painting.Artist", Artist)
    picture(begin="drawing", prompt="a fox | snow:0.5 | text:-1 ^ a bear")
    assert asked.pop() == (["a fox, snow"], 7)
    done = picture(begin="drawing", prompt="a fox", size=32, aspect="2:1", lr=0.001)
    assert done.image.shape == (16, 32, 3)
    assert np.abs(done.image[:, :8].astype(int) - (200, 30, 10)).mean() < 12
    assert done.image[:, -8:].min() > 240
    assert "painter" in (done.recipe or {})["models"]


def test_a_chapter_begins_from_shapes_on_the_faded_picture_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    under: list[torch.Tensor | None] = []

    def found(score: Any, height: int, width: int, *given: Any, **options: Any) -> torch.Tensor:
        under.append(options["under"])
        return torch.zeros(1, 3, height, width)  # black

    monkeypatch.setattr("lienzo.tasks.painting.found_shapes", found)
    story = {"prompt": "a fox ^ a bear ^ snow", "lr": 0.001, "iterations": 6}
    assert picture(**story, begin="shapes").image.max() < 10
    assert under[0] is None
    assert [float(picture.mean()) for picture in under[1:]] == pytest.approx([0.5, 0.5], abs=0.02)
    under.clear()
    for options in ({"begin": "plain"}, {"begin": "shapes", "init": a_picture("start.png")}):
        picture(**story, **options)
    assert not under


def test_the_shape_of_the_init() -> None:
    a_picture("wide.png", 20, 60)
    image = picture(init=Path("wide.png"), aspect="init", size=48).image
    assert image.shape == (16, 48, 3)


# Goals


def test_the_mask_keeps_what_is_black() -> None:
    init, mask = a_picture("start.png"), half("mask.png")
    image = picture(init=init, mask=mask, lr=0.3).image
    start = load_picture("start.png")
    assert np.array_equal(image[:, 12:], start[:, 12:])
    assert (image[:, :12] != start[:, :12]).mean() > 0.5
    half("small.png", 12, 12)
    assert np.array_equal(picture(init=init, mask=Path("small.png"), lr=0.3).image[:, 14:], start[:, 14:])


def test_a_spot_is_painted_where_its_mask_is() -> None:
    """With nothing but a spot, no pixel outside it moves."""
    init = a_picture("start.png")
    image = picture(prompt="", spot=("a moon",), spot_mask=(half("mask.png"),), init=init, smooth=0).image
    start = load_picture("start.png")
    assert np.array_equal(image[:, 12:], start[:, 12:])
    assert (image[:, :12] != start[:, :12]).mean() > 0.5


def test_targets_and_inits_pull() -> None:
    goal = a_picture("goal.png")
    wanted = load_picture("goal.png").astype(int)

    def away(**options: Any) -> float:
        return float(np.abs(picture(iterations=20, **options).image.astype(int) - wanted).mean())

    free = away()
    assert away(target=goal, target_weight=50) < 0.8 * free
    assert away(init=goal, init_weight=50) < away(init=goal)


def test_vqgan_paints_in_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.ckpt").write_bytes(b"weights")
    monkeypatch.setattr(canvases, "open_stage", lambda path, device: TinyStage())
    image = picture(canvas="vqgan", vqgan="net.ckpt", size=24, lr=0.5).image
    colours = {tuple(colour) for colour in image.reshape(-1, 3).tolist()}
    assert colours <= {(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)}
    assert verdict(model="net.ckpt").startswith("Exact")
    with pytest.raises(BadInput, match="multiples of 4 pixels; --width 26 could be 24"):
        paint(canvas="vqgan", vqgan="net.ckpt", width=26, height=24)


def test_a_vqgan_is_read_from_its_file() -> None:
    torch.manual_seed(0)
    structure = {"double_z": False, "z_channels": 8, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
                 "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
    model = VQModel(ddconfig=structure, n_embed=8, embed_dim=8)
    save_model("net.safetensors", "vqgan", model.config, model.state_dict(), Card(title="tiny", licence="CC0-1.0"))
    image = picture(canvas="vqgan", vqgan="net.safetensors", size=32, aspect="2:1").image
    assert image.shape == (16, 32, 3)
    assert verdict(model="net.safetensors").startswith("Exact")


# Strokes as curves


@pytest.mark.parametrize("canvas", ["strokes; strokes=9", "sketch; strokes=5"])
def test_strokes_are_kept_as_curves(canvas: str) -> None:
    events = paint(canvas=canvas, out=Path("fox.svg"), previews=1)
    assert sorted(os.listdir()) == ["fox.png", "fox.svg"]
    root = ElementTree.parse("fox.svg").getroot()
    assert (root.tag, root.attrib["viewBox"]) == ("{http://www.w3.org/2000/svg}svg", "0 0 24 24")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) == int(canvas[-1])
    done = next(event for event in events if isinstance(event, Picture))
    assert done.path == "fox.png"
    assert np.array_equal(load_picture("fox.png"), done.image)
    assert verdict("fox.png") == "Exact: every pixel is the same."
    assert any(isinstance(event, Note) and event.text.startswith("fox.svg has the strokes") for event in events)


@pytest.mark.parametrize("canvas", ["strokes", "sketch"])
def test_the_curves_look_like_the_picture(canvas: str) -> None:
    """Drawn by another program at the same size; its edges are sharper, so that small squares are compared."""
    resvg = pytest.importorskip("resvg_py")
    seen = picture(canvas=canvas, out=Path("fox.svg"), size=192, aspect="3:2").image.astype(float)
    drawn = resvg.svg_to_bytes(svg_string=Path("fox.svg").read_text("utf-8"))
    with Image.open(io.BytesIO(bytes(drawn))) as image:
        other = np.asarray(image.convert("RGB")).astype(float)
    assert other.shape == seen.shape == (128, 192, 3)
    seen, other = (each.reshape(32, 4, 48, 4, 3).mean((1, 3)) for each in (seen, other))
    assert np.abs(seen - other).mean() < 6
    assert np.corrcoef(seen.ravel(), other.ravel())[0, 1] > 0.985


def test_curves_are_all_or_nothing() -> None:
    Path("fox.png").write_bytes(b"mine")
    with pytest.raises(BadInput, match=r"'fox\.png' exists already"):
        paint(canvas="sketch", out=Path("fox.svg"), overwrite=False)
    assert os.listdir() == ["fox.png"]
    assert Path("fox.png").read_bytes() == b"mine"
    init, mask = a_picture("start.png"), half("mask.png")
    with pytest.raises(BadInput, match="SVG strokes cannot hold"):
        paint(canvas="sketch", out=Path("a.svg"), init=init, mask=mask)


def test_a_sketch_is_told_of_no_colours() -> None:
    events = paint(canvas="sketch", prompt="a red fox | a green apple:0.5 | an orange cat | snow")
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == ["This canvas has no colours; what is sketched is: a fox, an apple, a cat."]
    sketched = picture(canvas="sketch", prompt="a red fox").image
    assert np.array_equal(sketched, picture(canvas="sketch", prompt="a blue fox").image)
    assert not np.array_equal(sketched, picture(canvas="sketch", prompt="a red car").image)
    assert not any(isinstance(event, Note) for event in paint(canvas="strokes"))


# Recipes


@pytest.mark.parametrize(
    "options",
    [
        {}, {"prompt": "a seed ^ a tree | autumn:0.5", "optimiser": "radam", "drops": (0.2, 0.6)},
        {"canvas": "hex; cells=7", "loss": ("symmetry", "palette:2; colours=red->gold"), "aspect": "3:2"},
        {"seed": 2**63 - 1, "canvas": "strokes; strokes=9", "auto_stop": 1, "cutouts": "disco"},
    ],
)  # fmt: skip
def test_reproduce_makes_it_again(options: dict[str, Any]) -> None:
    paint(**options)
    assert verdict() == "Exact: every pixel is the same."


def test_reproduce_asks_for_pictures() -> None:
    given: dict[str, Any] = {
        "init": a_picture("start.png"), "mask": half("mask.png"), "target": a_picture("goal.png"),
        "spot_mask": (half("spot.png"),), "image_prompt": ("goal.png:0.5",), "loss": ("style:2; picture=goal.png",),
    }  # fmt: skip
    paint(**given, spot=("a moon",))
    for name in given:
        with pytest.raises(BadInput, match=f"made with --{name.replace('_', '-')}; give the same"):
            verdict(**{key: value for key, value in given.items() if key != name})
    assert verdict(**given).startswith("Exact")
    assert "The target picture is another one." in verdict(**{**given, "target": a_picture("another.png")})
    recipe = read_recipe("painting.png")
    assert recipe is not None
    assert "goal" not in str(recipe)


def test_a_recipe_opens_no_files() -> None:
    from lienzo.imaging.writing import save_picture

    paint(loss=("contrast",))
    recipe = read_recipe("painting.png")
    assert recipe is not None
    a_picture("mine.png")
    for hostile in (
        {"loss": ["style; picture=mine.png"]}, {"loss": "style; picture=mine.png"}, {"loss": [{"a": 1}]},
        {"vqgan": "/etc/passwd", "canvas": "vqgan"}, {"canvas": "/etc/passwd"}, {"optimiser": "../x"},
    ):  # fmt: skip
        bent = {**recipe, "options": {**recipe["options"], **hostile}}
        save_picture(np.zeros((8, 8, 3), np.uint8), "forged.png", metadata=bent, exist_ok=True)
        with pytest.raises(BadInput) as caught:
            verdict("forged.png")
        assert "root:" not in str(caught.value)


# What does not fit


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": ""}, "Say what to paint"), ({"prompt": "  "}, "Say what to paint"),
        ({"prompt": "word " * 2000}, "at most 2000 characters"), ({"prompt": "a ^ ^ b"}, "empty chapter"),
        ({"prompt": "a | | b"}, "empty part"), ({"prompt": "a:1 | b:-1"}, "sum to 0"),
        ({"prompt": "a ^ b ^ c ^ d"}, "The story has 4 chapters; --iterations"),
        ({"canvas": "piksels"}, "did you mean 'pixels'"), ({"canvas": "vqgam"}, "did you mean 'vqgan'"),
        ({"canvas": "hex; cels=3"}, "no setting 'cels'"),
        ({"canvas": "vqgan", "vqgan": "gone.ckpt"}, "does not exist"), ({"canvas": "vqgan; a=1"}, "no settings"),
        ({"canvas": "vqgan", "vqgan": "guide"}, "is no VQGAN but a CompactClip"), ({"vqgan": "guide"}, "has none"),
        ({"optimiser": "adagrat"}, "did you mean 'adagrad'"), ({"loss": ("palete",)}, "did you mean 'palette'"),
        ({"loss": ("style",)}, "needs a picture"), ({"noise_prompt": ("x",)}, "SEED or SEED:WEIGHT"),
        ({"width": 0}, "greater than or equal to 16"), ({"size": 5}, "greater than or equal to 16"),
        ({"aspect": "tall"}, "There is no aspect 'tall'"), ({"aspect": "0:1"}, "no aspect"),
        ({"aspect": "1:30", "size": 64}, "2 x 64 pixels"), ({"aspect": "init"}, "give --init too"),
        ({"clip": ("gide",)}, "did you mean 'guide'"), ({"judge": "juge"}, "did you mean 'judge'"),
        ({"clip": ("painter",)}, "is no CLIP"), ({"spot": ("a moon",)}, "pair them"),
        ({"mask": Path("m.png")}, "give --init too"), ({"init_weight": 1}, "give --init too"),
        ({"begin": "drawing", "prompt": "", "noise_prompt": ("3",)}, "draws the sentence; give one"),
        ({"begin": "drawing", "target": Path("goal.png")}, "does not exist"), ({"begin": "grey"}, "begin"),
        ({"init": Path("gone.png")}, "does not exist"), ({"image_prompt": ("gone.png",)}, "does not exist"),
        ({"out": Path("a.tiff")}, "ends in"), ({"out": Path("no/a.png")}, "folder does not exist"),
        ({"out": Path("a.svg")}, "'pixels' has no strokes"), ({"out": Path("a.svg"), "canvas": "vqgan"}, "no strokes"),
        ({"out": Path("a.svg"), "canvas": "skech"}, "did you mean 'sketch'"), ({"out": Path("no/a.svg")}, "folder"),
        ({"out": Path("a.svg"), "frames": 2}, "ends in .mp4"), ({"out": Path("a.mp4")}, "ends in"),
        ({"frames": 3, "zoom": "0:(x)"}, "zoom: The key-frame value"),
        ({"frames": 3, "out": Path("a.png")}, "ends in .mp4"), ({"frames": 3, "fps": 90, "out": Path("a.gif")}, "fit"),
        ({"frames": 3, "zoom": "0", "out": Path("a.gif")}, "zoom at frame 1"),
        ({"frames": 1, "prompt": "a ^ b", "out": Path("a.gif")}, "--frames should be"),
    ],
)  # fmt: skip
def test_one_sentence_and_nothing_written(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        paint(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir() == []


def test_the_bundled_vqgan_paints_and_its_absence_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    paint(canvas="vqgan", iterations=1)

    def gone(name: str) -> Path:
        raise BadInput("There is no model.")

    monkeypatch.setattr("lienzo.tasks.canvases.resolve", gone)
    with pytest.raises(BadInput, match="--vqgan FILE"):
        paint(canvas="vqgan", iterations=1)


def test_masks_of_another_shape_are_refused_with_the_sizes() -> None:
    init = a_picture("start.png")
    half("wide.png", 10, 40)
    with pytest.raises(BadInput, match=r"'wide\.png' has 40 x 10 pixels and the painting 24 x 24"):
        paint(init=init, mask=Path("wide.png"))
    Image.new("L", (24, 24)).save("black.png")
    with pytest.raises(BadInput, match="no white part"):
        paint(spot=("a moon",), spot_mask=(Path("black.png"),))


def test_a_drawing_is_for_paintings_that_start_from_the_sentence() -> None:
    with pytest.raises(BadInput, match="leave it out here"):
        paint(begin="drawing", init=a_picture("start.png"))
    assert os.listdir() == ["start.png"]


def test_files_are_spared() -> None:
    Path("painting.png").write_bytes(b"mine")
    with pytest.raises(BadInput, match="exists already"):
        paint(overwrite=False)
    assert Path("painting.png").read_bytes() == b"mine"


def test_closing_leaves_nothing() -> None:
    events = run(Paint.make(**FAST, previews=1))
    assert any(isinstance(event, Preview) for event in events)
    events.close()
    assert os.listdir() == []
