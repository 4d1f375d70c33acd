"""Evaluation of folders and of a model: figures with protocols, refusals, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note, Table
from lienzo.tasks.evaluate import Evaluate, run


def draw(folder: Path, count: int, seed: int, *, captions: bool = False) -> Path:
    """Discs and squares in random colours."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = Image.new("RGB", (40 + i % 3 * 8, 48), "white")
        pen = ImageDraw.Draw(image)
        shape = (pen.ellipse, pen.rectangle)[i % 2]
        shape((6, 6, *map(int, rng.integers(20, 40, 2))), fill=tuple(map(int, rng.integers(0, 255, 3))))
        image.save(folder / f"{i:03d}.png")
        if captions:
            (folder / f"{i:03d}.txt").write_text(("a red disc", "a blue square")[i % 2])
    return folder


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sides")
    return draw(folder / "real", 24, 0, captions=True), draw(folder / "fake", 20, 1)


def figures(**options: object) -> dict[str, Metric]:
    return {event.name: event for event in run(Evaluate.make(**options)) if isinstance(event, Metric)}


def test_two_folders(sides: tuple[Path, Path], tmp_path: Path) -> None:
    real, fake = sides
    out = tmp_path / "figures.json"
    metrics = ("fid", "kid", "precision_recall", "mind")
    found = figures(real=str(real), fake=str(fake), metrics=metrics, out=out)
    assert {"fid", "kid", "precision", "recall", "density", "coverage", "mind"} <= found.keys()
    assert "net=judge" in found["fid"].protocol
    assert found["fid"].protocol.endswith("n=20,ref=24")
    assert found["fid"].interval is not None
    same = figures(real=str(real), fake=str(real), metrics=metrics)
    assert abs(same["fid"].value) < 1e-6 * found["fid"].value
    assert same["recall"].value == same["coverage"].value == 1
    assert json.loads(out.read_text())["scores"][0]["name"] == "fid"


def test_statistics_stand_for_the_real_side(sides: tuple[Path, Path], tmp_path: Path) -> None:
    real, fake = sides
    kept = tmp_path / "real.npz"
    whole = figures(real=str(real), fake=str(fake), metrics=("fid",), statistics=kept)["fid"].value
    assert abs(figures(real=str(kept), fake=str(fake), metrics=("fid",))["fid"].value / whole - 1) < 1e-6
    with pytest.raises(BadInput, match="kid needs the real pictures; their statistics serve --metrics fid"):
        figures(real=str(kept), fake=str(fake), metrics=("kid",))


def test_pairs_of_equal_names(sides: tuple[Path, Path]) -> None:
    real, _ = sides
    found = figures(real=str(real), fake=str(real), metrics=("psnr", "ssim", "lpips-like"))
    assert found["ssim"].value == pytest.approx(1)
    assert found["lpips_like"].value == pytest.approx(0, abs=1e-6)
    assert found["psnr"].value > 90 or np.isinf(found["psnr"].value)


def test_a_model_draws_what_the_captions_say(sides: tuple[Path, Path], tmp_path: Path) -> None:
    real, _ = sides
    found = figures(
        real=str(real), fake="painter", n=8, keep=tmp_path / "drawn", net="judge-embedding",
        metrics=("fid", "clip_score"), out=tmp_path / "model.json",
    )  # fmt: skip
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 8
    assert found["clip_score"].value > 0
    source = json.loads((tmp_path / "model.json").read_text())["source"]
    assert source["model"] == "painter"
    assert {"sha", "steps", "sampler", "guidance", "seed"} <= source.keys()


def test_unequal_protocols_are_refused(sides: tuple[Path, Path], tmp_path: Path) -> None:
    real, fake = sides
    out = tmp_path / "earlier.json"
    figures(real=str(real), fake=str(fake), metrics=("fid",), out=out)
    events = list(run(Evaluate.make(real=str(real), fake=str(fake), metrics=("fid",), against=out)))
    assert any(isinstance(e, Table) and e.rows[0][3] == "+0" for e in events)
    with pytest.raises(BadInput, match=r"n=10, ref=10, the other with .*n=20, ref=24: they cannot be compared"):
        figures(real=str(real), fake=str(fake), metrics=("fid",), n=10, against=out)
    with pytest.raises(BadInput, match=r"net=guide.*net=judge"):
        figures(real=str(real), fake=str(fake), metrics=("fid",), net="guide", against=out)
    other = draw(tmp_path / "other", 24, 5)
    with pytest.raises(BadInput, match=r"real=[0-9a-f]{8}, the other with real=[0-9a-f]{8}"):
        figures(real=str(other), fake=str(fake), metrics=("fid",), against=out)
    out.write_text("{}")
    with pytest.raises(BadInput, match="is not an evaluation"):
        figures(real=str(real), fake=str(fake), metrics=("fid",), against=out)


def test_broken_pictures_and_small_sets_are_told(sides: tuple[Path, Path], tmp_path: Path) -> None:
    fake = draw(tmp_path / "fake", 6, 2)
    (fake / "broken.png").write_bytes(b"\x89PNG nonsense")
    events = list(run(Evaluate.make(real=str(sides[0]), fake=str(fake), metrics=("fid",))))
    notes = " ".join(event.text for event in events if isinstance(event, Note))
    assert "1 of 7 pictures cannot be read" in notes
    assert "far too high" in notes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"out": Path("no/where.json")}, r"--out 'no/where\.json' cannot be written: its folder does not exist"),
        ({"out": Path("/tmp")}, "--out '/tmp' cannot be written: a folder has this name"),
        ({"statistics": Path("no/where.npz")}, "--statistics .* its folder does not exist"),
        ({"keep": Path(__file__)}, "--keep .* is a file; name a folder"),
        ({"prompts": Path("no.txt")}, r"no file 'no\.txt' with prompts"),
        ({"fake": "some.npz"}, "for the real side only"),
        ({"real": "some.npz", "statistics": Path("other.npz")}, "statistics already"),
        ({"real": "some.npz", "metrics": ("fid", "kid")}, "kid needs the real pictures"),
        ({"n": 4}, "precision_recall needs at least 6 real pictures; there are 4"),
        ({"fake": ""}, "There are no data at ''"),
        ({"metrics": ("fod",)}, "There is no metric 'fod'"),
        ({"net": "nothing"}, "There is no feature net 'nothing'"),
        ({"net": "inception"}, "inception"),
        ({"fake": "no-such-model"}, "no model 'no-such-model'"),
        ({"fake": "upscaler"}, "does not paint"),
        ({"real": "/nowhere"}, "There are no data"),
        ({"metrics": ("inception_score",)}, "needs class scores"),
        ({"metrics": ("clip_score",), "net": "judge-embedding"}, "needs a caption"),
        ({"metrics": ("psnr",), "fake": "painter", "n": 2}, "two folders"),
        ({"metrics": ("bits_per_dim",)}, "bits_per_dim is of"),
        ({"metrics": ("lpips",)}, "lpips needs --weights"),
    ],
)
def test_what_does_not_fit_is_one_sentence(sides: tuple[Path, Path], given: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        figures(**({"real": str(sides[0]), "fake": str(sides[1])} | given))
    assert "\n" not in str(caught.value)


def test_too_few_pictures_are_told_before_a_model_draws(sides: tuple[Path, Path], tmp_path: Path) -> None:
    one = draw(tmp_path / "one", 1, 3)
    with pytest.raises(BadInput, match="fid needs at least 2 fake pictures; there is 1"):
        figures(real=str(sides[0]), fake=str(one))
    with pytest.raises(BadInput, match="fid needs at least 2 real pictures; there is 1"):
        figures(real=str(one), fake="painter", keep=tmp_path / "drawn")
    assert not (tmp_path / "drawn").exists()


def test_a_run_without_a_model_is_no_folder_of_pictures(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(BadInput, match="has not saved a model yet"):
        figures(real=str(sides[0]), fake=str(tmp_path))


def test_broken_pairs_are_left_out_and_equal_ones_are_valid_json(tmp_path: Path) -> None:
    """Pairs need no features, so their pictures are read once; equal pictures have an infinite psnr."""
    real = draw(tmp_path / "real", 3, 0)
    (real / "001.png").write_bytes((real / "001.png").read_bytes()[:60])
    out = tmp_path / "out.json"
    events = list(run(Evaluate.make(real=str(real), fake=str(real), metrics=("psnr",), out=out)))
    notes = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
    assert notes == ["The pair '001.png' was left out: The picture is broken or cut off."]
    (score,) = [event for event in events if isinstance(event, Metric)]
    assert (score.value, score.interval, score.protocol) == (float("inf"), None, "space=rgb,n=2")
    written = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert written["scores"][0]["value"] is None
    again = list(run(Evaluate.make(real=str(real), fake=str(real), metrics=("psnr",), against=out)))
    assert any(isinstance(event, Table) for event in again)


def test_a_note_is_told_once(sides: tuple[Path, Path]) -> None:
    events = list(run(Evaluate.make(real=str(sides[0]), fake=str(sides[1]), metrics=("kid",))))
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes
    assert len(notes) == len(set(notes))


def test_statistics_with_objects_in_them_are_refused(sides: tuple[Path, Path], tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.npz"
    np.savez(hostile, mu=np.array([object()], dtype=object), sigma=np.eye(2))
    with pytest.raises(BadInput, match="does not hold plain numbers"):
        figures(real=str(hostile), fake=str(sides[1]), metrics=("fid",))
