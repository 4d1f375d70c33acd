"""Stable Diffusion behind `create`, by checkpoints of a few thousand numbers: prompts, sizes, masks, LoRA, CLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_stable_diffusion as tiny
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_models import save_tiny_models

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.events import Event, Note, Picture
from lienzo.diffusion.sampling import SAMPLERS
from lienzo.diffusion.seamless import make_seamless
from lienzo.diffusion.spatial_transformer import KeptContext
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.tasks.create import Create, run
from lienzo.tasks.easel import Easel, open_easel
from lienzo.tasks.engines import latent
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.engines.latent import LatentEngine, composed, open_latent
from lienzo.tasks.reproduce import Reproduce
from lienzo.tasks.reproduce import run as run_reproduce

CPU = torch.device("cpu")
FAST: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "size": 16, "steps": 2, "upscaler": "none", "previews": 0}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sd.safetensors`, `sd.ckpt`, `diffusers/` and `inpaint.safetensors`, and a tiny home."""
    folder = tmp_path_factory.mktemp("sd")
    save_tiny_models(folder / "home")
    state = {key: value.contiguous() for key, value in tiny.compvis().items()}
    save_file(state, folder / "sd.safetensors")
    tiny.lightning(folder / "sd.ckpt", state)
    tiny.diffusers_folder(folder / "diffusers")
    first = "model.diffusion_model.input_blocks.0.0.weight"
    torch.manual_seed(1)
    wide = torch.cat([state[first], 0.1 * torch.randn(state[first].shape[0], 5, 3, 3)], 1)
    save_file({**state, first: wide}, folder / "inpaint.safetensors")
    return folder


@pytest.fixture(autouse=True)
def at_home(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(files / "home"))
    monkeypatch.chdir(tmp_path)


def create(files: Path, model: str = "sd.safetensors", **options: Any) -> list[Event]:
    return list(run(Create.make(**{**FAST, "model": str(files / model), **options})))


def made(files: Path, model: str = "sd.safetensors", **options: Any) -> np.ndarray:
    return next(event.image for event in create(files, model, **options) if isinstance(event, Picture))


def notes(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Note))


def engine(files: Path, **options: Any) -> LatentEngine:
    return open_latent(files / "sd.safetensors", Create.make(**{**FAST, **options}), CPU)


def photo(height: int = 16, width: int = 16, name: str = "photo.png") -> Path:
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)).save(name)
    return Path(name)


def half_mask(height: int = 16, width: int = 16, name: str = "mask.png") -> Path:
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, width // 2 :] = 255
    Image.fromarray(pixels).save(name)
    return Path(name)


def test_all_layouts_paint_the_same(files: Path) -> None:
    one = made(files)
    assert one.shape == (16, 16, 3)
    assert np.array_equal(one, made(files, "sd.ckpt"))
    assert made(files, "diffusers").shape == (16, 16, 3)
    assert not np.array_equal(one, made(files, seed=8))


@pytest.mark.parametrize(
    "options",
    [{"prompt": "a blue cat"}, {"negative": "red"}, {"guidance": 2.0}, {"steps": 3}, {"sampler": "heun"},
     {"prompt": "a (red:1.6) fox"}, {"clip_skip": 2},
     {"schedule": "karras", "steps": 3}, {"prediction": "v"}, {"tiling": "both"},
     {"prompt": "a red fox | snow:0.5"}, {"prompt": "a red fox " + "very " * 90}, {"style": "ink"}],
)  # fmt: skip
def test_every_option_changes_the_picture(files: Path, options: dict[str, Any]) -> None:
    plain = made(files, steps=2 if options == {"steps": 3} else 3)
    assert not np.array_equal(plain, made(files, **{"steps": 3, **options}))


@pytest.mark.parametrize("prompt", ["ثعلب أحمر", "🦊❄️", "a (((b", "12:30"])
def test_any_script_is_a_prompt(files: Path, prompt: str) -> None:
    assert made(files, prompt=prompt, steps=1).shape == (16, 16, 3)


def test_guidance_is_linear_and_a_long_negative_prompt_is_padded(files: Path) -> None:
    model = engine(files)
    x, sigma = torch.randn(2, *model.latents.shape), torch.tensor([2.0, 2.0])
    wish = Wish((("fox", 1.0),), negative="fog " * 100)
    with torch.no_grad():
        none, plain, twice = (model.denoiser(wish, 2, scale)(x, sigma) for scale in (0.0, 1.0, 2.0))
    assert torch.allclose(twice, none + 2 * (plain - none), atol=1e-4)
    assert model.contexts(wish)[0].shape == (2, 154, 16)


def test_prompts_compose_and_large_latents_are_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(x: torch.Tensor, sigma: torch.Tensor, context: KeptContext) -> torch.Tensor:
        return context.states[:, :1, :1, None].expand_as(x)

    contexts = torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1)
    x = torch.zeros(2, 1, 2, 2)
    guided = composed(model, contexts, torch.tensor([1.0, -0.5]), 3.0)
    assert guided(x, torch.ones(1)).unique().tolist() == [1 + 3 * (1 - 0.5 * 4)]
    monkeypatch.setattr(latent, "LARGE", 1)
    assert guided(x, torch.ones(1)).unique().tolist() == [1 + 3 * (1 - 0.5 * 4)]


def test_prompts_are_read_in_their_notation(files: Path) -> None:
    model = engine(files)

    def read(prompt: str, **options: Any) -> Wish:
        return model.read_wish(Create.make(**{**FAST, "prompt": prompt, **options}))

    assert read("a (red:1.3) fox, watercolor").subjects == (("a (red:1.3) fox, watercolor", 1.0),)
    assert read("a (red:1.3) [fox|cat]").text == "a red fox|cat"
    assert read("castle:2 | (fog:1.2):-0.5").subjects == (("castle", 2.0), ("(fog:1.2)", -0.5))
    assert read("at 12:30").subjects == (("at 12:30", 1.0),)
    assert read("fox", style="ink").subjects == (("fox, ink", 1.0),)
    with pytest.raises(BadInput, match="empty part"):
        read("fox | ")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_clip_guides_on_latents_with_every_sampler(files: Path, sampler: str) -> None:
    """It pulls: what it paints is nearer to the sentence in the eyes of the CLIP that guides."""
    given: dict[str, Any] = {**FAST, "model": str(files / "sd.safetensors"), "sampler": sampler, "steps": 4, "cutn": 2}
    given |= {"cutouts": "whole", "skip_augs": True, "look_at": "denoised", "tv_scale": 0.0, "range_scale": 0.0}
    scores, images = [], []
    for strength in (0.0, 1.0):
        easel = open_easel(Create.make(**given, clip_guidance=strength, off_share=0.0, guidance=1.0))
        picture = next(event for event in easel.pictures() if isinstance(event, Picture))
        scores.append(picture.scores["clip"])
        images.append(picture.image)
    assert (images[0] != images[1]).any()
    assert scores[1] > scores[0]


def test_sizes_are_given_exactly_and_said(files: Path) -> None:
    events = create(files, width=22, height=18)
    picture = next(event for event in events if isinstance(event, Picture))
    assert picture.image.shape == (18, 22, 3)
    assert "drawn at 24x20 pixels, as the model needs it, and cut to 22x18" in notes(events)
    assert made(files, size=16).shape == (16, 16, 3)
    assert made(files, size=64, draw_size=16, upscaler="upscaler").shape == (64, 64, 3)


def test_large_pictures_are_decoded_in_tiles_alike(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(files, size=48, init=photo(), strength=0.5)
    monkeypatch.setattr(latent, "LARGE", 4)
    monkeypatch.setattr(latent, "TILE", 8)
    tiled = made(files, size=48, init=photo(), strength=0.5)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_strength_from_nothing_to_all(files: Path) -> None:
    start = photo()
    model = engine(files)
    pixels = torch.from_numpy(load_picture(start)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        back = model.finish(model.encode(pixels), Wish(()))
    kept = made(files, init=start, strength=0.0)
    assert np.abs(kept - ((back[0].permute(1, 2, 0).numpy() + 1) * 127.5)).max() <= 1
    some, all_ = (made(files, init=start, strength=strength, steps=4) for strength in (0.25, 1.0))
    assert not np.array_equal(kept, some)
    assert not np.array_equal(some, all_)


@pytest.mark.parametrize("model", ["sd.safetensors", "inpaint.safetensors"])
@pytest.mark.parametrize("convention", ["white", "black", "alpha"])
def test_masks_say_what_is_painted_anew(files: Path, model: str, convention: str) -> None:
    start, white = photo(), half_mask()
    mask = np.array(Image.open(white))
    if convention == "black":
        Image.fromarray(255 - mask).save("given.png")
    elif convention == "alpha":
        Image.fromarray(np.dstack([np.array(Image.open(start)), 255 - mask])).save("given.png")
    else:
        Image.fromarray(mask).save("given.png")
    painted = made(files, model, init=start, mask=Path("given.png"), mask_convention=convention, strength=1.0)
    original = load_picture(start)
    assert np.array_equal(painted[:, :8], original[:, :8])
    assert not np.array_equal(painted[:, 8:], original[:, 8:])
    assert np.array_equal(painted, made(files, model, init=start, mask=white, strength=1.0))


def test_a_network_for_inpainting_looks_at_what_is_left(files: Path) -> None:
    given: dict[str, Any] = {"mask": half_mask(), "strength": 1.0}
    one = made(files, "inpaint.safetensors", init=photo(), **given)
    dark = np.array(Image.open(photo())) // 4
    Image.fromarray(dark).save("dark.png")
    other = made(files, "inpaint.safetensors", init=Path("dark.png"), **given)
    assert not np.array_equal(one[:, 8:], other[:, 8:])
    assert made(files, "inpaint.safetensors").shape == (16, 16, 3)


@pytest.mark.parametrize("model", ["sd.safetensors", "inpaint.safetensors"])
def test_pictures_are_painted_on_beyond_their_edges(files: Path, model: str) -> None:
    start = photo(16, 20)
    events = list(run(Create.make(prompt="x", seed=1, steps=2, model=str(files / model), init=start, previews=0,
                                  extend="left:7,bottom:8", upscaler="none")))  # fmt: skip
    picture = next(event for event in events if isinstance(event, Picture))
    assert picture.image.shape == (24, 27, 3)
    assert np.array_equal(picture.image[:16, 7:], load_picture(start))
    assert picture.image[:16, :7].std() > 0


@pytest.mark.parametrize("axes", ["x", "y", "both"])
@torch.no_grad()
def test_seamless_networks_roll_with_their_pictures(axes: Any) -> None:
    unet, vae, _ = tiny.networks()
    torch.manual_seed(0)
    z, context, t = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 16), torch.tensor([500.0])
    shift = (2, 4)
    dims = {"x": (3,), "y": (2,), "both": (2, 3)}[axes]
    by = tuple(shift[d - 2] for d in dims)

    def off() -> tuple[float, float]:
        eps = unet(z.roll(by, dims), t, context) - unet(z, t, context).roll(by, dims)
        double = tuple(2 * each for each in by)
        picture = vae.decode(z.roll(by, dims)) - vae.decode(z).roll(double, dims)
        return eps.abs().max().item(), picture.abs().max().item()

    assert min(off()) > 1e-3
    make_seamless(unet, axes)
    make_seamless(vae, axes)
    assert max(off()) < 1e-4
    if axes == "x":
        torch.testing.assert_close(vae.decode(z).shape, torch.Size((1, 3, 16, 16)))


def lora_file(name: str = "style.safetensors", rank: int = 2, width: int = 32) -> Path:
    torch.manual_seed(4)
    layer = "lora_unet_down_blocks_0_attentions_0_proj_in"
    save_file(
        {f"{layer}.lora_down.weight": torch.randn(rank, width, 1, 1),
         f"{layer}.lora_up.weight": torch.randn(32, rank, 1, 1), f"{layer}.alpha": torch.tensor(float(rank))},
        name,
    )  # fmt: skip
    return Path(name)


def test_loras_change_the_model_by_their_strength(files: Path) -> None:
    file = lora_file()
    plain, none = made(files), made(files, lora=(f"{file}:0",))
    half, whole, twice = (made(files, lora=given) for given in ((f"{file}:0.5",), (str(file),), (f"{file}:0.5",) * 2))
    assert np.array_equal(plain, none)
    assert not np.array_equal(plain, half)
    assert not np.array_equal(half, whole)
    assert np.abs(whole.astype(int) - twice).max() <= 2


@pytest.mark.parametrize(
    "options",
    [{}, {"width": 24, "height": 18, "prompt": "castle:2 | (fog:1.2):-0.5", "negative": "red"},
     {"schedule": "karras", "clip_skip": 2, "tiling": "x", "precision": "bfloat16"}],
)  # fmt: skip
def test_a_recipe_makes_it_again(files: Path, options: dict[str, Any]) -> None:
    create(files, **options)
    assert "Exact" in reproduced(model=str(files / "sd.safetensors"))


def test_a_recipe_asks_for_its_files(files: Path) -> None:
    given: dict[str, Any] = {"init": photo(), "lora": (f"{lora_file()}:0.5",)}
    create(files, **given, extend="left:8")
    recipe = read_recipe("picture.png") or {}
    assert str(Path.cwd()) not in str(recipe)
    model = str(files / "sd.safetensors")
    with pytest.raises(BadInput, match="made with --init"):
        reproduced(model=model)
    with pytest.raises(BadInput, match="made with --lora"):
        reproduced(model=model, init=given["init"])
    assert "Exact" in reproduced(model=model, **given)
    assert "lora file is another one" in reproduced(model=model, init=given["init"], lora=(str(lora_file()),))


def reproduced(**options: Any) -> str:
    return notes(list(run_reproduce(Reproduce.make(picture=Path("picture.png"), **options))))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"tiling": "both", "width": 20}, "multiples of 4 pixels|nearest"),
     ({"tiling": "both", "width": 22}, "multiples of 4 pixels; 22x22 is not, the nearest would be"),
     ({"extend": "left:8"}, "give --init too"), ({"extend": "up:8"}, "is no side with pixels"),
     ({"lora": ("none.safetensors:0.5",)}, "does not exist"), ({"strength": 1.5}, "less than or equal to 1"),
     ({"prompt": ""}, "say what to paint"), ({"prompt": "word " * 2000}, "at most 2000 characters"),
     ({"prompt": "(fox:99)"}, "weights are from"), ({"prompt": "fox:-1 | cat:-2"}, "negative weight"),
     ({"steps": 1000, "sampler": "nothing"}, "no sampler")],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(files: Path, options: dict[str, Any], sentence: str) -> None:
    if options.get("width") == 20:
        assert made(files, **options, size=16, height=16).shape == (16, 20, 3)
        return
    with pytest.raises(LienzoError, match=sentence):
        create(files, **options)
    assert not Path("picture.png").exists()


def test_files_that_do_not_fit_are_one_sentence(files: Path) -> None:
    with pytest.raises(BadInput, match="mask has 16x8 pixels and the picture 16x16"):
        create(files, init=photo(), mask=half_mask(8, 16))
    with pytest.raises(LienzoError, match="made for another model"):
        create(files, lora=(str(lora_file("other.safetensors", width=64)),))
    state = tiny.compvis()
    xl = {"conditioner.embedders.0.x": torch.zeros(1), **state}
    broken = dict(state)
    broken["model.diffusion_model.out.2.bias"] = torch.full((4,), torch.nan)
    short = {key: value for key, value in state.items() if not key.endswith("out.2.bias")}
    for name, tensors, sentence in (
        ("xl", xl, "Stable Diffusion XL"),
        ("nan", broken, "U-Net of the checkpoint is damaged"),
        ("short", short, "out.2.bias' is missing"),
    ):
        save_file({key: value.contiguous() for key, value in tensors.items()}, f"{name}.safetensors")
        with pytest.raises(LienzoError, match=sentence):
            create(Path(), f"{name}.safetensors")
    with pytest.raises(BadInput, match="--tiling is for checkpoints of Stable Diffusion"):
        list(run(Create.make(prompt="fox", tiling="x")))


def test_bfloat16_is_near(files: Path) -> None:
    exact, short = made(files), made(files, precision="bfloat16")
    assert not np.array_equal(exact, short)
    assert np.abs(exact.astype(int) - short).mean() < 12


def test_on_the_way_between_wishes(files: Path) -> None:
    model = engine(files)
    fox, cat = Wish((("fox", 1.0),)), Wish((("cat", 1.0),), negative="fog")
    middle, weights = model.contexts(replace(fox, toward=(cat, 0.5)))
    ends = model.contexts(fox)[0], model.contexts(cat)[0]
    assert torch.allclose(middle, (ends[0] + ends[1]) / 2, atol=1e-5)
    assert weights.tolist() == [1.0]
    two = Wish((("a", 1.0), ("b", 1.0)))
    assert model.contexts(replace(fox, toward=(two, 0.5)))[1].tolist() == [0.5, 0.25, 0.25]


def test_easel_opens_it_as_an_easel(files: Path) -> None:
    easel = open_easel(Create.make(**{**FAST, "model": str(files / "diffusers")}))
    assert isinstance(easel, Easel)
    assert (easel.guidance, easel.sampler, easel.recipe(7)["width"]) == (7.5, "dpmpp_2m", 16)
