from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Progress, Table
from lienzo.data.native import NativePictures, native_pictures
from lienzo.imaging.reading import load_picture
from lienzo.imaging.writing import save_picture
from lienzo.tasks import card_speed, pareto_plot
from lienzo.tasks.card import MakeCard, command_of, run
from lienzo.tasks.card_file import read_card_file
from lienzo.tasks.card_models import card_prompts, look_at
from lienzo.tasks.card_speed import Timing

N = 16
QUICK = {"n": N, "steps": 2, "timings": 2, "batch": 4}


def pictures_in(folder: Path, count: int = 40, captions: bool = False) -> Path:
    """Drawings of two classes that can be told apart, in a folder each, or with captions in place of classes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        name = ("red", "blue")[index % 2]
        picture = rng.integers(0, 90, (16, 16, 3), np.uint8)
        picture[..., 0 if name == "red" else 2] += 150
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_picture(picture, folder / name / f"{index:02d}.png")
        if captions:
            (folder / name / f"{index:02d}.txt").write_text(f"{name} thing {index}")
    return folder


@pytest.fixture(scope="module")
def measured(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A card of two models, and its events."""
    folder = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIENZO_HOME", str(tiny_home))
        real = pictures_in(folder / "real")
        options = MakeCard.make(models=("painter", "adm-64"), real=str(real), out=folder / "out", **QUICK)
        return folder, list(run(options))


def test_every_figure_has_its_protocol_under_one_protocol(measured):
    folder, events = measured
    card = read_card_file(folder / "out" / "card.json")
    painter, adm = card.models
    assert (painter.label, adm.label) == ("painter-2-steps", "adm-64-2-steps")
    names = {"fid", "kid", "cmmd", "precision", "density", "recall", "coverage", "modes_hit", "label_kl", "seconds_1",
             "seconds_16", "evaluations", "parameters", "file_mb"}  # fmt: skip
    assert names <= {figure.name for figure in adm.figures}
    assert {figure.name for figure in painter.figures} - {figure.name for figure in adm.figures} == {"clip_score"}
    for name in ("fid", "modes_hit"):
        assert painter.figure(name).protocol == adm.figure(name).protocol
        assert f"n={N},ref={N}" in adm.figure(name).protocol
        assert f"real={card.real.digest},first_seed=0" in adm.figure(name).protocol
    assert adm.figure("fid").interval is not None
    assert (painter.figure("evaluations").value, adm.figure("evaluations").value) == (4, 2)
    assert (painter.prompts.partition(":")[0], adm.prompts) == ("classes", "none")
    assert len([event for event in events if isinstance(event, Metric)]) == len(painter.figures) + len(adm.figures)


def test_the_models_files_are_all_counted(measured, tiny_home: Path):
    painter = read_card_file(measured[0] / "out" / "card.json").models[0]
    assert set(painter.files) == {f"{name}.safetensors" for name in ("painter", "code", "sentence", "refiner")}
    sizes = [(tiny_home / "models" / name).stat().st_size for name in painter.files]
    assert painter.figure("file_mb").value == pytest.approx(sum(sizes) / 1e6)


def test_pages_samples_and_plot_lie_beside(measured):
    out = measured[0] / "out"
    page = (out / "painter-2-steps.md").read_text()
    assert "# tiny painter" in page
    assert "CC0-1.0" in page
    assert load_picture(out / "painter-2-steps.png").ndim == 3
    comparison = (out / "card.md").read_text()
    assert "| [painter-2-steps](painter-2-steps.md) |" in comparison
    assert "**" in comparison
    assert (out / "pareto.png").exists() == (pareto_plot.why_no_plot() is None)
    assert [event.rows[1][0] for event in measured[1] if isinstance(event, Table)] == ["adm-64-2-steps"]


def test_other_real_pictures_set_the_scale(measured):
    """40 pictures leave 16 others; they are of both classes, and closer than random networks' pictures."""
    card = read_card_file(measured[0] / "out" / "card.json")
    assert card.real.classes == ("blue", "red")
    assert card.real.figure("modes_hit").value == 2
    assert card.real.figure("kid").value < card.models[1].figure("kid").value


def test_the_command_on_the_page_gives_the_same_options(measured):
    from lienzo.cli.flags import build_app, parse_and_run

    words = shlex.split(read_card_file(measured[0] / "out" / "card.json").models[0].command)
    assert words[:3] == ["lienzo", "card", "painter"]
    seen: list[MakeCard] = []
    app = build_app("card", "", MakeCard, lambda options, screen: seen.append(options) or 0)
    parse_and_run(app, words[2:])
    assert seen[0] == MakeCard.make(
        models=("painter",), real=str(measured[0] / "real"), out=measured[0] / "out", **QUICK
    )
    odd = MakeCard.make(models=("a b",), real="x y", bits=True, steps=3)
    assert command_of(odd, "a b") == "lienzo card 'a b' --real 'x y' --steps 3 --bits"


@pytest.fixture
def timed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fresh process: every draw takes a tenth of a second."""

    def time_model(job, label):
        yield Progress("time", 1, 1)
        return Timing({1: [0.1, 0.1], 16: [0.1, 0.1]}, {}, 2.0, 1000)

    monkeypatch.setattr(card_speed, "time_model", time_model)


@pytest.mark.usefixtures("timed_at_once")
def test_an_earlier_card_joins_and_a_new_measure_replaces_the_old(measured, tmp_path: Path):
    earlier = measured[0] / "out" / "card.json"
    options = MakeCard.make(
        models=("adm-64",), real=str(measured[0] / "real"), out=tmp_path / "new", earlier=(earlier,), **QUICK
    )
    list(run(options))
    card = read_card_file(tmp_path / "new" / "card.json")
    assert [entry.label for entry in card.models] == ["painter-2-steps", "adm-64-2-steps"]
    before = read_card_file(earlier).models
    assert card.models[0] == before[0]
    assert card.models[1].figure("seconds_1").value == 0.1 != before[1].figure("seconds_1").value
    for name in ("fid", "kid", "cmmd", "recall", "coverage", "label_kl", "evaluations", "file_mb"):
        assert card.models[1].figure(name) == before[1].figure(name)
    assert (tmp_path / "new" / "painter-2-steps.png").exists()


def test_cards_alone_are_drawn_anew(measured, tmp_path: Path):
    list(run(MakeCard.make(earlier=(measured[0] / "out" / "card.json",), out=tmp_path / "again")))
    for name in ("card.md", "painter-2-steps.md", "painter-2-steps.png"):
        assert (tmp_path / "again" / name).read_bytes() == (measured[0] / "out" / name).read_bytes()


def test_a_card_measured_otherwise_is_refused_before_drawing(measured, tmp_path: Path):
    earlier, real = measured[0] / "out" / "card.json", str(measured[0] / "real")
    for changed, said in (({"n": 10}, "n=10"), ({"seed": 5}, "first_seed=5"), ({"timings": 3}, "median_of=3")):
        given = QUICK | {"models": ("adm-64",), "real": real, "out": tmp_path / "x", "earlier": (earlier,)} | changed
        seen: list[str] = []
        with pytest.raises(BadInput, match=said):
            seen.extend(getattr(event, "stage", "") for event in run(MakeCard.make(**given)))
        assert not any(stage.startswith(("time", "draw")) for stage in seen)


def test_two_cards_of_unequal_protocols_are_refused(measured, tmp_path: Path):
    content = json.loads((measured[0] / "out" / "card.json").read_text().replace(f"n={N},", "n=9,"))
    (tmp_path / "other.json").write_text(json.dumps(content))
    cards = (measured[0] / "out" / "card.json", tmp_path / "other.json")
    with pytest.raises(BadInput, match="do not fit on one card"):
        list(run(MakeCard.make(earlier=cards, out=tmp_path / "x")))
    assert not (tmp_path / "x").exists()


class ClassArtist:
    """A model that knows two words and nothing else."""

    conditional = True

    @staticmethod
    def check(prompt: str) -> None:
        if prompt not in ("red", "blue"):
            raise BadInput(f"knows no '{prompt}'")


def test_a_model_of_classes_draws_the_classes_of_the_captioned_pictures():
    real = NativePictures(
        ("a", "b", "c"), lambda row: np.zeros((8, 8, 3), np.uint8), (("a sun",), ("a sea",), ("a sky",)),
        np.array([0, 1, 1]), ("red", "blue"),
    )  # fmt: skip
    options = MakeCard.make(models=("x",), real="y", n=6)
    prompts, kind = card_prompts(ClassArtist(), options, real)
    assert prompts == ["red", "blue", "blue"] * 2
    assert kind.startswith("classes:")
    strangers = replace(real, label_names=("red", "green"))
    with pytest.raises(BadInput, match="knows no 'green'"):
        card_prompts(ClassArtist(), options, strangers)
    with pytest.raises(BadInput, match="knows no 'a sun'"):
        card_prompts(ClassArtist(), options, replace(real, labels=None))


def test_captions_are_drawn_where_there_are_some(tmp_path: Path):
    real = native_pictures(str(pictures_in(tmp_path / "real", 8, captions=True)))
    options = MakeCard.make(models=("painter",), real="y", n=8, steps=2)
    found = look_at("painter", options, real, torch.device("cpu"))
    assert sorted(found.prompts) == sorted(captions[0] for captions in real.captions)
    assert found.prompt_kind.startswith("captions:")
    assert found.label == "painter-2-steps"


def test_a_run_folder_is_a_model(tiny_home: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    shutil.copy(tiny_home / "models" / "adm-64.safetensors", tmp_path / "mine" / "model.safetensors")
    real = native_pictures(str(pictures_in(tmp_path / "real", 8)))
    options = MakeCard.make(models=("mine",), real="y", n=8)
    found = look_at(str(tmp_path / "mine"), options, real, torch.device("cpu"))
    assert (found.label, found.prompt_kind) == ("mine", "none")


def refused(**given) -> str:
    with pytest.raises(BadInput) as caught:
        list(run(MakeCard.make(**(QUICK | given))))
    return str(caught.value)


def test_what_cannot_be_measured_is_told_in_a_sentence(tmp_path: Path):
    real = str(pictures_in(tmp_path / "real", 12))
    assert refused(real=real).startswith("Name one or more models")
    assert "--real" in refused(models=("painter",))
    assert "mean and covariance" in refused(models=("painter",), real="a.npz")
    assert "does not paint" in refused(models=("guide",), real=real)
    assert refused(models=("painter", "guide"), real=real).startswith("'guide' cannot be measured: ")
    assert "There is no model 'nobody'" in refused(models=("nobody",), real=real)
    few = str(pictures_in(tmp_path / "few", 4))
    assert "6 or more real pictures" in refused(models=("painter",), real=few)
    assert "n" in refused(models=("painter",), real=real, n=5)


def test_a_model_that_reads_needs_words(tmp_path: Path):
    folder = tmp_path / "bare"
    folder.mkdir()
    for index in range(8):
        save_picture(np.full((16, 16, 3), index * 9, np.uint8), folder / f"{index}.png")
    assert "--prompts" in refused(models=("painter",), real=str(folder))


@pytest.mark.usefixtures("timed_at_once")
def test_few_real_pictures_without_classes_are_noted_and_matplotlib_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pareto_plot, "find_spec", lambda name: None)
    folder = tmp_path / "bare"
    folder.mkdir()
    for index in range(8):
        save_picture(np.full((16, 16, 3), index * 9, np.uint8), folder / f"{index}.png")
    options = MakeCard.make(models=("adm-64",), real=str(folder), out=tmp_path / "out", **QUICK)
    notes = " ".join(event.text for event in run(options) if isinstance(event, Note))
    assert "8 real pictures for 16 generated ones" in notes
    assert "no classes" in notes
    assert "pip install 'lienzo[plot]'" in notes
    assert not (tmp_path / "out" / "pareto.png").exists()
    assert read_card_file(tmp_path / "out" / "card.json").models[0].figure("modes_hit") is None
