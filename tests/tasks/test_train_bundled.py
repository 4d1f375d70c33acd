"""Every stage of `lienzo train bundled` but the first runs on a small drawn corpus and leaves a model that loads;
within a budget, killed and resumed, and where only torch and a few packages are installed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lienzo.clip.sentence import SentenceEncoder
from lienzo.core.errors import BadInput
from lienzo.core.events import Checkpoint, Event, Metric, Note, Progress, Table
from lienzo.data.records import Record
from lienzo.data.shards import write_shard
from lienzo.diffusion import adm_recipe
from lienzo.nn.efficientnet_lite0 import EfficientNetLite0
from lienzo.tasks import bundled_budget, bundled_course, bundled_stages
from lienzo.tasks.bundled_budget import SHARES, Ledger, fit_in, scaled
from lienzo.tasks.bundled_stages import Workshop
from lienzo.tasks.train_bundled import STAGES, TrainBundled, run
from lienzo.training.plan import Training
from lienzo.training.schedule import rate_at
from lienzo.weights.models import Card, load_model, read_card, save_model

SHAPES = ("disc", "square", "ring", "bar", "cross", "roof")
SPLITS = ("train", "train", "train", "train", "val", "test")


def draw(shape: str, colour: tuple[int, int, int], size: int) -> bytes:
    """A simple shape on white as PNG."""
    image = Image.new("RGB", (96, 96), "white")
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        pen.ellipse((8, 8, 88, 88), fill=colour)
    elif shape == "square":
        pen.rectangle((12, 12, 84, 84), fill=colour)
    elif shape == "ring":
        pen.ellipse((8, 8, 88, 88), outline=colour, width=16)
    elif shape == "bar":
        pen.rectangle((8, 36, 88, 60), fill=colour)
    elif shape == "cross":
        pen.line((10, 10, 86, 86), fill=colour, width=16)
        pen.line((86, 10, 10, 86), fill=colour, width=16)
    else:
        pen.polygon((48, 8, 88, 88, 8, 88), fill=colour)
    out = io.BytesIO()
    image.resize((size, size), Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shapes in two styles, in the layout of the art corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    for size in (64, 256):
        items: list[tuple[str, bytes]] = []
        for source, style, colour in (("noto", "soft shaded", (200, 40, 30)), ("twemoji", "simple", (30, 80, 200))):
            for shape, split in zip(SHAPES, SPLITS, strict=True):
                record = Record(
                    key=f"{source}_{shape}", concept=shape, name=shape, captions={"en": [shape], "es": [f"{shape}o"]},
                    style=style, source=source, licence="MIT", permissive=True, author="nobody", split=split,
                    withheld_pair=source == "twemoji" and shape == "bar",
                )  # fmt: skip
                items.append((f"{record.key}.json", json.dumps(record.to_json()).encode()))
                items.append((f"{record.key}.png", draw(shape, colour, size)))
        write_shard(folder / "shards" / str(size) / "all-00000.tar", items)
    (folder / "manifest.json").write_text(json.dumps({"build": "test"}))
    return folder


SMALL = """
from dataclasses import replace
from lienzo.tasks import bundled_stages as b
b.CODE_LENGTH = 8
b.ADM_CONFIG.update(channel_mult=[1, 1], attention_resolutions=[8])
b.PAINTER_CONFIG.update(width=32, hidden=32, blocks=1)
b.SCENES = 20
b.JUDGE_CONFIG.update(tower="basic", size=32, widths=[8, 8], depth=1)
b.GUIDE_CONFIG.update(tower="basic", size=32, widths=[8, 8], depth=1)
from lienzo.diffusion import adm_recipe
adm_recipe.SAMPLE_STEPS = 2
for name in b.STAGES:
    b.STAGES[name] = replace(b.STAGES[name], batches=(4, 4))
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a sentence encoder, which the other stages need."""
    folder = tmp_path / "models"
    folder.mkdir()
    encoder = SentenceEncoder(buckets=64, width=32)
    card = Card(title="test", licence="MIT")
    save_model(folder / "sentence.safetensors", "sentence", encoder.config, encoder.state_dict(), card)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve pictures have no 512 components; the stages read the length and the batches here."""
    monkeypatch.setattr(bundled_stages, "CODE_LENGTH", 8)
    monkeypatch.setattr(adm_recipe, "SAMPLE_STEPS", 2)
    monkeypatch.setattr(bundled_stages, "SCENES", 20)
    small = {"tower": "basic", "size": 32, "widths": [8, 8], "depth": 1}
    for name, values in (
        ("ADM", {"channel_mult": [1, 1], "attention_resolutions": [8]}),
        ("PAINTER", {"width": 32, "hidden": 32, "blocks": 1}),
        ("JUDGE", small),
        ("GUIDE", small),
    ):
        monkeypatch.setattr(bundled_stages, f"{name}_CONFIG", {**getattr(bundled_stages, f"{name}_CONFIG"), **values})
    for name, stage in bundled_stages.STAGES.items():
        monkeypatch.setitem(bundled_stages.STAGES, name, replace(stage, batches=(4, 4)))


NAMES = ("judge", "guide", "code", "painter", "refiner", "upscaler", "adm-64")


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_the_stages_run_in_turn_and_their_models_load(corpus: Path, models: Path, tmp_path: Path) -> None:
    options = TrainBundled(corpus=corpus, runs=tmp_path / "runs", out=models, images=1)
    events = list(run(options))
    assert [text for text in notes(events) if text.startswith("Stage")] == [f"Stage {name}" for name in STAGES[1:]]
    for name in NAMES:
        load_model(models / f"{name}.safetensors")
        card = read_card(models / f"{name}.safetensors")
        assert card.limits
        assert card.training_data
        assert card.metrics
    assert any(isinstance(event, Metric) and event.name.startswith("velocity[withheld") for event in events)
    assert (tmp_path / "runs" / "refiner" / "samples.png").is_file()
    (table,) = [event for event in events if isinstance(event, Table)]
    assert [row[0] for row in table.rows] == [*STAGES[1:], "all"]
    assert "gain" in table.rows[STAGES[1:].index("upscaler")][3]


def test_clips_start_from_a_backbone(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled_stages, "GUIDE_CONFIG", {"tower": "lite0", "size": 32, "noise_aware": True})
    torch.manual_seed(0)
    network = EfficientNetLite0(classes=2)
    card = Card(title="test", licence="MIT")
    backbone = tmp_path / "lite0.safetensors"
    save_model(backbone, "efficientnet-lite0", network.config, network.state_dict(), card)
    options = TrainBundled(
        corpus=corpus, stage=("guide",), runs=tmp_path / "runs", out=models, images=1, backbone=backbone
    )
    list(run(options))
    made = load_model(models / "guide.safetensors")
    assert made.config["noise_aware"]  # type: ignore[index]
    start, there = network.state_dict()["_conv_head.weight"], made.state_dict()["pool.0.weight"]
    assert torch.allclose(start, there, atol=0.02), "one step does not move it far"
    assert not torch.equal(start.half(), there.half())


def test_a_budget_sets_items_once_and_a_second_command_finds_all_done(
    corpus: Path, models: Path, tmp_path: Path
) -> None:
    options = TrainBundled(
        corpus=corpus, stage=("judge", "code", "painter"), runs=tmp_path / "runs", out=models, minutes=0.1
    )
    first = list(run(options))
    ledger = json.loads((tmp_path / "runs" / "ledger.json").read_text())
    assert all(stage["done"] for stage in ledger["stages"].values())
    assert ledger["seconds"] < 60
    planned = ledger["stages"]["painter"]["plan"]
    assert planned["images"] > 4 * 4, "two seconds of painting are more than four steps"
    assert planned["warmup"] <= planned["images"] / 5
    assert not (tmp_path / "runs" / "painter" / "pace").exists()
    seen = [event.images_seen for event in first if isinstance(event, Checkpoint)]
    assert seen[-1] >= planned["images"]
    content = (models / "painter.safetensors").read_bytes()
    again = list(run(options))
    assert "Finished before: judge, code, painter." in notes(again)
    assert not any(isinstance(event, Progress) for event in again)
    assert (models / "painter.safetensors").read_bytes() == content
    (table,) = [event for event in again if isinstance(event, Table)]
    assert table.rows[2][1] == str(planned["images"])


def test_a_budget_is_kept(corpus: Path, models: Path, tmp_path: Path) -> None:
    stages = ("judge", "painter")
    list(run(TrainBundled(corpus=corpus, stage=("judge", "code"), runs=tmp_path / "warm", out=models, images=1)))
    began = time.monotonic()
    options = TrainBundled(corpus=corpus, stage=stages, runs=tmp_path / "runs", out=models, minutes=0.1)
    list(run(options))
    ledger = json.loads((tmp_path / "runs" / "ledger.json").read_text())
    assert 2.5 < time.monotonic() - began < 30, "six seconds, more or less, on a machine that may be busy"
    assert ledger["stages"]["judge"]["until"] <= ledger["stages"]["painter"]["since"] + 0.1


def test_other_options_are_refused_for_the_same_runs(corpus: Path, models: Path, tmp_path: Path) -> None:
    one = TrainBundled(corpus=corpus, stage=("code",), runs=tmp_path / "runs", out=models, images=1)
    list(run(one))
    with pytest.raises(BadInput, match=r"were begun with images=1, seed=0.*another --runs"):
        list(run(one.model_copy(update={"images": 2, "seed": 5})))


def test_shares_cover_every_stage_and_what_is_left_is_divided(tmp_path: Path) -> None:
    for shares in SHARES.values():
        assert set(shares) == set(STAGES)
    ledger = Ledger(tmp_path, {})
    whole = ledger.slot("painter", ["painter"], 2, "gpu")
    assert 119 < whole <= 120
    waiting = list(STAGES)
    assert sum(ledger.slot(name, waiting, 2, "gpu") for name in waiting) == pytest.approx(120, abs=1)
    ledger.seconds = 500
    assert ledger.slot("adm", ["adm"], 2, "gpu") == 0


def test_a_scaled_plan_keeps_its_shape() -> None:
    plan = bundled_stages.STAGES["painter"].plan
    short = scaled(plan, 65_000, 64)
    assert (short.images, short.warmup, short.ema_half_lives) == (65_000, 1280, (3000,))
    assert rate_at(short.images, short) == 0
    assert max(rate_at(seen, short) for seen in range(0, 65_000, 500)) == plan.learning_rate
    assert scaled(plan, 13_000_000, 64).warmup == 200_000
    assert scaled(plan, 10, 512).warmup == 2


class Broken(Exception):
    """What a compiler may raise."""


def fit_that_cannot_compile(recipe: object, plan: Training, folder: Path) -> Iterator[Event]:
    for done in range(1, 10**6):
        if plan.compile:
            raise Broken("no compiler")
        time.sleep(0.001)
        yield Progress("test", done, plan.images)


def test_where_compiling_fails_the_stage_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled_budget, "fit", fit_that_cannot_compile)

    class Recipe:
        name, batch_size = "test", 1

    events: list[Event] = []

    def drive(plan: Training) -> Iterator[Event]:
        made = yield from fit_in(Recipe(), plan, time.monotonic() + 3, 0, tmp_path)  # type: ignore[arg-type]
        assert not made.compile
        assert 100 < made.images < 3000

    events += drive(Training(compile=True))
    assert "torch.compile failed (Broken)" in notes(events)[0]
    monkeypatch.setattr(bundled_budget, "fit", lambda *_: (event for event in ()))
    with pytest.raises(BadInput, match="Stopped while the pace"):
        list(fit_in(Recipe(), Training(), time.monotonic() + 3, 0, tmp_path))  # type: ignore[arg-type]


def test_a_file_larger_than_the_package_may_hold_is_refused_before_training(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundled_course.check_size("x", torch.nn.Linear(1000, 999, bias=False)) == 2 * 999_000
    monkeypatch.setattr(bundled_course, "LARGEST", 100_000)
    options = TrainBundled(corpus=corpus, stage=("judge",), runs=tmp_path / "runs", out=models, images=1)
    with pytest.raises(BadInput, match=r"judge.safetensors would take 0.9 MB; a bundled file has 0 MB at most"):
        list(run(options))
    assert not (tmp_path / "runs" / "judge").exists()


def test_a_stopped_stage_leaves_no_file_and_later_stages_do_not_run(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(recipe: object, plan: Training, folder: Path) -> Iterator[Event]:
        yield Checkpoint("somewhere", plan.images - 1)
        yield Note("Stopped")

    monkeypatch.setattr(bundled_course, "fit", stopped)
    options = TrainBundled(corpus=corpus, stage=("judge", "guide"), runs=tmp_path / "runs", out=models, images=10)
    events = list(run(options))
    assert notes(events)[-1] == "Stopped"
    assert not (models / "judge.safetensors").exists()
    monkeypatch.undo()


def test_withheld_pairs_are_not_painted(corpus: Path, models: Path, tmp_path: Path) -> None:
    shop = Workshop(TrainBundled(corpus=corpus, runs=tmp_path / "runs", out=models))
    records = shop.prepared.data.records
    learned = [records[i] for i in shop.prepared.rows(bundled_stages.painted, copies=True)]
    assert {record.concept for record in learned} == set(SHAPES)
    assert not any(record.withheld_pair for record in learned)
    measured = shop.prepared.rows(bundled_stages.withheld, copies=False)
    assert [(records[i].source, records[i].concept) for i in measured] == [("twemoji", "bar")]


def test_repainted_copies_say_their_colour_and_everything_is_computed_once(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = TrainBundled(corpus=corpus, runs=tmp_path / "runs", out=models)
    first = Workshop(given).prepared
    colours = first.data.colours
    assert len(first.data.records) > first.plain == 12
    assert not any(colours[: first.plain])
    assert all(colours[first.plain :])
    assert len(set(colours[first.plain :])) > 3
    styled, plain = first.styled, first.unstyled
    assert styled.names_style.any()
    assert not plain.names_style.any()
    again = Workshop(given).prepared
    monkeypatch.setattr(again, "encode", None)  # it would be called if anything were computed again
    assert np.array_equal(again.data.images, first.data.images)
    assert again.data.colours == colours
    assert torch.equal(again.styled.vectors, styled.vectors)
    assert all(map(np.array_equal, again.styled.rows, styled.rows))
    shop = Workshop(given.model_copy(update={"seed": 1}))
    assert shop.prepared.data.colours != colours


def test_each_caption_has_its_own_vector(corpus: Path, models: Path, tmp_path: Path) -> None:
    from lienzo.tasks.training_sets import caption_all

    shop = Workshop(TrainBundled(corpus=corpus, runs=tmp_path / "runs", out=models))
    made = caption_all(shop.prepared.data, styled=False, count=3, seed=0)
    encode = load_model(models / "sentence.safetensors")
    for row in (0, 7):
        vectors = shop.prepared.unstyled.vectors[torch.from_numpy(shop.prepared.unstyled.rows[row])].float()
        with torch.no_grad():
            wanted = encode(list(dict.fromkeys(caption.text for caption in made[row])))
        nearest = (vectors @ wanted.T).argmax(1)
        torch.testing.assert_close(vectors, wanted[nearest], atol=2e-3, rtol=0)
        assert len(set(nearest.tolist())) == len(wanted)


def test_no_stage_mixes_devices(corpus: Path, models: Path, tmp_path: Path) -> None:
    """A step on the meta device refuses tensors of the CPU, as one on a GPU would."""
    given = TrainBundled(corpus=corpus, runs=tmp_path / "runs", out=models, images=1)
    list(run(given))
    shop = Workshop(given)
    for name in STAGES[1:]:
        if name in ("code", "vqgan"):  # no network; one whose quantiser looks up which code is nearest
            continue
        stage = bundled_stages.STAGES[name]
        recipe = stage.recipe(shop, stage)
        batch = recipe.batch(0, torch.Generator().manual_seed(0))
        losses = recipe.step(recipe.build().to("meta").train(), {key: part.to("meta") for key, part in batch.items()})
        torch.stack(list(losses.values())).sum().backward()
        assert {loss.device.type for loss in losses.values()} == {"meta"}


@pytest.mark.parametrize("size", ["laptop", "gpu"])
def test_plans_and_networks_fit_their_machine(corpus: Path, models: Path, tmp_path: Path, size: str) -> None:
    given = TrainBundled.make(corpus=corpus, runs=tmp_path / "runs", out=models, size=size)
    shop = Workshop(given)
    for name, stage in bundled_stages.STAGES.items():
        plan = bundled_course.plan_of(shop, stage)
        assert not plan.compile, "there is no GPU here, whatever the size"
        assert plan.learning_rate <= 3e-3
        clip_here = name in ("judge", "guide") and size == "laptop"  # depthwise filters are slower in bf16 there
        assert plan.precision == ("fp32" if clip_here else "bf16")
    shop.device = torch.device("cuda")
    plan = bundled_course.plan_of(shop, bundled_stages.STAGES["painter"])
    assert plan.compile == (size == "gpu")
    assert plan.ahead >= 2


def command(corpus: Path, models: Path, runs: Path, *options: str, before: str = "") -> list[str]:
    """A Python command that runs `train bundled` small, without the command line's packages."""
    arguments = [str(corpus), "--runs", str(runs), "--out", str(models), "--threads", "1", *options]
    program = f"import sys\n{before}\n{SMALL}\nfrom lienzo.tasks.train_bundled import main\nsys.exit(main({arguments}))"
    return [sys.executable, "-c", program]


BLOCK = "for name in {names}: sys.modules[name] = None"
ABSENT = ("rich", "cyclopts", "platformdirs", "ftfy", "regex", "tokenizers", "resvg_py", "torchvision", "scipy")


def test_the_whole_chain_runs_without_the_packages_of_the_command_line(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIENZO_HOME")
    before = BLOCK.format(names=ABSENT)
    given = command(corpus, models, tmp_path / "runs", "--minutes", "0.02", before=before)
    done = subprocess.run(given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row[0] for row in events[-1]["rows"]] == [*STAGES[1:], "all"]
    for name in NAMES:
        load_model(models / f"{name}.safetensors")


def test_missing_packages_are_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BadInput) as told:
        list(run(TrainBundled(corpus=corpus)))
    assert str(told.value) == "Training needs pillow and accelerate; install with: pip install pillow accelerate"


def test_a_killed_command_goes_on_where_it_was(corpus: Path, models: Path, tmp_path: Path) -> None:
    soon = "from lienzo.tasks import bundled_course\nbundled_course.SAVE_SECONDS = 0.3"
    options = ("--images", "2000", "--stage", "code", "painter")
    given = command(corpus, models, tmp_path / "runs", *options, before=soon)
    child = subprocess.Popen(given, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if "painter/checkpoints" in line:
            child.send_signal(signal.SIGKILL)
            break
    child.wait(60)
    ledger = json.loads((tmp_path / "runs" / "ledger.json").read_text())
    assert ledger["stages"]["code"]["done"]
    assert "done" not in ledger["stages"]["painter"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = [event["text"] for line in done.stdout.splitlines() if (event := json.loads(line))["event"] == "note"]
    assert "Finished before: code." in said
    assert any(text.startswith("Resuming after") for text in said), said
    assert "Stage code" not in said
    load_model(models / "painter.safetensors")


def test_killed_before_the_file_was_written_the_figures_are_measured_again(
    corpus: Path, models: Path, tmp_path: Path
) -> None:
    options = TrainBundled(corpus=corpus, stage=("code", "painter"), runs=tmp_path / "runs", out=models, images=8)
    list(run(options))
    path = models / "painter.safetensors"
    before = read_card(path).metrics
    path.unlink()
    ledger = tmp_path / "runs" / "ledger.json"
    ledger.write_text(json.dumps({**json.loads(ledger.read_text())}))
    events = list(run(options))
    assert "Already trained on 8 items." in notes(events)
    assert [(m.name, m.protocol) for m in read_card(path).metrics] == [(m.name, m.protocol) for m in before]


def test_no_corpus_and_no_teacher_say_so(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="lienzo data build art"):
        list(run(TrainBundled(corpus=tmp_path)))
    with pytest.raises(BadInput, match="--teacher"):
        list(run(TrainBundled(corpus=corpus, stage=("sentence",), runs=tmp_path)))
    with pytest.raises(BadInput, match="not both"):
        list(run(TrainBundled(corpus=corpus, runs=tmp_path, minutes=1, images=1)))
    with pytest.raises(BadInput, match="run stage code first"):
        list(run(TrainBundled(corpus=corpus, stage=("painter",), runs=tmp_path, out=tmp_path / "empty", images=1)))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="without torchrun"):
        list(run(TrainBundled(corpus=corpus, runs=tmp_path, images=1)))
