"""Pipelines of diffusers behind `create`: five families with random weights, made and saved here; and the sentences
where diffusers, a file or an option is missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture, Preview, Progress
from lienzo.core.seeds import derived_seed
from lienzo.imaging.metadata import read_recipe
from lienzo.tasks.create import Create, run
from lienzo.tasks.hub_pipelines import find_pipeline
from lienzo.tasks.reproduce import Reproduce
from lienzo.tasks.reproduce import run as run_reproduce

KINDS = ("sd", "sdxl", "sd3", "flux", "pixart")
FAST: dict[str, Any] = {"prompt": "a red fox, watercolor", "seed": 7, "size": 32, "steps": 3, "upscaler": "none"}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`made(kind, scheduler="ddim") -> folder`, each saved once."""
    pytest.importorskip("diffusers", reason="the extra [hub] is not installed")
    from tiny_pipelines import save_pipeline

    @cache
    def save(kind: str, **options: str) -> Path:
        return save_pipeline(tmp_path_factory.mktemp(kind) / f"tiny-{kind}", kind, **options)

    return save


@pytest.fixture
def own(made: Any, tmp_path: Path) -> Path:
    """A copy of the Stable Diffusion pipeline, to be broken."""
    return Path(shutil.copytree(made("sd"), tmp_path / "own"))


def create(model: Path | str, **options: Any) -> list[Event]:
    return list(run(Create.make(**{**FAST, "model": str(model), **options})))


def pictures(model: Path, **options: Any) -> list[Picture]:
    return [event for event in create(model, **options) if isinstance(event, Picture)]


def image(model: Path, **options: Any) -> np.ndarray:
    return pictures(model, **options)[0].image


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return int(np.abs(a.astype(int) - b).max()) <= 1


def said(model: Path | str, **options: Any) -> str:
    """The one sentence of what is refused; nothing may be written."""
    before = set(os.listdir())
    with pytest.raises(BadInput) as caught:
        create(model, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    assert text.endswith(".")
    assert "/tmp" not in text
    assert set(os.listdir()) == before
    return text


# What every family does


@pytest.mark.parametrize("kind", KINDS)
def test_events_seeds_and_recipe(made: Any, kind: str) -> None:
    folder = made(kind)
    events = create(folder, n=3, previews=2, out=Path("fox.png"))
    steps = [event for event in events if isinstance(event, Progress) and event.stage == "paint"]
    assert [event.done for event in steps] == list(range(1, 10))
    assert {event.total for event in steps} == {9}
    previews = [event for event in events if isinstance(event, Preview)]
    assert [(event.index, event.step) for event in previews] == [(0, 1), (1, 1), (2, 1)]
    among = [event for event in events if isinstance(event, Picture)]
    assert [event.seed for event in among] == [7, 8, 9]
    assert all(event.image.shape == (32, 32, 3) for event in [*among, *previews])
    assert len({event.image.tobytes() for event in among}) == 3
    assert all(event.image.std() > 5 for event in [*among, *previews]), "not one colour"
    assert {name for name in os.listdir() if name.startswith("fox")} == {f"fox-{i}.png" for i in (0, 1, 2, "grid")}

    assert np.array_equal(image(folder, seed=9), among[2].image)
    assert all(near(a.image, b.image) for a, b in zip(among, pictures(folder, n=3, batch=3), strict=True))

    recipe = read_recipe("fox-1.png")
    assert recipe is not None
    assert (recipe["model"], recipe["seed"], recipe["steps"], recipe["width"]) == (f"tiny-{kind}", 8, 3, 32)
    assert recipe["pipeline"].endswith("Pipeline")
    assert recipe["sampler"].endswith("Scheduler")
    assert str(folder.parent) not in repr(recipe)
    verdict = list(run_reproduce(Reproduce.make(picture=Path("fox-1.png"), model=str(folder))))
    assert isinstance(verdict[-1], Note)
    assert verdict[-1].text == "Exact: every pixel is the same."
    assert any(isinstance(event, Metric) and event.value == float("inf") for event in verdict)


def at_work() -> list[threading.Thread]:
    """Our own threads; the libraries have others, which end when they please."""
    return [thread for thread in threading.enumerate() if thread.name == "lienzo-work"]


@pytest.mark.parametrize("kind", KINDS)
def test_closing_cancels_and_leaves_no_thread(made: Any, kind: str) -> None:
    events = run(Create.make(**FAST | {"model": str(made(kind)), "n": 2, "steps": 50, "previews": 1}))
    assert isinstance(next(event for event in events if isinstance(event, Preview)), Preview)
    assert len(at_work()) == 1
    events.close()  # type: ignore[attr-defined]
    assert not at_work()
    assert os.listdir() == []


@pytest.mark.parametrize("kind", KINDS)
def test_options_change_the_picture(made: Any, kind: str) -> None:
    folder = made(kind)
    plain = image(folder)
    for options in ({"prompt": "a blue cat"}, {"negative": "red"}, {"guidance": 2.0}, {"steps": 4}, {"seed": 8}):
        assert not np.array_equal(plain, image(folder, **options)), options
    assert np.array_equal(image(folder, prompt="a red fox", style="watercolor"), plain)
    assert np.array_equal(image(folder, prompt="a red fox, watercolor | cats:-1"), image(folder, negative="cats"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_the_one_that_diffusers_makes(made: Any, kind: str) -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(str(made(kind)))
    more = {"use_resolution_binning": False} if kind == "pixart" else {}
    theirs = pipeline(
        "a red fox, watercolor", num_inference_steps=3, guidance_scale=2.0, height=32, width=32, **more,
        generator=torch.Generator().manual_seed(7), output_type="np",
    ).images[0]  # fmt: skip
    assert near((theirs * 255).round().astype(np.uint8), image(made(kind), guidance=2.0))


# Steps, sizes, choice


@pytest.mark.parametrize("scheduler", ["pndm", "ancestral"])
def test_schedulers_that_take_other_steps_or_draw_noise(made: Any, scheduler: str) -> None:
    folder = made("sd", scheduler=scheduler)
    events = create(folder, n=2)
    steps = [event for event in events if isinstance(event, Progress) and event.stage == "paint"]
    assert steps[-1].done == steps[-1].total == len(steps) == (8 if scheduler == "pndm" else 6)
    among = [event.image for event in events if isinstance(event, Picture)]
    batched = [event.image for event in pictures(folder, n=2, batch=2)]
    assert all(near(a, b) for a, b in zip(among, batched, strict=True))
    assert np.array_equal(image(folder, seed=8), among[1])


def test_a_pipeline_has_its_own_defaults(made: Any) -> None:
    options = {"prompt": "a fox", "seed": 1, "model": str(made("sd")), "upscaler": "none"}
    painting = run(Create.make(**options, metadata="none"))
    steps = next(event for event in painting if isinstance(event, Progress))
    painting.close()  # type: ignore[attr-defined]
    assert steps.total == 50
    picture = next(event for event in run(Create.make(**options, steps=2)) if isinstance(event, Picture))
    assert picture.image.shape == (32, 32, 3)
    assert picture.recipe["guidance_scale"] == 7.5
    assert picture.recipe["options"]["guidance"] == 7.5


@pytest.mark.parametrize("size", [16, 17, 40, 64])
def test_sizes_are_drawn_up_to_the_native_one_and_then_enlarged(made: Any, size: int) -> None:
    assert image(made("sd"), size=size).shape == (size, size, 3)
    assert image(made("sd"), size=size, upscaler="upscaler").shape == (size, size, 3)


def test_candidates_keep_the_best_score(made: Any) -> None:
    folder = made("sd")
    tries = [pictures(folder, seed=seed)[0] for seed in (7, *(derived_seed(7, "candidate", j) for j in (1, 2)))]
    best = max(tries, key=lambda picture: picture.scores["clip"])
    kept = pictures(folder, candidates=3)[0]
    assert (kept.seed, kept.scores) == (7, best.scores)
    assert np.array_equal(kept.image, best.image)


def test_no_socket_is_opened_and_nothing_is_printed(
    made: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = made("sd3")
    capfd.readouterr()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert pictures(folder)
    assert capfd.readouterr() == ("", "")


def test_a_long_prompt_is_told(made: Any) -> None:
    notes = [event.text for event in create(made("sd"), prompt="a fox " * 40) if isinstance(event, Note)]
    assert any("reads only its first 77 tokens" in text for text in notes)
    assert not any("tokens" in event.text for event in create(made("sd")) if isinstance(event, Note))


def test_the_safety_checker_is_left_out_and_told(own: Path) -> None:
    index = json.loads((own / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["requires_safety_checker"] = True
    (own / "model_index.json").write_text(json.dumps(index))
    events = create(own)
    assert any("safety checker is not used" in event.text for event in events if isinstance(event, Note))
    assert any(isinstance(event, Picture) for event in events)


def test_weights_in_half_precision(own: Path) -> None:
    plain = image(own)
    for path in own.glob("*/*model.safetensors"):
        path.rename(path.with_name(path.name.replace("model.safetensors", "model.fp16.safetensors")))
    assert np.array_equal(image(own), plain)


# Finding


def test_folders_are_found_by_path_and_by_name(
    made: Any, tmp_path: Path, tiny_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made("sd")
    assert find_pipeline("painter") is None
    assert find_pipeline("absent") is None
    assert find_pipeline("x" * 5000) is None
    shutil.copytree(folder, tmp_path / "here")
    source = find_pipeline("here")
    assert source is not None
    assert (source.name, source.folder) == ("here", Path("here"))
    home = tmp_path / "home"
    shutil.copytree(folder, home / "models" / "mine")
    shutil.copy(tiny_home / "models" / "painter.safetensors", home / "models" / "here.safetensors")
    monkeypatch.setenv("LIENZO_HOME", str(home))
    installed = find_pipeline("mine")
    assert installed is not None
    assert installed.name == "mine"
    assert installed.digest() == source.digest()
    assert find_pipeline("here") is None, "a model of the store hides a folder of the same name"


def test_another_pipeline_is_the_reason(made: Any, own: Path) -> None:
    create(own)
    from tiny_pipelines import save_pipeline

    shutil.rmtree(own)
    save_pipeline(own, "sd", scheduler="pndm")
    events = list(run_reproduce(Reproduce.make(picture=Path("picture.png"), model=str(own))))
    assert isinstance(events[-1], Note)
    assert events[-1].text.startswith("Not the same")
    assert "The file of model is not the one it was made with." in events[-1].text


def test_a_recipe_downloads_nothing(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    folder = str(made("sd"))
    create(folder)
    recipe = read_recipe("picture.png")
    assert recipe is not None
    fetched: list[object] = []
    monkeypatch.setattr("lienzo.weights.hub._download_pipeline", lambda *given: fetched.append(given))
    monkeypatch.setattr("lienzo.weights.hub._download", lambda *given: fetched.append(given))
    for change in ({"model": "hub:evil/model"}, {"clip": ["hub:evil/model"]}, {"upscaler": "hub:evil/model"}):
        info = PngInfo()
        info.add_itxt("lienzo", json.dumps({**recipe, "options": {**recipe["options"], **change}}))
        Image.new("RGB", (32, 32)).save("forged.png", pnginfo=info)
        with pytest.raises(BadInput, match="'hub:evil/model', which is not on this machine"):
            list(run_reproduce(Reproduce.make(picture=Path("forged.png"), model=None if "model" in change else folder)))
    with pytest.raises(BadInput, match="by 'tiny-sd', a pipeline of diffusers; say where it is with --model"):
        list(run_reproduce(Reproduce.make(picture=Path("picture.png"))))
    assert fetched == []


# What does not fit


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sampler": "euler"}, "--sampler is not for a pipeline of diffusers: it brings its own."),
        ({"init": Path("start.png")}, "--init is not for a pipeline"),
        ({"init": Path("start.png"), "mask": Path("start.png")}, "--init is not for a pipeline"),
        ({"image_prompt": ("start.png",)}, "--image-prompt is not for a pipeline"),
        ({"clip_guidance": 0.3}, "--clip-guidance is not for a pipeline of diffusers: CLIP does not steer it"),
        ({"secondary": "x.pt"}, "--secondary is not for a pipeline"),
        ({"prompt": "a fox:2 | fog"}, "reads words without weights"),
        ({"prompt": "fog:-1"}, "Every prompt has a negative weight"),
        ({"clip": ("gide",)}, "There is no model 'gide'"),
    ],
)  # fmt: skip
def test_options_that_pipelines_do_not_know(made: Any, options: dict[str, Any], sentence: str) -> None:
    if sentence.endswith("'gide'"):
        with pytest.raises(BadInput, match=sentence):
            create(made("sd"), **options)
    else:
        assert sentence in said(made("sd"), **options)


def test_options_that_one_pipeline_does_not_know(made: Any) -> None:
    assert said(made("flux"), eta=0.5) == "This pipeline has no option for --eta; leave it out."
    assert "has no option 'eta'" in said(made("sd", scheduler="pndm"), eta=0.5)
    assert not np.array_equal(image(made("sd"), eta=1.0), image(made("sd")))


def rewrite(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors.pop("conv_in.weight")
    save_file(tensors, path)


def other_shapes(folder: Path) -> None:
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"block_out_channels": [16, 32]}))


def not_numbers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bias"][:] = float("nan")
    save_file(tensors, path)


def pickled(folder: Path) -> None:
    from safetensors.torch import load_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def cut(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def own_code(folder: Path) -> None:
    (folder / "unet" / "evil.py").write_text("raise SystemExit('code ran')\nclass Evil: pass\n")
    rewrite(folder, unet=["evil", "Evil"])


BROKEN: list[tuple[Any, str]] = [
    (lambda f: (f / "model_index.json").write_text("{"), "model_index.json of 'own' is broken"),
    (lambda f: (f / "model_index.json").write_text("[]"), "model_index.json of 'own' is broken"),
    (lambda f: (f / "model_index.json").write_text("{}"), "model_index.json of 'own' is broken"),
    (lambda f: rewrite(f, unet=["diffusers"]), "names no parts that can be"),
    (lambda f: rewrite(f, **{"../unet": ["diffusers", "UNet2DConditionModel"]}), "names no parts that can be"),
    (lambda f: rewrite(f, unet=["os", "system"]), "which the installed libraries do not have"),
    (lambda f: rewrite(f, unet=["transformers", "pipeline"]), "which the installed libraries do not have"),
    (lambda f: rewrite(f, unet=["diffusers", "NoSuch"]), "'diffusers.NoSuch', which the installed libraries"),
    (lambda f: rewrite(f, _class_name="NoSuchPipeline"), "'own' is a NoSuchPipeline, which diffusers"),
    (lambda f: rewrite(f, _class_name="StableDiffusionImg2ImgPipeline"), "does not make pictures from text alone"),
    (lambda f: rewrite(f, _class_name="StableDiffusionControlNetPipeline"), "does not make pictures from text alone"),
    (lambda f: rewrite(f, _class_name="WanPipeline"), "does not make pictures from text alone"),
    (lambda f: rewrite(f, _class_name="UNet2DModel"), "does not make pictures from text alone"),
    (lambda f: shutil.rmtree(f / "unet"), "The part 'unet' of 'own' has no safetensors."),
    (lambda f: shutil.rmtree(f / "scheduler"), "The part 'scheduler' of 'own' is missing."),
    (lambda f: shutil.rmtree(f / "tokenizer"), "The part 'tokenizer' of 'own' is missing."),
    (
        lambda f: [p.unlink() for p in (f / "tokenizer").iterdir() if "config" not in p.name],
        "'tokenizer' of 'own' is missing.",
    ),
    (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{"), "'own' does not work: "),
    (lambda f: (f / "scheduler" / "scheduler_config.json").write_text("{"), "'own' does not work: "),
    (lambda f: (f / "unet" / "config.json").unlink(), "The part 'unet' of 'own' does not work: "),
    (lambda f: (f / "unet" / "config.json").write_text("{"), "The part 'unet' of 'own' does not work: "),
    (drop_a_tensor, "The part 'unet' of 'own' lacks 1 tensors, one of them 'conv_in.weight'."),
    (other_shapes, "The part 'unet' of 'own' does not work: "),
    (cut, "The part 'vae' of 'own' does not work: "),
    (pickled, "The part 'unet' of 'own' is only there as a pickle"),
    (own_code, "which the installed libraries do not have"),
    (not_numbers, "'own' paints no numbers; its weights are broken."),
]


@pytest.mark.parametrize(("harm", "sentence"), BROKEN)
def test_broken_folders(own: Path, harm: Any, sentence: str) -> None:
    harm(own)
    assert sentence in said("own")
    assert not at_work()


# Where diffusers is missing


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder that says it is a pipeline."""
    (tmp_path / "bare").mkdir()
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "bare" / "model_index.json").write_text(json.dumps(index))
    return tmp_path / "bare"


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
def test_without_the_extra(bare: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    expected = "'bare' is a pipeline of diffusers, which is missing: pip install 'lienzo[hub]'."
    assert said("bare") == expected
    assert said(bare) == expected


def test_a_library_that_does_not_load(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr("lienzo.tasks.hub_pipelines.importlib.import_module", broken)
    assert said("bare") == (
        "'bare' is a pipeline of diffusers, which does not load: operator torchvision::nms does not exist."
    )


def test_the_options_are_checked_before_the_library(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "--sampler is not for a pipeline" in said("bare", sampler="euler")


def test_without_diffusers_all_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert pictures(Path("painter"))[0].image.shape == (32, 32, 3)


def test_names_of_the_hub_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert said("hub:org/name") == "Models of the hub need huggingface_hub: pip install 'lienzo[hub]'."
    assert said("hub:name") == "'hub:name' is no model of the hub; write hub:org/name."
