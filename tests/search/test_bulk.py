"""Embedding on a local Ray cluster: every readable picture once, broken ones named, nothing half-written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lienzo.core.errors import BadInput
from lienzo.core.events import Note, Progress
from lienzo.search.bulk import embed_folder_on_ray
from lienzo.search.exchange import open_layout


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    yield
    ray.shutdown()


def opener() -> object:
    """Made inside a function, so that it travels to the workers whole."""

    class MeanColour:
        tag, dim, size = "mean-colour", 3, 8

        def prepare(self, picture: Image.Image) -> np.ndarray:
            return np.asarray(picture.resize((self.size, self.size)))

        def pictures(self, batch: np.ndarray) -> np.ndarray:
            means = batch.reshape(len(batch), -1, 3).mean(1) + 1
            return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

        def texts(self, texts: Sequence[str]) -> np.ndarray:
            raise NotImplementedError

    return lambda name: MeanColour()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    (tmp_path / "in").mkdir()
    for i in range(50):
        Image.new("RGB", (20 + i, 30), (i * 5, 255 - i * 5, 40)).save(tmp_path / "in" / f"{i:02d}.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    return sorted((tmp_path / "in").iterdir())


def test_embeds_every_picture_once(ray: None, tmp_path: Path, pictures: list[Path]) -> None:
    events = list(embed_folder_on_ray(pictures, "any", tmp_path / "out", workers=2, batch=8, opener=opener()))  # type: ignore[arg-type]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "broken.png" in notes[0]
    assert notes[-1] == "1 of 51 files could not be read and are left out."
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].done == 51
    layout = open_layout(tmp_path / "out")
    assert layout.facts == {"tag": "mean-colour", "dim": 3, "clip": "any"}
    found = {path: vector for part in layout.batches() for path, vector in zip(part.paths, part.vectors)}
    assert sorted(found) == [str(path) for path in pictures if path.name != "broken.png"]
    assert layout.count == 50
    for i in (0, 49):
        colour = np.array([i * 5, 255 - i * 5, 40]) + 1
        assert np.allclose(found[str(tmp_path / "in" / f"{i:02d}.png")], colour / np.linalg.norm(colour), atol=2e-3)


def test_a_model_that_cannot_be_opened_leaves_nothing(ray: None, tmp_path: Path, pictures: list[Path]) -> None:
    def fails(name: str) -> object:
        raise ValueError(name)

    with pytest.raises(BadInput, match=r"^Embedding on the cluster failed: [^\n]*no-such-clip[^\n]*\.$"):
        list(embed_folder_on_ray(pictures[:2], "no-such-clip", tmp_path / "out", opener=fails))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no pictures"):
        next(embed_folder_on_ray([], "any", tmp_path / "out"))
