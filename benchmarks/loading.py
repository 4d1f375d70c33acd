"""Images a second of `open_data` against `torch.utils.data.DataLoader` over a folder of pictures.

The pictures are those of a built corpus, enlarged and saved as JPEG and as PNG, a class folder a style. The peer is
what an ImageFolder does: PIL opens a picture, makes it RGB, scales its shorter side (bilinear), crops the centre, and
the loader stacks uint8 tensors in shuffled batches, with 0 and with 2 workers. Ours is timed twice: the first epoch,
which decodes everything into an empty cache and then reads it, and a later one, in a data set opened anew. Both give
(B, 3, S, S) uint8 tensors in a shuffled order; files are in the system's cache. Rounds go in turns; medians count.

The promise, over the better of the two peers: at least twice as many images a second from JPEG in the first epoch,
and in later epochs from either. Exit code 1 when it is broken. Two processors take about 4 minutes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from lienzo.data.corpus import load_corpus
from lienzo.data.opening import open_data
from lienzo.data.order import rows_at

PROMISED_RATIO = 2.0
BATCH = 64


class ImageFolder(Dataset):
    """Pictures in class folders, decoded as torchvision's data set of that name does."""

    def __init__(self, folder: Path, size: int):
        self.classes = sorted(path.name for path in folder.iterdir())
        self.paths = [(path, k) for k, name in enumerate(self.classes) for path in sorted((folder / name).iterdir())]
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.paths[index]
        with path.open("rb") as file:
            image = Image.open(file).convert("RGB")
        scale = self.size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), label


def make_pictures(corpus: Path, folder: Path, count: int, side: int, kind: str) -> None:
    """Pictures of the corpus as `side` px files in folders by style."""
    data = load_corpus(corpus, 256)
    for row in np.random.default_rng(0).permutation(len(data))[:count]:
        image = Image.fromarray(data.images[row]).resize((side, side), Image.Resampling.BICUBIC)
        record = data.records[row]
        (folder / record.style).mkdir(parents=True, exist_ok=True)
        path = folder / record.style / f"{record.key}.{'jpg' if kind == 'JPEG' else 'png'}"
        image.save(path, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 6}))


def peer(folder: Path, size: int, workers: int) -> Iterator[torch.Tensor]:
    """One epoch of the peer."""
    loader = DataLoader(ImageFolder(folder, size), BATCH, shuffle=True, num_workers=workers)
    yield from (images for images, _ in loader)


def ours(folder: Path, size: int, cache: Path, *, anew: bool) -> Iterator[torch.Tensor]:
    """One epoch of ours, from opening the data set on."""
    if anew:
        shutil.rmtree(cache, ignore_errors=True)
    data = open_data(str(folder), size, cache=cache)
    for start in range(0, len(data), BATCH):
        rows = rows_at(len(data), start, min(BATCH, len(data) - start), seed=0)
        yield torch.from_numpy(data.images[rows]).permute(0, 3, 1, 2).contiguous()


def measured(epoch: Iterator[torch.Tensor], count: int) -> tuple[float, float]:
    """Wall seconds and processor seconds of one epoch, which must see all pictures."""
    used, began = processor_seconds(), time.perf_counter()
    seen = sum(len(images) for images in epoch)
    took = time.perf_counter() - began
    if seen != count:
        sys.exit(f"An epoch saw {seen} of {count} pictures.")
    return took, processor_seconds() - used


def processor_seconds() -> float:
    """Of this process and of its workers that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def compare(kind: str, folder: Path, given: argparse.Namespace) -> bool:
    """Print the rows of one kind of file; whether the promise is kept."""
    cache = folder.parent / f"cache-{kind}"
    epochs: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
        "DataLoader, 0 workers": lambda: peer(folder, given.size, 0),
        "DataLoader, 2 workers": lambda: peer(folder, given.size, 2),
        "ours, first epoch": lambda: ours(folder, given.size, cache, anew=True),
        "ours, later epochs": lambda: ours(folder, given.size, cache, anew=False),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in epochs}
    for _ in range(given.rounds):
        for name, epoch in epochs.items():
            times[name].append(measured(epoch(), given.pictures))
    speed = {name: given.pictures / median(wall for wall, _ in rows) for name, rows in times.items()}
    best = max(rate for name, rate in speed.items() if name.startswith("DataLoader"))
    for name, rows in times.items():
        each = 1e3 * median(used for _, used in rows) / given.pictures
        print(f"{kind:5} {name:24}{speed[name]:12.0f}{each:18.2f}{speed[name] / best:10.2f}")
    needed = ["ours, later epochs"] + (["ours, first epoch"] if kind == "JPEG" else [])
    return all(speed[name] >= PROMISED_RATIO * best for name in needed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="what `lienzo data build art` wrote, with 256 px pictures")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512, help="side of the files in pixels")
    parser.add_argument("--size", type=int, default=256, help="side of the training pictures in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.pictures} pictures of {given.side} px to {given.size} px, {os.cpu_count()} processors")
    print(f"{'':30}{'images/s':>12}{'processor ms each':>18}{'ratio':>10}")
    kept = []
    with tempfile.TemporaryDirectory() as work:
        for kind in ("JPEG", "PNG"):
            folder = Path(work) / kind
            make_pictures(given.corpus, folder, given.pictures, given.side, kind)
            kept.append(compare(kind, folder, given))
    print("The promise is kept." if all(kept) else "The promise is BROKEN.")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
