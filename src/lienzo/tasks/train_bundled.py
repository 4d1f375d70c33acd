"""`lienzo train bundled`: train the models that ship with Lienzo from the art corpus, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note
from lienzo.core.options import Options

Stage = Literal["sentence", "judge", "guide", "painter", "refiner", "upscaler", "adm"]
STAGES: tuple[Stage, ...] = ("sentence", "judge", "guide", "painter", "refiner", "upscaler", "adm")


class TrainBundled(Options):
    """Train the bundled models: sentence encoder, two CLIPs, painter, refiner, upscaler, ADM U-Net.

    Each stage resumes when the same command is given again, and writes one self-describing file with its card.
    """

    corpus: Path = Field(json_schema_extra={"positional": True})
    """Folder of the art corpus (`lienzo data build art`)."""
    stage: tuple[Stage, ...] = STAGES
    """Stages to run; later ones need the files of earlier ones."""
    teacher: Path | None = None
    """Folder with all-MiniLM-L6-v2's model.safetensors and tokenizer.json (stage sentence)."""
    runs: Path = Path("runs/bundled")
    """Folder of checkpoints and logs."""
    out: Path | None = None
    """Folder of the finished model files; default: the package's own."""
    images: int | None = Field(None, ge=1)
    """Training items a stage, in place of its own budget."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; default: torch's."""
    seed: int = Field(0, ge=0)
    """Seed of every stage."""


def run(options: TrainBundled) -> Iterator[Event]:
    """Run the stages in order.

    Yields:
        The events of each stage's training, a Note for each finished file.
    """
    import torch

    from lienzo.tasks import bundled_stages

    if not (options.corpus / "manifest.json").is_file():
        raise BadInput(f"{options.corpus} holds no corpus; build one with: lienzo data build art {options.corpus}")
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.stage:
        yield Note(f"Stage {name}")
        yield from bundled_stages.STAGES[name](options)
