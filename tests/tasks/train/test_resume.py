"""Every recipe: killed with SIGKILL at a random moment and started again by the same command, it ends bit for bit
where an uninterrupted run ends, and leaves a model that loads."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import start, status
from PIL import Image, ImageDraw

from lienzo.autoencoders.kl import AutoencoderKL
from lienzo.autoencoders.stage_recipe import stage_config
from lienzo.cli.main import main
from lienzo.training.checkpoints import load_checkpoint
from lienzo.weights.models import Card, load_model, read_card, save_model

STEPS, BATCH = 14, 4
FLAGS = {
    "diffusion": "--image-size 16 --channel-mult 1,2 --attention-resolutions 8 --class-cond --learn-sigma "
    "--no-predict-v --schedule-sampler loss-second-moment --diffusion-steps 8",
    "classifier": "--image-size 16 --classifier-attention-resolutions 8 --diffusion-steps 8",
    "clip": "--tower vit --size 32 --patch 16 --width 64 --layers 1 --text-width 64 --text-layers 1 --embed-dim 16",
    "upscaler": "--size 96 --crop 8",
    "classes": "--image-size 12 --width 32 --depth 1",
    "autoencoder": "--image-size 16 --factor 4 --channels 4 --codes 16 --perceptual none --adversary-start 20 "
    "--judge-width 4 --judge-layers 1",
    "latent": "--autoencoder STAGE --image-size 16 --width 32 --multiples 1 --condition class --heads 2",
    "painter": "--size 16 --code-length 16 --width 32 --hidden 64 --blocks 1 --copies 0",
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and squares in class folders, each with its caption beside it."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("disc", "square"):
        (folder / name).mkdir()
        for i in range(10):
            image = Image.new("RGB", (96, 96), "white")
            colour, (x, y) = tuple(map(int, rng.integers(0, 200, 3))), map(int, rng.integers(4, 40, 2))
            pen = ImageDraw.Draw(image)
            (pen.ellipse if name == "disc" else pen.rectangle)((x, y, x + 50, y + 50), fill=colour)
            image.save(folder / name / f"{i}.png")
    stage = AutoencoderKL(**stage_config("kl", 4, 4, resolution=16))
    card = Card(title="stage", licence="CC0-1.0")
    save_model(folder.parent / "stage.safetensors", "kl-autoencoder", stage.config, stage.state_dict(), card)
    return folder


def command(verb: str, data: Path, run: Path) -> list[str]:
    common = f"--data {data} --out {run} --images {STEPS * BATCH} --batch {BATCH} --save-seconds 0.0001 --json"
    flags = FLAGS[verb].replace("STAGE", str(data.parent / "stage.safetensors"))
    return ["train", verb, *common.split(), *flags.split()]


def newest(run: Path) -> int:
    names = sorted(path.stem for path in (run / "checkpoints").glob("state_*"))
    return int(names[-1].removeprefix("state_")) if names else 0


@pytest.mark.parametrize("verb", FLAGS)
def test_killed_and_resumed_equals_uninterrupted(verb: str, pictures: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert status(start(main, command(verb, pictures, whole))) == 0
    process = start(main, command(verb, pictures, killed))
    target = random.randint(1, STEPS - 4) * BATCH
    while newest(killed) < target and process.is_alive():
        time.sleep(random.uniform(0, 0.005))
    process.kill()
    assert status(process) == -signal.SIGKILL
    assert target <= newest(killed) < STEPS * BATCH
    assert status(start(main, command(verb, pictures, killed))) == 0
    one, other = (load_checkpoint(run / "checkpoints") for run in (whole, killed))
    assert one is not None
    assert other is not None
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][key], other[0][key]) for key in one[0])
    assert read_card(killed / "model.safetensors").title
    assert load_model(killed / "model.safetensors")
