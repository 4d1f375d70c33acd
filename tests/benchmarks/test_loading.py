"""The loading benchmark compares like with like."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PATH = Path(__file__).parents[2] / "benchmarks" / "loading.py"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_both_give_the_same_pictures(tmp_path: Path, kind: str) -> None:
    spec = importlib.util.spec_from_file_location("loading", PATH)
    assert spec is not None
    assert spec.loader is not None
    loading = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loading)
    smooth = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 3), np.uint8)
    for number, pixels in enumerate(smooth):
        folder = tmp_path / "data" / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.{kind.lower()}", kind)
    epochs = {
        "peer": loading.peer(tmp_path / "data", 24, 0),
        "first": loading.ours(tmp_path / "data", 24, tmp_path / "cache", anew=True),
        "later": loading.ours(tmp_path / "data", 24, tmp_path / "cache", anew=False),
    }
    shown = {}
    for name, epoch in epochs.items():
        (batch,) = epoch
        assert batch.shape == (9, 3, 24, 24)
        order = batch.float().mean((1, 2, 3)).argsort()
        shown[name] = batch[order].numpy().astype(float)
    assert np.array_equal(shown["first"], shown["later"])
    assert np.abs(shown["first"] - shown["peer"]).mean() < 3
