"""An artist draws with all that `create --model` takes, and draws what `create` draws."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_stable_diffusion import compvis, diffusers_folder

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.events import Picture
from lienzo.core.seeds import picture_seed
from lienzo.tasks.create import Create, run
from lienzo.tasks.drawing import Artist
from lienzo.tasks.evaluate import Evaluate
from lienzo.tasks.evaluate import run as run_evaluate
from lienzo.tasks.sides import is_model
from lienzo.weights.store import sha256

SMALL: dict[str, Any] = {"size": 16}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion in one file, one for inpainting, and a folder of diffusers."""
    folder = tmp_path_factory.mktemp("files")
    state = {name: value.contiguous() for name, value in compvis().items()}
    save_file(state, folder / "sd.safetensors")
    first = "model.diffusion_model.input_blocks.0.0.weight"
    generator = torch.Generator().manual_seed(3)
    seen = torch.cat([state[first], 0.1 * torch.randn(state[first].shape[0], 5, 3, 3, generator=generator)], 1)
    save_file(state | {first: seen}, folder / "inpainting.safetensors")
    diffusers_folder(folder / "diffusers")
    return folder


@pytest.fixture
def photo() -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save("photo.png")
    return Path("photo.png")


@pytest.fixture
def mask() -> Path:
    """White, to be painted anew, in its upper half."""
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255
    Image.fromarray(half).save("mask.png")
    return Path("mask.png")


def created(model: Path | str, **options: Any) -> np.ndarray:
    given = {"prompt": "a red fox", "seed": 5, "steps": 2, "size": 16, "upscaler": "none", "model": str(model)}
    given["candidates"] = 1  # an artist does not choose
    events = list(run(Create.make(**{**given, **options})))
    return next(event.image for event in events if isinstance(event, Picture))


def drawn(model: Path | str, prompt: str = "a red fox", **options: Any) -> np.ndarray:
    return Artist(model, steps=2, options={**SMALL, **options}).batch(prompt, [5])[0]


@pytest.mark.parametrize("name", ["sd.safetensors", "diffusers"])
def test_stable_diffusion_draws_what_create_draws(files: Path, name: str) -> None:
    model = files / name
    assert np.array_equal(drawn(model), created(model))
    options = {"negative": "fog", "guidance": 2.0, "sampler": "euler", "schedule": "karras", "clip_skip": 2}
    assert np.array_equal(drawn(model, **options), created(model, **options))
    assert not np.array_equal(drawn(model), drawn(model, **options))
    wide = drawn(model, width=21, height=18)
    assert wide.shape == (18, 21, 3)
    assert np.array_equal(wide, created(model, width=21, height=18))


def test_weights_of_words_and_a_style_are_read(files: Path) -> None:
    model = files / "sd.safetensors"
    prompt = "a (red:1.4) fox | fog:-0.5"
    assert np.array_equal(drawn(model, prompt, style="ink"), created(model, prompt=prompt, style="ink"))


def test_the_painter_draws_what_create_draws_before_it_enlarges() -> None:
    artist = Artist("painter", torch.device("cpu"), steps=2)
    assert artist.batch("a red fox", [5]).shape == (1, 16, 16, 3)
    assert np.array_equal(artist.batch("a red fox", [5])[0], created("painter"))


def test_pictures_are_the_same_alone_and_in_a_batch(files: Path) -> None:
    artist = Artist(files / "sd.safetensors", steps=2, options=SMALL)
    many = [each.image for each in artist.draw(["a fox", "a cat", "a fox"], seed=4, batch=2)]
    seeds = [picture_seed(4, i) for i in (0, 2, 1)]  # those of the same prompt come together
    alone = [artist.batch(prompt, [seed])[0] for prompt, seed in zip(["a fox", "a fox", "a cat"], seeds, strict=True)]
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(many, alone, strict=True))


def test_what_it_knows_of_itself(files: Path) -> None:
    artist = Artist(files / "sd.safetensors", steps=3, options=SMALL)
    assert artist.conditional
    assert artist.protocol == {
        "model": "sd", "sha": sha256(files / "sd.safetensors")[:8], "steps": 3, "sampler": "dpmpp_2m", "guidance": 7.5,
    }  # fmt: skip
    assert artist.files == [files / "sd.safetensors"]
    artist.batch("a fox", [1, 2])
    assert artist.evaluations == 6, "three steps, each with the prompt and without it"
    assert artist.parameters == sum(p.numel() for p in artist.network.parameters()) > 0
    folder = Artist(files / "diffusers", options=SMALL)
    assert {path.parent.name for path in folder.files} == {"unet", "vae", "text_encoder", "scheduler"}


def test_from_a_picture(files: Path, photo: Path, mask: Path) -> None:
    model = files / "sd.safetensors"
    given = {"init": photo, "strength": 0.5}
    assert np.array_equal(drawn(model, **given), created(model, **given))
    artist = Artist(model, steps=2, options=SMALL)
    before = artist.batch("a red fox", [5])
    begun = artist.starting_from(photo, strength=0.5)
    assert begun.network is artist.network
    assert np.array_equal(begun.batch("a red fox", [5])[0], created(model, **given))
    assert np.array_equal(artist.starting_from(photo).batch("a red fox", [5])[0], created(model, init=photo))
    assert np.array_equal(artist.batch("a red fox", [5]), before), "the artist itself draws as before"
    part = artist.starting_from(photo, mask, strength=1.0).batch("a red fox", [5])[0]
    assert np.array_equal(part, created(model, init=photo, mask=mask, strength=1.0))
    assert np.array_equal(part[8:], np.asarray(Image.open(photo))[8:])
    assert not np.array_equal(part[:8], np.asarray(Image.open(photo))[:8])
    other = artist.starting_from(photo, mask, strength=1.0, mask_convention="black").batch("a red fox", [5])[0]
    assert np.array_equal(other[:8], np.asarray(Image.open(photo))[:8])
    kept = artist.starting_from(photo, strength=0.0).batch("a red fox", [5])[0]
    assert np.array_equal(kept, created(model, init=photo, strength=0.0))


def test_a_network_for_inpainting_is_shown_the_picture_by_one_artist_alone(
    files: Path, photo: Path, mask: Path
) -> None:
    model = files / "inpainting.safetensors"
    artist = Artist(model, steps=2, options=SMALL)
    before = artist.batch("a red fox", [5])
    mended = artist.starting_from(photo, mask).batch("a red fox", [5])[0]
    assert np.array_equal(mended, created(model, init=photo, mask=mask))
    assert np.array_equal(artist.batch("a red fox", [5]), before)


def test_clip_guides_when_asked(files: Path) -> None:
    model = files / "sd.safetensors"
    given = {"clip_guidance": 0.3, "off_share": 0.0, "cutn": 2}
    assert np.array_equal(drawn(model, **given), created(model, **given))
    assert not np.array_equal(drawn(model, **given), drawn(model))


def test_an_evaluation_judges_stable_diffusion(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lienzo.tasks.engines.latent.NATIVE", 16)  # pixels a side where nothing is asked for
    assert is_model(str(files / "diffusers"))
    assert not is_model(str(files))
    Path("real").mkdir()
    generator = np.random.default_rng(1)
    for i in range(4):
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(f"real/{i}.png")
        Path(f"real/{i}.txt").write_text("a fox")
    options = Evaluate.make(real="real", fake=str(files / "diffusers"), n=4, steps=1, metrics=("kid",), net="judge",
                            batch=4, keep=Path("kept"))  # fmt: skip
    list(run_evaluate(options))
    assert len(list(Path("kept").glob("*.png"))) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": 4}, "'n' is no option of an artist, which draws and does nothing more."),
        ({"upscaler": "upscaler"}, "'upscaler' is no option of an artist, which draws and does nothing more."),
        ({"no_such": 1}, "There is no option 'no_such'."),
        ({"steps": 0}, "Option 'steps' was 0; it should be greater than or equal to 1."),
        ({"mask": "photo.png"}, "--mask says which part of --init is painted anew; give --init too."),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(files: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        Artist(files / "sd.safetensors", options=options)
    assert str(caught.value) == sentence


def test_models_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no model 'nowhere'"):
        Artist("nowhere")
    with pytest.raises(BadInput, match="--lora is for checkpoints of Stable Diffusion"):
        Artist("painter", options={"lora": ("x.safetensors",)})
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, tmp_path / "xl.safetensors")
    with pytest.raises(BadWeights, match="Stable Diffusion XL"):
        Artist(tmp_path / "xl.safetensors")
    with pytest.raises(BadInput, match="draws what a sentence says"):
        Artist("painter").batch(" ", [0])


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`pipelines(kind) -> folder`, each saved once."""
    pytest.importorskip("diffusers", reason="the extra [hub] is not installed")
    from tiny_pipelines import save_pipeline

    return cache(lambda kind: save_pipeline(tmp_path_factory.mktemp(kind) / f"tiny-{kind}", kind))


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
def test_pipelines_draw_what_create_draws(pipelines: Any, kind: str) -> None:
    folder = pipelines(kind)
    artist = Artist(folder, steps=3, guidance=2.0, options={"size": 32, "negative": "fog"})
    given = {"steps": 3, "size": 32, "guidance": 2.0}
    first, second = artist.batch("a red fox", [5])[0], artist.batch("a blue cat", [5])[0]
    assert np.array_equal(first, created(folder, negative="fog", **given))
    assert np.array_equal(second, created(folder, prompt="a blue cat", negative="fog", **given))
    assert artist.evaluations > 0
    assert artist.protocol["model"] == f"tiny-{kind}"
    assert artist.protocol["steps"] == 3
    assert {path.parent.name for path in artist.files} >= {"vae", "scheduler", "text_encoder"}
    with pytest.raises(BadInput, match="starts from a sentence alone"):
        artist.starting_from("photo.png")
    with pytest.raises(BadInput, match="--sampler is not for a pipeline"):
        Artist(folder, sampler="euler")
