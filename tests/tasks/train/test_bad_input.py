"""What a stranger gives to `lienzo train`: wrong things get one sentence and leave nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lienzo.cli import main as cli
from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Table
from lienzo.tasks.train.diffusion import TrainDiffusion, run
from lienzo.weights.models import load_model, read_card

SMALL = "--image-size 16 --channel-mult 1 --attention-resolutions 16 --images 8 --batch 4".split()


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in and a home of its own."""
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return draw(tmp_path / "pictures", 8)


def draw(folder: Path, count: int) -> Path:
    """Noise pictures."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def train(capsys: pytest.CaptureFixture[str], *arguments: str, verb: str = "diffusion") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a training."""
    with pytest.raises(SystemExit) as leaving:
        cli.main(["train", verb, *arguments])
    told = capsys.readouterr()
    return int(leaving.value.code or 0), told.out, told.err


def refused(sentence: str, told: tuple[int, str, str]) -> None:
    """The last line is the sentence; no run was begun."""
    code, _, err = told
    assert code == 2
    assert err.splitlines()[-1].startswith("lienzo: ")
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not Path("runs/model").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--lora", "4"], "--lora trains adapters of a model; name it with --from."),
        (["--ema-half-lives", "0"], "each half-life should be at least 1, not 0"),
        (["--ema-half-lives", "500", "-5"], "each half-life should be at least 1, not -5"),
        (["--learning-rate", "inf"], "it should be a finite number, not inf"),
        (["--weight-decay", "inf"], "it should be a finite number, not inf"),
        (["--held", "1"], "it should be less than 1"),
        (["--ahead", "1000000"], "it should be less than or equal to 64"),
        (["--class-cond"], "These pictures have no classes"),
        (["--num-channels", "33"], "make its width a multiple of 32"),
        (["--from", "nowhere.safetensors"], "The model file 'nowhere.safetensors' does not exist."),
        (["--learning-rate", "1e30", "--clip", "1e30", "--warmup", "0", "--images", "40"], "Lower --learning-rate"),
    ],
)
def test_wrong_options(given: list[str], sentence: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fits = [part for i in range(0, len(SMALL), 2) if SMALL[i] not in given for part in SMALL[i : i + 2]]
    refused(sentence, train(capsys, "--data", str(pictures), *fits, *given))


def test_data_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nothing", "words", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "words" / "a.txt").write_text("a fox")
    for i in range(3):
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"\x89PNG nonsense")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04nonsense")
    told = {
        "nothing": "holds no pictures",
        "words": "holds no pictures",
        "broken": "3 of the 3 pictures",
        "cut.zip": "is not a zip archive or is cut off",
        "absent": "There are no data at",
        "words/a.txt": "is not a folder, a .zip or a .tar",
    }
    for name, sentence in told.items():
        refused(sentence, train(capsys, "--data", str(tmp_path / name), *SMALL))


@pytest.mark.parametrize(
    ("verb", "given", "sentence"),
    [
        ("classifier", ["--image-size", "16"], "These pictures have no classes"),
        ("clip", ["--size", "32"], "needs pictures with captions"),
        ("upscaler", ["--size", "16"], "pictures of at least 96 pixels"),
    ],
)
def test_other_recipes(
    verb: str, given: list[str], sentence: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(sentence, train(capsys, "--data", str(pictures), *given, verb=verb))


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_pictures_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int) -> None:
    code, _, err = train(capsys, "--data", str(draw(tmp_path / "few", count)), *SMALL)
    assert code == 0
    assert err.splitlines()[0] == ("1 picture." if count == 1 else "2 pictures.")
    assert load_model("runs/model/model.safetensors")
    (sheet,) = Path("runs/model/samples").iterdir()
    assert Image.open(sheet).width == 512  # four times 16 pixels are a stamp


def test_a_dry_run_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    options = TrainDiffusion.make(data=str(pictures), dry_run=True, **small())
    assert next(event.title for event in run(options) if isinstance(event, Table)) == "Configuration"
    assert list(Path().iterdir()) == []
    assert not (tmp_path / "home").exists()


def small() -> dict[str, Any]:
    return {name.removeprefix("--").replace("-", "_"): value for name, value in zip(SMALL[::2], SMALL[1::2])}


def test_a_finished_run_makes_its_model_again(pictures: Path, tmp_path: Path) -> None:
    """Killed after the last checkpoint and before the model was written; the figures of the run stay in its card."""
    options = TrainDiffusion.make(data=str(pictures), out=tmp_path / "run", held=0.3, **small())
    list(run(options))
    model = tmp_path / "run" / "model.safetensors"
    figures = read_card(model).metrics
    assert figures
    model.unlink()
    notes = [event.text for event in run(options) if isinstance(event, Note)]
    assert notes[-2:] == ["Already trained on 8 items.", f"The model is {model}."]
    assert read_card(model).metrics == figures
    assert "on 8 items" in read_card(model).description


def test_json_is_json_only(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = train(capsys, "--data", str(pictures), *SMALL, "--json")
    assert (code, err) == (0, "")
    assert {json.loads(line)["event"] for line in out.splitlines()} >= {"progress", "checkpoint", "picture", "note"}
    code, out, err = train(capsys, "--data", str(pictures), *SMALL, "--precision", "fp16", "--out", "x", "--json")
    assert (code, err.count("\n")) == (2, 1)
    assert all(json.loads(line) for line in out.splitlines())


def test_a_batch_may_be_larger_than_the_data(pictures: Path, tmp_path: Path) -> None:
    given = small() | {"batch": 32, "held": 0.99, "images": 3}
    list(run(TrainDiffusion.make(data=str(pictures), out=tmp_path / "run", **given)))
    assert load_model(tmp_path / "run" / "model.safetensors")


def test_other_data_are_not_the_same_run(pictures: Path, tmp_path: Path) -> None:
    given = small() | {"out": tmp_path / "run"}
    list(run(TrainDiffusion.make(data=str(pictures), **given)))
    with pytest.raises(BadInput, match="was begun with data="):
        list(run(TrainDiffusion.make(data=str(draw(tmp_path / "others", 5)), **given)))
    with pytest.raises(BadInput, match=r"was begun with config\.num_res_blocks=1, not 2\. Give"):
        list(run(TrainDiffusion.make(data=str(pictures), num_res_blocks=2, **given)))
    with pytest.raises(BadInput, match="was begun with precision=fp32, not bf16"):
        list(run(TrainDiffusion.make(data=str(pictures), precision="bf16", **given)))
