"""Maps as pictures: beside the original, on one scale, over what the CLIP looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from colour_clip import ColourClip
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Table
from lienzo.imaging.reading import load_picture
from lienzo.tasks.explain import Explain, as_seen, directions, run


@pytest.fixture
def scene() -> Path:
    """Red on the left, blue on the right, twice as wide as high."""
    image = Image.new("RGB", (80, 40), "white")
    image.paste((200, 0, 0), (8, 10, 28, 30))
    image.paste((0, 0, 200), (52, 10, 72, 30))
    image.save("scene.png")
    return Path("scene.png")


@pytest.fixture
def colour_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lienzo.clip.embedder.open_embedder", lambda *given: ColourClip(size=24, shape="letterbox"))


def table(events: list[Event]) -> dict[str, tuple[str, ...]]:
    (found,) = (event for event in events if isinstance(event, Table))
    return {row[0]: row[1:] for row in found.rows}


@pytest.mark.usefixtures("colour_clip")
def test_each_prompt_has_its_side(scene: Path) -> None:
    rows = table(list(run(Explain.make(picture=scene, prompts=("red", "blue")))))
    assert float(rows["red"][1]) > 0.9
    assert float(rows["blue"][1]) < 0.1
    sheet = load_picture("scene-explained.png").astype(int)
    panel = sheet.shape[1] // 3
    warm = sheet[:, :, 0] - sheet[:, :, 2]
    assert warm[:320, panel : panel + panel // 2].mean() > warm[:320, panel + panel // 2 : 2 * panel].mean() + 5
    assert warm[:320, 2 * panel : 2 * panel + panel // 2].mean() < warm[:320, 2 * panel + panel // 2 :].mean() - 5


@pytest.mark.usefixtures("colour_clip")
def test_against_is_no_map(scene: Path) -> None:
    rows = table(list(run(Explain.make(picture=scene, prompts=("red",), against="blue", out=Path("maps.png")))))
    assert list(rows) == ["red"]
    assert float(rows["red"][1]) > 0.9
    assert load_picture("maps.png").shape[1] < 700


def test_gradients_of_a_real_network(scene: Path) -> None:
    events = list(run(Explain.make(picture=scene, prompts=("red", "blue"), method="gradient", clip="judge")))
    assert "(cam;" in events[-1].text  # type: ignore[union-attr]
    assert Path("scene-explained.png").is_file()


def test_directions_tell_prompts_apart() -> None:
    words = np.eye(3, dtype=np.float32)
    assert np.allclose(directions(words)[0], [1, -0.5, -0.5])
    assert np.array_equal(directions(words[:1]), words[:1])


def test_maps_lie_over_what_is_seen(scene: Path) -> None:
    picture = Image.open(scene)
    middle = as_seen(ColourClip(shape="crop"), picture)
    assert np.array_equal(middle, np.array(picture)[:, 20:60])
    whole = as_seen(ColourClip(shape="letterbox"), picture)
    assert whole.shape == (80, 80, 3)
    assert np.array_equal(whole[20:60], np.array(picture))
    assert np.array_equal(as_seen(ColourClip(shape="squash"), picture), np.array(picture))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prompts": ()}, "Say what to look for"),
        ({"prompts": ("a", " ")}, "Say what to look for"),
        ({"prompts": ("a", "a ")}, "there twice"),
        ({"prompts": tuple(map(str, range(13)))}, "13 prompts are too many"),
        ({"against": "red"}, "--against needs words"),
        ({"out": Path("a.txt")}, "for --out ends in"),
        ({"out": Path("no/a.png")}, "cannot be written: its folder does not exist"),
        ({"out": Path("scene.png")}, "is one of the pictures"),
        ({"picture": Path("none.png")}, "does not exist"),
    ],
)
@pytest.mark.usefixtures("colour_clip", "scene")
def test_what_does_not_fit_is_one_sentence(given: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        list(run(Explain.make(**{"picture": Path("scene.png"), "prompts": ("red",)} | given)))
