"""Videos of `paint`: frames under a moving camera, and none of them lost when the process is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import kill_once_there, start, status
from PIL import Image

from lienzo.cli.main import main
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Preview, Progress
from lienzo.imaging.reading import load_picture
from lienzo.tasks.paint import Paint, run

FAST: dict[str, Any] = {
    "prompt": "a red fox", "seed": 7, "size": 16, "iterations": 2, "frame_iterations": 1, "cuts": 1, "canvas": "pixels",
    "frames": 4, "zoom": "0:(1), 3:(1.3)", "rotate": "2", "out": Path("fox.gif"), "judge": "none",
}  # fmt: skip


def paint(**options: Any) -> list[Event]:
    return list(run(Paint.make(**{**FAST, **options})))


def painted(events: list[Event]) -> list[int]:
    """The frames that were painted, not found."""
    return [event.index for event in events if isinstance(event, Preview)]


def frames(folder: str = "fox.frames") -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(folder).glob("*.png"))]


def test_a_video_is_its_frames() -> None:
    events = paint()
    assert painted(events) == [0, 1, 2, 3]
    assert sorted(os.listdir()) == ["fox.frames", "fox.gif"]
    assert sorted(os.listdir("fox.frames")) == ["00000.png", "00001.png", "00002.png", "00003.png", "painting.json"]
    with Image.open("fox.gif") as video:
        assert (video.n_frames, video.size) == (4, (16, 16))
    progress = [event.done for event in events if isinstance(event, Progress) and event.stage == "video"]
    assert progress == [1, 2, 3, 4]


def test_the_camera_moves() -> None:
    paint(lr=1e-6, shift_x="4", zoom="1", rotate="0", frames=2)
    first, second = (load_picture(f"fox.frames/0000{i}.png").astype(int) for i in range(2))
    assert np.abs(second[:, 4:] - first[:, :-4]).mean() < 2
    assert np.abs(second - first).mean() > 5


def test_a_cut_video_goes_on_to_the_same_end() -> None:
    paint()
    whole = frames()
    for name in ("00002.png", "00003.png"):
        Path("fox.frames", name).unlink()
    Path("fox.gif").unlink()
    assert painted(paint()) == [2, 3]
    assert frames() == whole
    Path("fox.frames/00001.png").write_bytes(whole[1][:50])  # cut off, as no write of ours leaves it
    assert painted(paint()) == [1, 2, 3]
    assert frames() == whole


def test_more_frames_another_pace_and_format_take_the_frames_that_are_there() -> None:
    paint(frames=2)
    assert painted(paint(frames=4)) == [2, 3]
    whole = frames()
    assert painted(paint(fps=20)) == []
    assert painted(paint(out=Path("fox.webp"))) == []
    assert painted(paint(seed=None)) == []  # the same command without a seed goes on with the one it drew
    assert frames() == whole
    with Image.open("fox.webp") as video:
        assert video.n_frames == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "a cat"}, "another --prompt"), ({"seed": 8}, "another --seed"), ({"zoom": "1"}, "another --zoom"),
        ({"frame_iterations": 2}, "another --frame-iterations"), ({"prompt": "a ^ b"}, "another --prompt"),
    ],
)  # fmt: skip
def test_frames_of_another_video_are_spared(changes: dict[str, Any], said: str) -> None:
    paint(frames=2)
    kept = frames()
    with pytest.raises(BadInput) as caught:
        paint(frames=2, **changes)
    assert said in str(caught.value)
    assert frames() == kept
    assert painted(paint(frames=2, restart=True, **changes)) == [0, 1]
    assert frames() != kept


def test_other_pictures_are_spared() -> None:
    Path("fox.frames").mkdir()
    Path("fox.frames/00000.png").write_bytes(b"mine")
    with pytest.raises(BadInput, match="holds other pictures"):
        paint()
    assert Path("fox.frames/00000.png").read_bytes() == b"mine"


def test_a_story_has_its_frames() -> None:
    paint(prompt="red ^ blue", frames=4)
    story = frames()
    paint(prompt="red", frames=4, out=Path("red.gif"))
    red = frames("red.frames")
    assert story[:2] == red[:2]
    assert story[2] != red[2]
    with pytest.raises(BadInput, match="another number of --frames"):
        paint(prompt="red ^ blue", frames=6)


def test_a_chapter_of_a_video_begins_on_the_faded_frame_before(monkeypatch: pytest.MonkeyPatch) -> None:
    under: list[torch.Tensor | None] = []

    def found(score: Any, height: int, width: int, *given: Any, **options: Any) -> torch.Tensor:
        under.append(options["under"])
        return torch.zeros(1, 3, height, width)  # black

    monkeypatch.setattr("lienzo.tasks.painting.found_shapes", found)
    events = paint(prompt="red ^ blue", iterations=5, lr=1e-6)
    assert under[0] is None
    assert [float(frame.mean()) for frame in under[1:]] == pytest.approx([0.5], abs=0.02)
    assert max(load_picture(f"fox.frames/0000{frame}.png").max() for frame in range(4)) < 10
    assert painted(events) == [0, 1, 2, 3]


def test_an_mp4_plays() -> None:
    av = pytest.importorskip("av")
    paint(out=Path("fox.mp4"), frames=3)
    with av.open("fox.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_a_killed_video_is_the_same_as_one_that_was_not() -> None:
    """SIGKILL in the middle, then the same command again."""
    command = [
        "paint", "a red fox", "--seed", "7", "--size", "16", "--iterations", "2",
        "--frame-iterations", "8", "--cuts", "1", "--canvas", "pixels", "--frames", "12", "--rotate", "3",
        "--judge", "none", "--quiet", "--out",
    ]  # fmt: skip
    process = start(main, [*command, "killed.gif"])
    kill_once_there(process, Path("killed.frames/00002.png"))
    left = len(frames("killed.frames"))
    assert 3 <= left < 12
    assert not Path("killed.gif").exists()
    assert all(load_picture(path).shape == (16, 16, 3) for path in Path("killed.frames").glob("0*.png"))
    assert status(start(main, [*command, "killed.gif"])) == 0
    events = list(run(Paint.make(**{**FAST, "frame_iterations": 8, "frames": 12, "zoom": "1", "rotate": "3"})))
    assert not any(isinstance(event, Note) and "already" in event.text for event in events)
    assert frames("killed.frames") == frames()
    assert Path("killed.gif").read_bytes() == Path("fox.gif").read_bytes()
