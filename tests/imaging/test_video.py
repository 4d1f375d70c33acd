"""Videos: whole or not at all, in the order, size and pace asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from lienzo.core.errors import BadInput
from lienzo.imaging import video
from lienzo.imaging.video import check_video, write_video

LEVELS = (20, 90, 160, 230)


def frames(height: int = 32, width: int = 48) -> Iterator[np.ndarray]:
    """Flat pictures, each of another grey with a red left half."""
    for level in LEVELS:
        frame = np.full((height, width, 3), level, np.uint8)
        frame[:, : width // 2] = (level, 0, 0)
        yield frame


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"), [("a.gif", "GIF", 1), ("a.webp", "WEBP", 8), ("a.apng", "PNG", 0)]
)
@pytest.mark.parametrize("loop", [True, False])
def test_animations(tmp_path: Path, name: str, kind: str, tolerance: int, loop: bool) -> None:
    assert write_video(tmp_path / name, frames(), 12.5, loop=loop) == 4
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size, image.n_frames) == (kind, (48, 32), 4)
        assert image.info.get("loop", 1) == int(not loop)
        for picture, wanted in zip(ImageSequence.Iterator(image), frames(), strict=True):
            seen = np.asarray(picture.convert("RGB")).astype(int)
            assert np.abs(seen - wanted)[:, [4, 20, 28, 44]].max() <= tolerance
            assert picture.info["duration"] == 80
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 49), (1, 1), (17, 64)])
def test_mp4(tmp_path: Path, height: int, width: int) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    assert write_video(path, frames(height, width), 24) == 4
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert stream.codec_context.name in ("h264", "mpeg4")
    assert stream.average_rate == 24
    assert len(decoded) == 4
    assert decoded[0].shape == (height + height % 2, width + width % 2, 3)
    if height > 16:
        assert [abs(int(frame[5, -5].mean()) - level) < 12 for frame, level in zip(decoded, LEVELS, strict=True)]
        assert all(abs(int(frame[5, 5, 0]) - level) < 25 for frame, level in zip(decoded, LEVELS, strict=True))
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for index, frame in enumerate(frames()):
            alive.append(index)
            yield frame

    with pytest.raises(RuntimeError, match="enough"):
        write_video(tmp_path / "a.gif", (stop(frame, i) for i, frame in enumerate(counted())), 10)
    assert alive == [0, 1, 2]
    assert os.listdir(tmp_path) == []


def stop(frame: np.ndarray, index: int) -> np.ndarray:
    if index == 2:
        raise RuntimeError("enough")
    return frame


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ".mp4"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    bad = [next(frames()), np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(BadInput, match=r"Picture 2 of the video has 8 x 8 pixels and the first 48 x 32"):
        write_video(path, bad, 10)
    with pytest.raises(BadInput, match="at least one picture"):
        write_video(path, [], 10)
    with pytest.raises(BadInput, match="exists already"):
        write_video(path, frames(), 10, exist_ok=False)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"), (np.zeros((4, 4, 4), np.uint8), "(4, 4, 4)"),
        (np.zeros((4, 4), np.uint8), "(4, 4)"), (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
    ],
)  # fmt: skip
def test_what_is_no_picture(tmp_path: Path, frame: np.ndarray, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        write_video(tmp_path / "a.gif", [frame], 10)
    assert said in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "fps", "said"),
    [
        ("a.avi", 10, "ends in .mp4, .gif, .webp, .apng"), ("a", 10, "ends in"), ("a.gif", 60, "0.1 to 50 do"),
        ("a.mp4", 0, "0 pictures a second"), ("a.webp", float("nan"), "do not fit"),
    ],
)  # fmt: skip
def test_names_and_paces_are_checked_first(tmp_path: Path, name: str, fps: float, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        write_video(tmp_path / name, frames(), fps)
    assert said in str(caught.value)


def test_mp4_without_pyav_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"lienzo\[video\]"):
        check_video("a.mp4")
    check_video("a.gif")
