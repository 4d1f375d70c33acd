"""The sides that `clip_speed.py` compares, each run in a process of its own: a folder of pictures becomes vectors.

The model is loaded and one batch embedded before the clock starts, so that only the work itself is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURE = "ViT-B-32-256"  # rclip's own: 256 pixels, 65 tokens, 512 numbers a picture
RCLIP_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
OPEN_CLIP_BATCH = 64

Vectors = dict[str, np.ndarray]
_LIBRARIES: list[Any] = []  # what is defined is forgotten with its library
Side = Callable[[Path, Path, int], tuple[Vectors, float, float]]


class Clock:
    """Wall and processor seconds since it was made; those of ended child processes are counted."""

    def __init__(self) -> None:
        self.began, self.used = time.perf_counter(), self._used()

    @staticmethod
    def _used() -> float:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.began, self._used() - self.used


def lienzo(model: Path, pictures: Path, cores: int) -> tuple[Vectors, float, float]:
    """What `lienzo index` does: walk, read, hash, decode, embed, commit to SQLite."""
    from lienzo.clip.embedder import open_embedder
    from lienzo.search.catalogue import Catalogue
    from lienzo.search.indexing import index_folders

    embedder = open_embedder(str(model / "open_clip_model.safetensors"), towers="image")
    embedder.pictures(np.zeros((8, embedder.size, embedder.size, 3), np.uint8))
    folder = _emptied(model / "lienzo")
    with Catalogue.open(folder, create=True) as catalogue:
        clock = Clock()
        for _ in index_folders(catalogue, embedder, [pictures]):
            pass
        times = clock.read()
        root = catalogue.roots()[0]
        names = {number: os.fsdecode(path) for number, path, *_ in catalogue.places(root.id)}
        parts = list(catalogue.source(embedder.tag).parts())
    return {names[int(n)]: vector for ids, rows in parts for n, vector in zip(ids, rows)}, *times


def rclip(model: Path, pictures: Path, cores: int) -> tuple[Vectors, float, float]:
    """The package's own indexing, with its own batch of 8 and its ONNX session."""
    from rclip.db import DB
    from rclip.main import RClip
    from rclip.model import Model

    os.environ["RCLIP_DATADIR"] = str(model / "rclip")
    network = Model()
    network.compute_preprocessed_image_features([np.zeros((3, 256, 256), np.float32)] * 8, for_indexing=True)
    (model / "rclip" / "db.sqlite3").unlink(missing_ok=True)
    database = DB(model / "rclip" / "db.sqlite3")
    program = RClip(network, database, 8, None)
    clock = Clock()
    program.ensure_index(str(pictures))
    times = clock.read()
    paths, vectors = program._get_features(str(pictures))
    program.close()
    database.close()
    return {os.path.basename(path): vector for path, vector in zip(paths, vectors)}, *times


def open_clip(model: Path, pictures: Path, cores: int) -> tuple[Vectors, float, float]:
    """Its model and its preprocessing as its README uses them, fed by a DataLoader with a worker per core."""
    import torch

    with importable_torchvision():
        import open_clip as package

        network, _, preprocess = package.create_model_and_transforms(
            ARCHITECTURE, pretrained=str(model / "open_clip_model.safetensors")
        )
    network.eval()
    files = sorted(pictures.iterdir())
    workers = cores if cores > 1 else 0

    class Files(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, number: int) -> torch.Tensor:
            from PIL import Image

            with Image.open(files[number]) as picture:
                return preprocess(picture)

    loader = torch.utils.data.DataLoader(Files(), OPEN_CLIP_BATCH, num_workers=workers)
    with torch.no_grad():
        network.encode_image(torch.zeros(8, 3, 256, 256))
        clock = Clock()
        parts = [network.encode_image(batch, normalize=True).numpy() for batch in loader]
        times = clock.read()
    return dict(zip((file.name for file in files), np.concatenate(parts))), *times


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


SIDES: dict[str, Side] = {"lienzo": lienzo, "rclip": rclip, "open_clip": open_clip}


@contextmanager
def importable_torchvision() -> Iterator[None]:
    """PyPI's torchvision for Linux is built for CUDA; beside torch for CPU it lacks operators that CLIP never calls."""
    import torch

    warnings.simplefilter("ignore")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            _LIBRARIES[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield


def export(model: Path, seed: int) -> None:
    """Random weights from a seed, as open_clip's safetensors with its configuration beside, and as ONNX for rclip."""
    import torch
    from safetensors.torch import save_file

    with importable_torchvision():
        import open_clip as package
    torch.manual_seed(seed)
    network = package.create_model(ARCHITECTURE).eval()
    save_file(network.state_dict(), model / "open_clip_model.safetensors")
    settings = {
        "model_cfg": package.get_model_config(ARCHITECTURE),
        "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (model / "open_clip_config.json").write_text(json.dumps(settings))
    target = model / "rclip" / RCLIP_FOLDER
    target.mkdir(parents=True)
    _write_tokenizer(model / "rclip" / "tokenizer")

    class Text(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return network.encode_text(tokens)

    for name, part, example in (
        ("visual", network.visual, torch.zeros(2, 3, 256, 256)),
        ("textual", Text(), package.tokenize(["a cat", "a dog"])),
    ):
        torch.onnx.export(
            part.eval(),
            (example,),
            target / f"{name}.onnx",
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            dynamo=False,
        )


def _write_tokenizer(folder: Path) -> None:
    """CLIP's merges, which open_clip carries, where rclip looks for them."""
    import open_clip as package

    folder.mkdir()
    merges = Path(package.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    (folder / merges.name).write_bytes(merges.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=[*SIDES, "export", "import"])
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="vectors by name, .npz")
    given = parser.parse_args()
    if given.side == "export":
        export(given.model, given.seed)
        return
    if given.side == "import":  # what every program that uses open_clip begins with
        with importable_torchvision():
            import open_clip as _  # noqa: F401
        return
    vectors, wall, processor = SIDES[given.side](given.model, given.pictures, given.cores)
    np.savez(given.out, names=sorted(vectors), vectors=np.stack([vectors[name] for name in sorted(vectors)]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "processor": processor, "peak_mb": peak}))


if __name__ == "__main__":
    main()
