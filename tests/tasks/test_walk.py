"""Walks: the ends are pictures of `create`, what is between is on the way, and a killed walk goes on."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import kill_once_there, start, status
from PIL import Image

from lienzo.cli.main import main
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture, Preview, Progress
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.imaging.writing import save_picture
from lienzo.nn.noise import PictureNoise, WalkNoise, slerp
from lienzo.tasks.create import Create
from lienzo.tasks.create import run as run_create
from lienzo.tasks.reproduce import Reproduce
from lienzo.tasks.reproduce import run as run_reproduce
from lienzo.tasks.show import Show
from lienzo.tasks.show import run as run_show
from lienzo.tasks.walk import Walk, order, places, position, run

FAST: dict[str, Any] = {
    "prompts": ("a cow", "a red castle, line icon"), "seed": (3, 9), "frames": 4, "size": 16, "steps": 2,
    "out": Path("way"), "upscaler": "none",
}  # fmt: skip


def walk(**options: Any) -> list[Event]:
    return list(run(Walk.make(**{**FAST, **options})))


def frames(folder: str = "way") -> list[np.ndarray]:
    return [load_picture(path) for path in sorted(Path(folder).glob("*.png"))]


def verdict(name: str, **options: Any) -> str:
    last = list(run_reproduce(Reproduce.make(picture=Path(name), **options)))[-1]
    assert isinstance(last, Note)
    return last.text


def test_the_ends_are_pictures_of_create() -> None:
    events = walk()
    walked = frames()
    for frame, prompt, seed in ((0, "a cow", 3), (3, "a red castle, line icon", 9)):
        given: dict[str, Any] = {"size": 16, "steps": 2, "upscaler": "none", "compose": False, "upright": True}
        given["candidates"] = 1
        picture = next(e for e in run_create(Create.make(prompt=prompt, seed=seed, **given)) if isinstance(e, Picture))
        assert np.array_equal(walked[frame], picture.image)
    assert len({frame.tobytes() for frame in walked}) == 4
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2, 3, 4]
    assert [e.index for e in events if isinstance(e, Preview)] == [0, 1, 2, 3]


def test_a_cut_walk_goes_on_to_the_same_end() -> None:
    walk(out=Path("whole"))
    with closing(run(Walk.make(**FAST))) as going:
        for event in going:
            if isinstance(event, Preview) and event.index == 1:
                break
    assert len(frames()) == 2
    Path("way/00001.png").write_bytes(b"half")
    again = walk()
    assert [e.index for e in again if isinstance(e, Preview)] == [1, 2, 3]
    assert all(np.array_equal(a, b) for a, b in zip(frames(), frames("whole"), strict=True))
    assert [e for e in walk() if isinstance(e, Preview)] == []


def test_another_walk_does_not_take_its_frames() -> None:
    walk()
    for options in ({"seed": (3, 8)}, {"prompts": ("a cow", "a sheep")}, {"frames": 5}, {"guidance": 2.0}):
        with pytest.raises(BadInput, match="frames made with another"):
            walk(**options)
    assert [e.index for e in walk(seed=(3, 8), restart=True) if isinstance(e, Preview)] == [0, 1, 2, 3]


def test_videos_go_back_or_round() -> None:
    walk(out=Path("way.gif"), ping_pong=True)
    with Image.open("way.gif") as video:
        assert video.n_frames == 6
    assert sorted(os.listdir()) == ["way.frames", "way.gif"]
    looped = Walk.make(**{**FAST, "loop": True, "frames": 4})
    assert places(looped) == [("a cow", 3), ("a red castle, line icon", 9), ("a cow", 3)]
    assert [position(looped, frame) for frame in range(4)] == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5)]
    assert order(Walk.make(**{**FAST, "ping_pong": True})) == [0, 1, 2, 3, 2, 1]


def test_positions_are_even() -> None:
    three = Walk.make(**{**FAST, "prompts": ("a", "b", "c"), "seed": (1,), "frames": 5})
    assert [position(three, frame) for frame in range(5)] == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5), (1, 1.0)]
    assert places(Walk.make(**{**FAST, "prompts": ("a",), "seed": (1, 2)})) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"prompts": ("a",), "seed": (1,)}, "needs two places"), ({"seed": (1, 2, 3)}, "2 sentences and 3 seeds"),
     ({"prompts": ()}, "give sentences"), ({"prompts": ("a", " ")}, "give sentences"), ({"frames": 1}, "frames"),
     ({"out": Path("a/b.gif")}, "does not exist"), ({"out": Path("b.txt")}, "name ends in"),
     ({"loop": True, "ping_pong": True}, "choose one"), ({"model": "adm-64"}, "no way between sentences")],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        walk(**options)


def test_noise_turns_and_keeps_its_spread() -> None:
    a, b = (PictureNoise([seed])(torch.zeros(1, 4, 64, 64)) for seed in (1, 2))
    middle = slerp(a, b, 0.5)
    assert abs(middle.std().item() - 1) < 0.02
    assert torch.allclose(slerp(a, a, 0.3), a, atol=1e-5)
    assert torch.allclose(slerp(a, b, 0.0), a)
    noise = WalkNoise(PictureNoise([1]), PictureNoise([2]), 1.0)
    assert torch.equal(noise(torch.zeros(1, 4, 64, 64)), b)


def test_stable_diffusion_walks(tmp_path: Path) -> None:
    import tiny_stable_diffusion as tiny
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in tiny.compvis().items()}, tmp_path / "sd.safetensors")
    events = walk(model=str(tmp_path / "sd.safetensors"), frames=3, seed=(1,), prompts=("cows", "sheep"))
    assert len({frame.tobytes() for frame in frames()}) == 3
    assert not any(isinstance(event, Note) and event.level == "warning" for event in events)


def test_every_frame_is_made_again_from_its_recipe() -> None:
    walk(loop=True, negative="fog")
    for frame in range(4):
        assert verdict(f"way/0000{frame}.png") == "Exact: every pixel is the same."
    recipe = read_recipe("way/00001.png")
    assert recipe is not None
    assert (recipe["task"], recipe["frame"], recipe["prompt"], recipe["seed"]) == (
        "walk",
        1,
        "a red castle, line icon",
        9,
    )
    assert recipe["options"]["prompts"] == ["a cow", "a red castle, line icon"]
    assert (recipe["options"]["seed"], recipe["options"]["loop"], recipe["steps"]) == ([3, 9], True, 2)
    (table,) = run_show(Show.make(picture=Path("way/00002.png")))
    assert {("task", "walk"), ("frame", "2"), ("options.frames", "4")} <= set(table.rows)  # type: ignore[attr-defined]


def test_frames_carry_as_much_as_asked_for() -> None:
    walk(metadata="none")
    assert read_recipe("way/00000.png") is None
    bare = frames()
    walk(metadata="none")  # and that is no other walk
    walk(out=Path("full"))
    assert all(np.array_equal(a, b) for a, b in zip(bare, frames("full"), strict=True))


def test_a_frame_says_what_is_needed_to_make_it_again() -> None:
    import tiny_stable_diffusion as tiny
    from safetensors.torch import save_file

    Path("models").mkdir()
    save_file({key: value.contiguous() for key, value in tiny.compvis().items()}, "models/sd.safetensors")
    layer = "lora_unet_down_blocks_0_attentions_0_proj_in"
    change = {"lora_down": torch.randn(2, 32, 1, 1), "lora_up": torch.randn(32, 2, 1, 1)}
    save_file({f"{layer}.{part}.weight": value for part, value in change.items()}, "models/line.safetensors")
    walk(model="models/sd.safetensors", lora=("models/line.safetensors:0.5",), frames=3)
    with pytest.raises(BadInput, match="made with --lora; give the same file"):
        verdict("way/00001.png", model="models/sd.safetensors")
    given: dict[str, Any] = {"model": "models/sd.safetensors", "lora": ("models/line.safetensors:0.5",)}
    assert verdict("way/00001.png", **given).startswith("Exact")
    recipe = str(read_recipe("way/00001.png"))
    assert "models/" not in recipe


def test_a_forged_frame_is_one_sentence() -> None:
    walk()
    recipe = read_recipe("way/00000.png")
    assert recipe is not None
    for bent, said in (
        ({"frame": 4}, "has no frame 4"), ({"frame": -1}, "frame"), ({"seed": [1, 2, 3]}, "3 seeds"),
        ({"prompts": []}, "give sentences"), ({"prompts": "a"}, "prompts"), ({"frame": 1e9}, "has no frame"),
        ({"lora": ["/etc/passwd"]}, ""), ({"out": "/tmp/x"}, ""),
    ):  # fmt: skip
        told = {**recipe, "options": {**recipe["options"], **bent}}
        save_picture(load_picture("way/00000.png"), "forged.png", metadata=told, exist_ok=True)
        if said:
            with pytest.raises(BadInput, match=said):
                verdict("forged.png")
        else:
            assert verdict("forged.png").startswith("Exact")


def test_a_killed_walk_is_the_same_as_one_that_was_not() -> None:
    """SIGKILL in the middle, then the same command again."""
    command = [
        "walk", "a cow", "a red castle", "--frames", "24", "--size", "16", "--steps", "12", "--upscaler", "none",
        "--quiet", "--out",
    ]  # fmt: skip
    process = start(main, [*command, "killed.gif"])
    kill_once_there(process, Path("killed.frames/00002.png"))
    files = sorted(Path("killed.frames").glob("0*.png"))
    assert 3 <= len(files) < 24
    assert not Path("killed.gif").exists()
    left = {path.name: path.read_bytes() for path in files}
    assert all(load_picture(path).shape == (16, 16, 3) for path in files)
    assert status(start(main, [*command, "killed.gif"])) == 0
    events = list(
        run(
            Walk.make(
                prompts=("a cow", "a red castle"), frames=24, size=16, steps=12, upscaler="none", out=Path("w.gif")
            )
        )
    )
    assert not any(isinstance(event, Note) and "already" in event.text for event in events)
    whole = {path.name: path.read_bytes() for path in Path("w.frames").glob("0*.png")}
    assert {path.name: path.read_bytes() for path in Path("killed.frames").glob("0*.png")} == whole
    assert {name: whole[name] for name in left} == left
    assert Path("killed.gif").read_bytes() == Path("w.gif").read_bytes()
