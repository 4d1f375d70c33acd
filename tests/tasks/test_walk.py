"""Walks: the ends are pictures of `create`, what is between is on the way, and a killed walk goes on."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture, Preview, Progress
from lienzo.imaging.reading import load_picture
from lienzo.nn.noise import PictureNoise, WalkNoise, slerp
from lienzo.tasks.create import Create
from lienzo.tasks.create import run as run_create
from lienzo.tasks.walk import Walk, order, places, position, run

FAST: dict[str, Any] = {
    "prompts": ("a cow", "a red castle, line icon"), "seed": (3, 9), "frames": 4, "size": 16, "steps": 2,
    "out": Path("way"), "upscaler": "none",
}  # fmt: skip


def walk(**options: Any) -> list[Event]:
    return list(run(Walk.make(**{**FAST, **options})))


def frames(folder: str = "way") -> list[np.ndarray]:
    return [load_picture(path) for path in sorted(Path(folder).glob("*.png"))]


def test_the_ends_are_pictures_of_create() -> None:
    events = walk()
    walked = frames()
    for frame, prompt, seed in ((0, "a cow", 3), (3, "a red castle, line icon", 9)):
        given: dict[str, Any] = {"size": 16, "steps": 2, "upscaler": "none", "compose": False}
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
