"""A linear autoencoder learns the principal components: the angle between the two planes goes to 0.

Its own axes inside that subspace are arbitrary; turned along the directions in which its codes vary most, they are the
components, up to sign. Two rows of pictures show it: the components above, the autoencoder's below.

    python examples/linear_autoencoder_is_pca.py package [FOLDER]      # the digits of ae_versus_vae.py; 10 seconds
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from lienzo.autoencoders.pca import components, subspace_angles
from lienzo.autoencoders.small_pictures import grid, spread_rows, unit_pictures
from lienzo.autoencoders.vae import Vae
from lienzo.data.opening import open_data
from lienzo.imaging.writing import save_picture

NUMBERS = 6


def learn(x: Tensor, rounds: int) -> Vae:
    """Pictures (N, C, H, W) around 0, all at once, by a method that uses curvature."""
    torch.manual_seed(0)
    model = Vae(input_shape=x.shape[1:], latent=NUMBERS, hidden=(), variational=False, linear_output=True)
    with torch.no_grad():  # both layers of one size, without which the first steps are lost
        model.decoder.layers[0][0].weight.mul_(0.1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe")
    wanted = components(x, NUMBERS).axes

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = (model(x).reconstruction - x).square().flatten(1).sum(1).mean()
        error.backward()
        return error

    for turn in range(rounds):
        error = optimizer.step(loss).item()
        angles = subspace_angles(model.decoder.layers[0][0].weight.detach().T, wanted).rad2deg()
        print(f"{20 * (turn + 1):4d} steps: squared error {error:.3f}, largest angle {angles.max():.3f} degrees")
    return model


def main(digits: str, folder: Path, count: int = 2000, rounds: int = 8) -> float:
    data = open_data(digits, 28)
    x = unit_pictures(data.images, spread_rows(len(data), count), 1)
    x = x - x.mean(0)
    model = learn(x, rounds)

    found = components(x, NUMBERS)
    with torch.no_grad():
        again = components(model(x).reconstruction, NUMBERS)  # the reconstructions span the autoencoder's subspace
    signs = (found.axes * again.axes).sum(1, keepdim=True).sign()
    rows = torch.cat([found.axes, again.axes * signs]).float().unflatten(1, x.shape[1:])
    sheet = grid(0.5 + rows * 4, NUMBERS)
    save_picture(sheet.repeat(4, 0).repeat(4, 1), folder / "linear_is_pca.png", exist_ok=True)
    return subspace_angles(found.axes, again.axes).rad2deg().max().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) < 2:
        sys.exit("Usage: python examples/linear_autoencoder_is_pca.py DIGITS [FOLDER]; see the head of this file.")
    print(f"Largest angle: {main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else '.')):.4f} degrees")
