"""`create`: seeds, recipes, files that are whole or not there, and one sentence for everything that does not fit."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import STYLES as LEARNED

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture, Preview, Progress
from lienzo.data.phrases import STYLES
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.tasks.create import Create, run
from lienzo.tasks.easel import read_wish

FAST: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "size": 24, "steps": 3}
HOME_LIKE = (b"/tmp", b"/home", b"/root", b"/work")


def create(**options: Any) -> list[Event]:
    return list(run(Create.make(**{**FAST, **options})))


def pictures(**options: Any) -> list[np.ndarray]:
    return [event.image for event in create(**options) if isinstance(event, Picture)]


def notes(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Note))


def files() -> set[str]:
    return set(os.listdir())


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return int(np.abs(a.astype(int) - b).max()) <= 1


def a_picture(name: str, side: int = 20) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(name)
    return Path(name)


# Seeds


@pytest.mark.parametrize("engine", ["painter", "adm-64"])
def test_a_picture_is_the_same_alone_among_others_and_in_a_batch(engine: str) -> None:
    more = {"model": engine, "clip_guidance": 0.3, "cutn": 4, "eta": None}
    alone = pictures(**more, seed=9)[0]
    among = pictures(**more, n=3)
    assert np.array_equal(among[2], alone)
    batched = pictures(**more, n=3, batch=4)
    assert all(near(a, b) for a, b in zip(among, batched, strict=True))
    uneven = pictures(**more, n=3, batch=2)
    assert all(near(a, b) for a, b in zip(among, uneven, strict=True))


def test_stochastic_samplers_keep_to_the_seed() -> None:
    options: dict[str, Any] = {"sampler": "euler_ancestral", "n": 3}
    one, again, batched = pictures(**options), pictures(**options), pictures(**options, batch=3)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert all(near(a, b) for a, b in zip(one, batched, strict=True))
    assert not np.array_equal(one[0], pictures()[0])


def test_other_seeds_are_other_pictures_and_the_same_is_the_same() -> None:
    one, two, three = pictures(n=3)
    assert not np.array_equal(one, two)
    assert not np.array_equal(two, three)
    assert np.array_equal(pictures(seed=8)[0], two)
    assert pictures(seed=2**63 - 1)[0].shape == (24, 24, 3)


def test_without_a_seed_one_is_drawn_and_said() -> None:
    events = [create(seed=None) for _ in range(2)]
    seeds = [next(e.seed for e in run if isinstance(e, Picture)) for run in events]
    assert seeds[0] != seeds[1]
    assert np.array_equal(pictures(seed=seeds[1])[0], load_picture("picture.png"))


@pytest.mark.parametrize("size", [16, 17, 64, 100])
def test_sizes(size: int) -> None:
    assert pictures(size=size)[0].shape == (size, size, 3)
    assert load_picture("picture.png").shape == (size, size, 3)


# What options do


@pytest.mark.parametrize(
    "options",
    [{"prompt": "a blue cat"}, {"negative": "red"}, {"guidance": 5.0}, {"steps": 4}, {"style": "flat"},
     {"refine": False}, {"upscaler": "none"}, {"clip_guidance": 0.5}, {"sampler": "heun"}],
)  # fmt: skip
def test_every_option_changes_the_picture(options: dict[str, Any]) -> None:
    assert not np.array_equal(pictures()[0], pictures(**options)[0])


def test_candidates_keep_the_best_score() -> None:
    from lienzo.core.seeds import derived_seed

    tries = [7, *(derived_seed(7, "candidate", j) for j in range(1, 4))]
    single = [next(e for e in create(seed=s, candidates=1) if isinstance(e, Picture)) for s in tries]
    best = max(single, key=lambda picture: picture.scores["clip"])
    kept = next(e for e in create(candidates=4) if isinstance(e, Picture))
    assert len({picture.scores["clip"] for picture in single}) == 4
    assert kept.scores == best.scores
    assert np.array_equal(kept.image, best.image)
    assert kept.seed == 7
    both = [e for e in create(candidates=4, n=2, batch=3) if isinstance(e, Picture)]
    assert [e.index for e in both] == [0, 1]
    assert near(both[0].image, best.image)


@pytest.mark.parametrize(
    ("options", "candidates"),
    [
        ({}, 4),
        ({"preset": "draft"}, 1),
        ({"candidates": 2}, 2),
        ({"clip_guidance": 0.2}, 1),
        ({"init": "start.png"}, 1),
        ({"prompt": "a cat left of a dog"}, 1),
        ({"model": "adm-64", "steps": 2}, 1),
    ],
)
def test_how_many_candidates_unasked(options: dict[str, Any], candidates: int) -> None:
    if "init" in options:
        a_picture("start.png", 32)
    made = next(e for e in create(**options) if isinstance(e, Picture))
    assert made.recipe["options"]["candidates"] == candidates


def test_clip_chooses_by_the_style_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from lienzo.tasks.perceptors import Judges

    heard: list[str] = []
    monkeypatch.setattr(Judges, "score", lambda self, pictures, text: heard.append(text) or [0.0] * len(pictures))
    create(prompt="a red fox, flat", candidates=1)
    create(prompt="a red fox, watercolor", candidates=1)  # a filter, which comes after the choice
    assert heard == ["a red fox, flat", "a red fox"]


@pytest.mark.parametrize("style", [name for name, style in STYLES.items() if style.filter and name not in LEARNED])
def test_styles_that_are_filters_are_applied_and_recorded(style: str) -> None:
    events = create(prompt=f"a red fox, {STYLES[style].en[0]}", size=32)
    painted = next(e for e in events if isinstance(e, Picture))
    recipe = read_recipe("picture.png")
    assert recipe is not None
    assert (recipe["filter"], recipe["style"]) == (style, None)
    assert f"'{style}' is a filter" in notes(events)
    assert not np.array_equal(painted.image, pictures(size=32)[0])


@pytest.mark.parametrize(
    ("prompt", "filtered", "drawn"),
    [
        ("un zorro rojo, acuarela", "watercolor", None),
        ("рыжая лиса маслом", "oil painting", None),
        ("плоский кот", None, "flat"),
        ("un gato, icono de líneas", None, "line icon"),
        ("watercolor", "watercolor", None),
        ("a red fox", None, None),
    ],
)
def test_style_words_of_three_languages(prompt: str, filtered: str | None, drawn: str | None) -> None:
    picture = next(e for e in create(prompt=prompt, size=16) if isinstance(e, Picture))
    assert (picture.recipe["filter"], picture.recipe["style"]) == (filtered, drawn)
    assert picture.recipe["prompt"] == prompt


def test_a_style_that_a_model_lacks_is_only_a_word() -> None:
    wish = read_wish(Create.make(prompt="a flat tyre"), ("hokusai",))
    assert (wish.style, wish.subjects) == (None, (("a flat tyre", 1.0),))
    assert read_wish(Create.make(prompt="a castle, watercolor"), ("hokusai",)).filter == "watercolor"
    assert read_wish(Create.make(prompt="a bridge in the style of Hokusai"), ("hokusai",)).style == "hokusai"


def test_the_style_option_wins_over_the_sentence() -> None:
    assert np.array_equal(pictures(prompt="a red fox, flat")[0], pictures(style="flat")[0])
    assert np.array_equal(pictures(prompt="a red fox, flat", style="line icon")[0], pictures(style="line icon")[0])


@pytest.mark.parametrize("engine", ["painter", "adm-64"])
def test_init_and_skip(engine: str) -> None:
    """The more steps are skipped, the nearer the picture stays to where it started."""
    init = a_picture("start.png", 32)
    more: dict[str, Any] = {"model": engine, "init": init, "steps": 10, "refine": False, "upscaler": "none", "size": 32}
    if engine == "painter":  # its codes hold little of any picture: compare with what they hold
        more["size"] = 16
    made = {skip: pictures(**more, skip=skip)[0].astype(float) for skip in (0.0, 0.5, 0.9)}
    goal = pictures(**more, skip=0.99, guidance=1.0)[0].astype(float)
    distance = {skip: np.abs(image - goal).mean() for skip, image in made.items()}
    if engine == "painter":  # an untrained one draws from its memory, wherever it starts
        assert len({image.tobytes() for image in made.values()}) == 3
    else:
        assert distance[0.9] < distance[0.5] < distance[0.0]
    events = [e for e in create(**more, skip=0.5) if isinstance(e, Progress) and e.stage == "paint"]
    assert events[-1].done == events[-1].total == 5


def test_a_mask_keeps_what_is_black() -> None:
    init = a_picture("start.png", 32)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    Image.fromarray(mask).save("mask.png")
    made = pictures(model="adm-64", init=init, mask=Path("mask.png"), size=32, steps=5, skip=0.2)[0]
    original = load_picture("start.png")
    assert near(made[:, :16], original[:, :16])
    assert np.abs(made[:, 16:].astype(int) - original[:, 16:]).mean() > 5
    with pytest.raises(BadInput, match="--mask needs a model that paints in pixels"):
        create(init=init, mask=Path("mask.png"))


# CLIP


@pytest.mark.parametrize("engine", ["painter", "adm-64"])
@pytest.mark.parametrize("how", [{"clip_guidance": 0.4}, {"clip_guidance": 1.0, "clip_step": "original"}])
@pytest.mark.parametrize("mode", ["estimate", "through"])
def test_clip_guides_both_engines_in_every_mode(engine: str, mode: str, how: dict[str, Any]) -> None:
    base: dict[str, Any] = {"model": engine, "size": 16, "cutn": 4, "upscaler": "none"}
    guided = pictures(**base, **how, mode=mode)[0]
    assert not np.array_equal(guided, pictures(**base)[0])
    assert np.array_equal(guided, pictures(**base, **how, mode=mode)[0])
    heavier = pictures(**base, **how, mode=mode, tv_scale=5000.0, saturation_scale=9.0, symmetry_scale=50.0,
                       cutn_batches=2)[0]  # fmt: skip
    assert not np.array_equal(guided, heavier)


def test_every_way_to_cut() -> None:
    base: dict[str, Any] = {"size": 16, "cutn": 4, "upscaler": "none", "clip_guidance": 0.4, "cut_overview": "2",
                            "cut_innercut": "[2]*1+[1]*2"}  # fmt: skip
    made = [pictures(**base, cutouts=cutouts)[0] for cutouts in ("random", "disco", "whole")]
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])


def test_the_secondary_network_guides_pixel_models() -> None:
    from lienzo.diffusion.secondary import SecondaryModel
    from lienzo.weights.models import Card, save_model

    torch.manual_seed(0)
    small = SecondaryModel(channels=8)
    save_model("small.safetensors", "disco-secondary", small.config, small.state_dict(),
               Card(title="t", licence="CC0-1.0"))  # fmt: skip
    base: dict[str, Any] = {"model": "adm-64", "size": 32, "cutn": 4, "upscaler": "none", "clip_guidance": 0.4}
    guided = next(e for e in create(**base, mode="secondary", secondary="small.safetensors") if isinstance(e, Picture))
    assert not np.array_equal(guided.image, pictures(**base)[0])
    assert guided.recipe["options"]["secondary"] == "small"
    with pytest.raises(BadInput, match="name its file with --secondary"):
        create(**base, mode="secondary")
    with pytest.raises(BadInput, match="'guide' is no secondary model"):
        create(**base, mode="secondary", secondary="guide")
    with pytest.raises(BadInput, match="--secondary needs a model that paints in pixels"):
        create(mode="secondary", secondary="small.safetensors", clip_guidance=0.2)


def test_clip_guidance_pulls_towards_the_words() -> None:
    """Guided by a CLIP, the picture scores higher with that CLIP than unguided, on average over seeds."""
    options: dict[str, Any] = {"n": 6, "steps": 8, "refine": False, "upscaler": "none", "size": 16, "batch": 6}
    options["candidates"] = 1

    def mean(**more: Any) -> float:
        return float(np.mean([e.scores["clip"] for e in create(**options, **more) if isinstance(e, Picture)]))

    assert mean(clip_guidance=0.6, off_share=0.0) > mean() + 0.01


def test_image_prompts_guide_and_are_recorded_without_their_place() -> None:
    folder = Path("private")
    folder.mkdir()
    a_picture("private/goal.png")
    base: dict[str, Any] = {"clip_guidance": 0.4, "cutn": 4}
    plain = pictures(**base)[0]
    guided = pictures(**base, image_prompt=("private/goal.png:2",))[0]
    assert not np.array_equal(plain, guided)
    data = Path("picture.png").read_bytes()
    assert b"goal" not in data
    assert b"private" not in data
    with pytest.raises(BadInput, match="does not exist"):
        create(**base, image_prompt=("absent.png",))


def test_several_clips_and_openai_clip(tmp_path: Path) -> None:
    from tiny_models import openai_clip

    torch.save(openai_clip().state_dict(), "ViT.pt")
    picture = next(e for e in create(clip=("guide", "judge", "ViT.pt"), clip_guidance=0.3, cutn=4)
                   if isinstance(e, Picture))  # fmt: skip
    assert np.isfinite(picture.scores["clip"])
    assert {"clip guide", "clip judge", "clip ViT"} <= picture.recipe["models"].keys()


def test_an_unconditional_model_says_that_it_needs_clip() -> None:
    assert "add --clip-guidance" in notes(create(model="adm-64"))
    assert "add --clip-guidance" not in notes(create(model="adm-64", clip_guidance=0.3, cutn=4))
    assert "add --clip-guidance" not in notes(create())


# Files


def test_the_recipe_goes_into_the_file_and_out_again() -> None:
    events = create(prompt='a "fox", naïve: лиса\n🦊', negative="grey/old.things", n=2, out=Path("fox.png"))
    made = [e for e in events if isinstance(e, Picture)]
    assert [e.path for e in made] == ["fox-0.png", "fox-1.png"]
    assert files() == {"fox-0.png", "fox-1.png", "fox-grid.png"}
    for event in made:
        recipe = read_recipe(str(event.path))
        assert recipe is not None
        assert {k: v for k, v in recipe.items() if k != "version"} == event.recipe
        assert recipe["seed"] == 7 + event.index
        assert np.array_equal(load_picture(str(event.path)), event.image)
    assert read_recipe("fox-grid.png") is None
    assert "fox-grid.png shows all 2" in notes(events)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("level", ["full", "parameters", "none"])
def test_metadata_levels(suffix: str, level: str) -> None:
    out = Path(f"fox{suffix}")
    create(metadata=level, out=out)
    recipe = read_recipe(out)
    if level == "none":
        assert recipe is None
        assert not Image.open(out).info.keys() & {"parameters", "lienzo", "exif", "Software"}
        assert b"fox" not in out.read_bytes()
        return
    assert recipe is not None
    assert (recipe["prompt"], recipe["seed"], recipe["steps"]) == ("a red fox", 7, 3)
    assert ("options" in recipe) == (level == "full")


def test_no_path_gets_into_the_picture(tiny_home: Path, tmp_path: Path) -> None:
    init, model = a_picture("start.png").absolute(), tiny_home / "models"
    create(
        init=init, out=tmp_path / "fox.png", model=str(model / "painter.safetensors"), clip_guidance=0.2, cutn=4,
        clip=(str(model / "guide.safetensors"), str(model / "judge.safetensors")),
        upscaler=str(model / "upscaler.safetensors"), image_prompt=(f"{init}:0.5",),
    )  # fmt: skip
    data = (tmp_path / "fox.png").read_bytes()
    recipe = repr(read_recipe("fox.png")).encode()
    for secret in (*HOME_LIKE, str(tmp_path).encode(), b"start.png", b".safetensors"):
        assert secret not in recipe
        assert secret not in data


def test_previews_are_written_beside_and_removed() -> None:
    seen = []
    for event in run(Create.make(**FAST, previews=1, candidates=1, out=Path("fox.png"))):
        if isinstance(event, Preview):
            seen.append(load_picture("fox.preview.png"))
            assert np.array_equal(seen[-1], event.image)
    assert len(seen) == 3
    assert files() == {"fox.png"}


def test_a_file_that_looks_like_a_preview_is_not_ours() -> None:
    a_picture("fox.preview.png")
    before = Path("fox.preview.png").read_bytes()
    create(out=Path("fox.png"))
    assert Path("fox.preview.png").read_bytes() == before


def test_closing_the_events_cancels() -> None:
    events = run(Create.make(**FAST, n=4, previews=1, out=Path("fox.png")))
    for event in events:
        if isinstance(event, Picture) and event.index == 1:
            break
    assert isinstance(next(events), Progress | Preview)
    events.close()  # type: ignore[attr-defined]
    assert files() == {"fox-0.png", "fox-1.png"}
    assert all(load_picture(name).shape == (24, 24, 3) for name in files())


def test_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert pictures(clip_guidance=0.2, cutn=4, n=2)
    assert pictures(model="adm-64")


def test_a_full_disk_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    old = a_picture("fox.png").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"^'fox\.png' cannot be written: No space left on device\.$"):
        create(out=Path("fox.png"))
    assert Path("fox.png").read_bytes() == old
    assert files() == {"fox.png"}


def test_existing_files_stay_when_asked() -> None:
    old = a_picture("fox-1.png").read_bytes()
    with pytest.raises(BadInput, match=r"'fox-1\.png' exists already"):
        create(out=Path("fox.png"), n=2, overwrite=False)
    assert files() == {"fox-1.png"}
    assert Path("fox-1.png").read_bytes() == old
    create(out=Path("fox.png"), n=2)
    assert Path("fox-1.png").read_bytes() != old


def test_killed_while_painting_leaves_whole_pictures_only(tiny_home: Path) -> None:
    command = [sys.executable, "-m", "lienzo", "create", "a fox", "--n", "8", "--steps", "20", "--size", "128",
               "--seed", "1", "--out", "fox.png", "--previews", "1", "--json"]  # fmt: skip
    environment = {**os.environ, "LIENZO_HOME": str(tiny_home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not Path("fox-1.png").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    found = {name for name in files() if not name.startswith(".")}
    assert {"fox-0.png", "fox-1.png"} <= found
    assert "fox-grid.png" not in found
    for name in found:
        assert load_picture(name).shape[2] == 3
    whole = [name for name in found if ".preview." not in name]
    assert all(read_recipe(name) is not None for name in whole)


# What does not fit


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": ""}, "prompt: say what to paint"),
        ({"prompt": " \n"}, "prompt: say what to paint"),
        ({"prompt": "x" * 2001}, "string should have at most 2000 characters"),
        ({"prompt": "a fox | "}, "has an empty part"),
        ({"prompt": "fog:-1"}, "Every prompt has a negative weight"),
        ({"prompt": "fog:-1 | rain:-2"}, "Every prompt has a negative weight"),
        ({"prompt": "fox:1 | fog:-1", "clip_guidance": 0.3}, "weights sum to 0"),
        ({"prompt": "\udcff fox"}, "Option 'prompt'"),
        ({"size": 0}, "Option 'size' was 0; it should be greater than or equal to 16."),
        ({"size": 15}, "Option 'size' was 15; it should be greater than or equal to 16."),
        ({"size": 5000}, "Option 'size' was 5000; it should be less than or equal to 4096."),
        ({"steps": 0}, "Option 'steps' was 0"),
        ({"n": 0}, "Option 'n' was 0"),
        ({"seed": -1}, "Option 'seed' was -1"),
        ({"guidance": float("nan")}, "Option 'guidance' was nan"),
        ({"skip": 1.0}, "Option 'skip' was 1.0"),
        ({"model": "paintr"}, "There is no model 'paintr'; did you mean 'painter'"),
        ({"model": "absent.safetensors"}, "The model file 'absent.safetensors' does not exist."),
        ({"model": "upscaler"}, "'upscaler' is a SwinIR, which does not paint"),
        ({"style": "cubism"}, "There is no style 'cubism'"),
        ({"style": "retro"}, "The painter has no style 'retro'; it has flat, line icon, soft shaded."),
        ({"sampler": "eulr"}, "There is no sampler 'eulr'; did you mean 'euler'?"),
        ({"eta": 0.5}, "The sampler 'euler' has no option 'eta'"),
        ({"clip": ("gide",)}, "There is no model 'gide'; did you mean 'guide'"),
        ({"clip": ("painter",)}, "'painter' is no CLIP"),
        ({"clip": ()}, "Name at least one CLIP"),
        ({"upscaler": "guide"}, "'guide' is no SwinIR"),
        ({"out": Path("fox.gif")}, "'fox.gif' does not"),
        ({"out": Path("fox")}, "'fox' does not"),
        ({"out": Path("absent/fox.png")}, "The folder 'absent' does not exist"),
        ({"out": Path("folder.png")}, "not a plain file"),
        ({"mask": Path("whole.png")}, "give --init too"),
        ({"strength": 0.5}, "--strength says how much of --init is painted anew; give --init too."),
        ({"init": Path("absent.png")}, "The picture 'absent.png' does not exist."),
        ({"init": Path("text.png")}, "is not a picture that Lienzo knows"),
        ({"init": Path("cut.png")}, "The picture 'cut.png' is"),
        ({"init": Path("empty.png")}, "The picture 'empty.png' is empty."),
        ({"init": Path("folder.png")}, "is a folder"),
        ({"init": Path("whole.png"), "mask": Path("text.png"), "model": "adm-64"}, "is not a picture"),
        ({"model": "text.pt"}, "text.pt"),
        ({"device": "tpu"}, "Option 'device' was 'tpu'; it should be 'auto', 'cpu', 'cuda' or 'mps'."),
        ({"no_such": 1}, "There is no option 'no_such'."),
    ],
)  # fmt: skip
def test_one_sentence_and_nothing_written(options: dict[str, Any], sentence: str) -> None:
    Path("text.png").write_text("I am a letter to you.\n")
    Path("text.pt").write_text("I am a letter to you.\n")
    whole = a_picture("whole.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("empty.png").write_bytes(b"")
    Path("folder.png").mkdir()
    before = files()
    with pytest.raises(BadInput) as caught:
        create(**options)
    said = str(caught.value)
    assert sentence in said
    assert said.endswith((".", "?"))
    assert len(said) < 400
    assert "\n" not in said
    assert files() == before


def test_an_upscaler_that_does_not_enlarge_is_refused() -> None:
    """It could never reach the size, and trying would not end."""
    from tiny_models import SWINIR

    from lienzo.upscaling.swinir import SwinIR
    from lienzo.weights.models import Card, save_model

    model = SwinIR(**{**SWINIR, "upsampler": "", "upscale": 4})
    save_model("cleaner.safetensors", "swinir", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    with pytest.raises(BadInput, match="'cleaner' mends pictures and does not enlarge"):
        create(upscaler="cleaner.safetensors")


def test_presets_change_and_given_values_win() -> None:
    draft = Create.make("draft", prompt="x", steps=9)
    assert (draft.steps, draft.refine) == (9, False)
    for preset, values in Create.presets.items():
        made = Create.make(preset, prompt="x")
        assert {name: getattr(made, name) for name in values} == values


def test_events_of_a_run_are_in_order() -> None:
    events = create(n=2, previews=2, candidates=1)
    paint = [e for e in events if isinstance(e, Progress) and e.stage == "paint"]
    assert [e.done for e in paint] == [1, 2, 3, 4, 5, 6]
    assert {e.total for e in paint} == {6}
    assert not [e for e in events if isinstance(e, Metric)]
    seconds = [e.seconds for e in paint]
    assert seconds == sorted(seconds)
