"""Every stage of `lienzo train bundled` but the first runs on a small drawn corpus and leaves a model that loads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lienzo.clip.sentence import SentenceEncoder
from lienzo.core.errors import BadInput
from lienzo.core.events import Metric, Note
from lienzo.data.records import Record
from lienzo.data.shards import write_shard
from lienzo.tasks import bundled_stages
from lienzo.tasks.train_bundled import TrainBundled, run
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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sentence encoder, which the other stages need."""
    folder = tmp_path_factory.mktemp("models")
    encoder = SentenceEncoder(buckets=64, width=32)
    card = Card(title="test", licence="MIT")
    save_model(folder / "sentence.safetensors", "sentence", encoder.config, encoder.state_dict(), card)
    return folder


@pytest.fixture(autouse=True)
def short_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve pictures have no 512 components; the stages read the length here."""
    monkeypatch.setattr(bundled_stages, "CODE_LENGTH", 8)
    monkeypatch.setitem(bundled_stages.ADM_CONFIG, "channel_mult", [1, 1])
    monkeypatch.setitem(bundled_stages.ADM_CONFIG, "attention_resolutions", [2])


def test_the_stages_run_in_turn_and_their_models_load(corpus: Path, models: Path, tmp_path: Path) -> None:
    stages = ("judge", "painter", "refiner", "upscaler", "adm")
    options = TrainBundled(corpus=corpus, stage=stages, runs=tmp_path, out=models, images=1)
    events = list(run(options))
    assert [event.text for event in events if isinstance(event, Note) and event.text.startswith("Stage")] == [
        f"Stage {name}" for name in stages
    ]
    for name in ("judge", "painter", "refiner", "upscaler", "adm-64"):
        load_model(models / f"{name}.safetensors")
        card = read_card(models / f"{name}.safetensors")
        assert card.limits
        assert card.training_data
    assert any(isinstance(event, Metric) and event.name.startswith("velocity[withheld") for event in events)


def test_withheld_pairs_are_not_painted(corpus: Path, models: Path, tmp_path: Path) -> None:
    options = TrainBundled(corpus=corpus, runs=tmp_path, out=models)
    _, data, _, _, _ = bundled_stages.painter_data(options)
    assert {record.concept for record in data.records} == set(SHAPES)
    assert not any(record.withheld_pair for record in data.records)


def test_repainted_copies_say_their_colour(corpus: Path, models: Path, tmp_path: Path) -> None:
    options = TrainBundled(corpus=corpus, runs=tmp_path, out=models)
    _, data, _, _, _ = bundled_stages.painter_data(options)
    assert any(data.colours)
    assert len(np.unique([str(colour) for colour in data.colours])) > 3


def test_no_corpus_and_no_teacher_say_so(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="lienzo data build art"):
        list(run(TrainBundled(corpus=tmp_path)))
    with pytest.raises(BadInput, match="--teacher"):
        list(run(TrainBundled(corpus=corpus, stage=("sentence",), runs=tmp_path)))
