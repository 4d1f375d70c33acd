"""The probe learns, is measured on pictures it has not seen, and is used by classify."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from colour_clip import ColourClip, paint

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Table
from lienzo.imaging.reading import load_picture
from lienzo.tasks.classify import Classify
from lienzo.tasks.classify import run as classify
from lienzo.tasks.probe import Probe, run, withheld

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def colour_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lienzo.clip.embedder.open_embedder", lambda name, *rest: ColourClip(f"tag of {name}"))


def painted(folder: Path, seed: int = 0) -> Path:
    """Classes whose names say nothing: zero-shot cannot know them."""
    for name, colour in (("alpha", "red"), ("beta", "green"), ("gamma", "blue")):
        paint(folder / name, colour, 12, seed=seed, spread=120)
    return folder


def figures(events: list[Event]) -> dict[str, Metric]:
    return {event.name: event for event in events if isinstance(event, Metric)}


def test_it_learns_and_classify_uses_it(tmp_path: Path) -> None:
    data = painted(tmp_path / "set")
    events = list(run(Probe.make(data=str(data), c=10.0, confusion=tmp_path / "c.png")))
    found = figures(events)
    assert found["accuracy"].value == 1
    assert found["accuracy zero-shot"].value == found["accuracy most frequent class"].value == pytest.approx(1 / 3)
    assert found["accuracy"].protocol == "clip=tag of j,C=10,classes=3,train=27,n=9"
    assert found["accuracy zero-shot"].interval[0] >= 0  # type: ignore[index]
    (table,) = (event for event in events if isinstance(event, Table))
    assert table.rows == (("alpha", "3", "1.000", ""), ("beta", "3", "1.000", ""), ("gamma", "3", "1.000", ""))
    assert load_picture(tmp_path / "c.png").ndim == 3
    answers = list(classify(Classify.make(paths=(str(data),), probe=Path("probe.safetensors"))))
    assert figures(answers)["accuracy"].value == 1
    with pytest.raises(BadInput, match="reads vectors of 'tag of judge', and this CLIP is 'tag of guide'"):
        list(classify(Classify.make(paths=(str(data),), probe=Path("probe.safetensors"), clip="guide")))


def test_the_sweep(tmp_path: Path) -> None:
    events = list(run(Probe.make(data=str(painted(tmp_path / "set")), sweep=True)))
    table = next(event for event in events if isinstance(event, Table))
    assert (table.title, len(table.rows)) == ("Cross-validation", 8)


def test_test_data_of_their_own(tmp_path: Path) -> None:
    painted(tmp_path / "set" / "train")
    painted(tmp_path / "set" / "test", seed=1)
    found = figures(list(run(Probe.make(data=str(tmp_path / "set"), c=10.0))))
    assert found["accuracy"].protocol.endswith("train=36,n=36")
    other = painted(tmp_path / "other", seed=2)
    shutil.rmtree(other / "alpha")  # the numbers of the classes differ, their names decide
    found = figures(list(run(Probe.make(data=str(tmp_path / "set" / "train"), test=str(other), c=10.0))))
    assert found["accuracy"].protocol.endswith("train=36,n=24")
    assert found["accuracy"].value == 1
    paint(other / "delta", "grey", 2)
    with pytest.raises(BadInput, match="have a class 'delta'"):
        list(run(Probe.make(data=str(tmp_path / "set" / "train"), test=str(other))))


def test_copies_do_not_count(tmp_path: Path) -> None:
    data, other = painted(tmp_path / "set"), painted(tmp_path / "other", seed=1)
    before = figures(list(run(Probe.make(data=str(data), test=str(other)))))["accuracy"].protocol
    for name in ("alpha", "beta"):
        shutil.copy(data / name / "00.png", other / name / "copy.png")
    events = list(run(Probe.make(data=str(data), test=str(other))))
    assert figures(events)["accuracy"].protocol == before
    assert any(isinstance(event, Note) and "are copies of ones to train on" in event.text for event in events)
    with pytest.raises(BadInput, match="No picture is left to measure on"):
        list(run(Probe.make(data=str(data), test=str(data))))


def test_withheld_pictures_follow_from_their_names() -> None:
    names, target = [f"{i}.png" for i in range(50)], np.repeat([0, 1, 2], [40, 9, 1])
    held = withheld(names, target, 0.25)
    assert [int(held[target == label].sum()) for label in range(3)] == [10, 2, 0]
    order = np.random.default_rng(0).permutation(50)
    shuffled = withheld([names[i] for i in order], target[order], 0.25)
    assert (shuffled == held[order]).all()
    assert withheld(["a", "b"], np.array([0, 0]), 0.01).sum() == withheld(["a", "b"], np.array([0, 0]), 0.99).sum() == 1


def test_broken_pictures_are_left_out(tmp_path: Path) -> None:
    data = painted(tmp_path / "set")
    (data / "beta" / "zz.png").write_bytes(b"no")
    events = list(run(Probe.make(data=str(data))))
    assert any(isinstance(event, Note) and "zz.png" in event.text for event in events)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": "flat"}, "'flat' has no classes"),
        ({"data": "nowhere"}, "no data at 'nowhere'"),
        ({"out": Path("no/p.safetensors")}, "--out .* its folder does not exist"),
        ({"confusion": Path("c.txt")}, "for --confusion ends in"),
        ({"held": 1.0}, "held"),
        ({"c": 0}, "c"),
        ({"templates": "nothing"}, "no templates"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, given: dict, words: str) -> None:
    painted(tmp_path / "set")
    paint(tmp_path / "flat", "red", 2)
    with pytest.raises(BadInput, match=words):
        list(run(Probe.make(**{"data": "set"} | given)))


def test_without_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lienzo.clip.linear_probe.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="needs scikit-learn"):
        list(run(Probe.make(data="set")))


def test_captions_beside_pictures_do_not_hide_the_classes(tmp_path: Path) -> None:
    data = painted(tmp_path / "set")
    for picture in data.rglob("*.png"):
        picture.with_suffix(".txt").write_text("a caption")
    found = figures(list(run(Probe.make(data=str(data), c=10.0))))
    assert found["accuracy"].value == 1
    with pytest.raises(BadInput, match=r"for --out ends in \.safetensors"):
        list(run(Probe.make(data=str(data), out=Path("probe.txt"))))
