"""`lienzo latents`: pictures of what an autoencoder learned."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture
from lienzo.core.options import Options
from lienzo.core.text import printable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lienzo.autoencoders.vae import Vae
    from lienzo.data.sets import DataSet

LEAST = 512  # pixels that a sheet of small pictures is enlarged to


class Latents(Options):
    """Draw what an autoencoder of lienzo train vae learned; say one of the five views.

    Pictures that are given are scaled and cropped to the model's size.
    """

    model: str = Field(json_schema_extra={"positional": True})
    """Model: a name, a file or a run's folder."""
    sample: int | None = Field(None, ge=1, le=10_000)
    """View: so many new pictures, from the sampler saved with the model, or from N(0, I)."""
    reconstruct: str | None = None
    """View: pictures of this folder or data, each above its reconstruction."""
    interpolate: tuple[Path, ...] = ()
    """View: the way from one picture file to another, or through several (--interpolate a.png b.png)."""
    traverse: int | None = Field(None, ge=1, le=512)
    """View: so many numbers of the code, those that change the picture most, one row each from -reach to reach."""
    scatter: str | None = None
    """View: the codes of these data as points, coloured by class; more than two numbers by principal components."""
    start: Path | None = None
    """Picture to traverse from; default: the code 0."""
    reach: float = Field(3.0, gt=0, le=1000)
    """Furthest value of a traversal."""
    columns: int = Field(9, ge=2, le=100)
    """Pictures in a row."""
    n: int = Field(5000, ge=1)
    """Most pictures that are read for a scatter; a sheet of reconstructions shows at most five rows."""
    seed: int = Field(0, ge=0)
    """Seed of the first new picture; the next ones follow."""
    out: Path = Path("latents.png")
    """Picture file to write."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""

    @model_validator(mode="after")
    def _one_view(self) -> Latents:
        given = [self.sample, self.reconstruct, self.interpolate or None, self.traverse, self.scatter]
        if sum(view is not None for view in given) != 1:
            raise ValueError(
                "say one of --sample, --reconstruct, --interpolate, --traverse and --scatter, and only one"
            )
        if len(self.interpolate) == 1:
            raise ValueError("--interpolate needs at least two pictures")
        return self


def run(options: Latents) -> Iterator[Event]:
    """Draw one view.

    Yields:
        The Picture that was written, or for a scatter a Note.

    Raises:
        BadInput: the model is no small autoencoder, pictures cannot be read, or the file cannot be written.
    """
    from lienzo.imaging.writing import save_picture
    from lienzo.tasks.outputs import check_output

    check_output("out", options.out, picture=True)
    model = opened(options)
    if options.scatter is not None:
        yield scatter(options, model)
        return
    sheet = enlarged(view(options, model))
    save_picture(sheet, options.out, exist_ok=True)
    yield Picture(0, options.seed, sheet, path=str(options.out))


def opened(options: Latents) -> Vae:
    """The model on its device.

    Raises:
        BadInput: it is of another network.
    """
    from lienzo.autoencoders.vae import Vae
    from lienzo.tasks.devices import pick_device
    from lienzo.weights.models import load_model
    from lienzo.weights.store import resolve

    model = load_model(resolve(options.model), pick_device(options.device))
    if not isinstance(model, Vae):
        raise BadInput(
            f"'{printable(options.model, 200)}' is no small autoencoder; lienzo train vae makes one that fits."
        )
    return model


def view(options: Latents, model: Vae) -> np.ndarray:
    """The sheet that is asked for: uint8 (H, W, 3)."""
    import torch

    from lienzo.autoencoders import latent_pictures as draw
    from lienzo.autoencoders.small_pictures import grid

    columns = options.columns
    if options.sample is not None:
        seeds = range(options.seed, options.seed + options.sample)
        return grid(draw.sampled(model, seeds), min(columns, options.sample))
    if options.reconstruct is not None:
        x = pictures(model, data_at(options.reconstruct, model), 5 * columns)
        columns = min(columns, len(x))
        parts = zip(x.split(columns), draw.reconstructions(model, x).split(columns), strict=True)
        blank = x.new_ones(columns, *x.shape[1:])
        rows = [torch.cat([row, blank])[:columns] for pair in parts for row in pair]  # a last row may be short
        return grid(torch.cat(rows), columns)
    if options.interpolate:
        codes = draw.encoded(model, torch.stack([one_picture(path, model) for path in options.interpolate]))
        ways = [draw.interpolation(model, a, b, columns) for a, b in pairwise(codes)]
        return grid(torch.cat(ways), columns)
    assert options.traverse is not None
    code = torch.zeros(model.latent)
    if options.start is not None:
        code = draw.encoded(model, one_picture(options.start, model)[None])[0]
    axes = draw.liveliest_axes(model, code, options.reach, options.traverse)
    return grid(draw.traversal(model, code, axes, options.reach, columns), columns)


def scatter(options: Latents, model: Vae) -> Note:
    """Write the codes of data as points."""
    import numpy as np

    from lienzo.autoencoders.latent_pictures import encoded
    from lienzo.autoencoders.pca import components
    from lienzo.tasks.latent_plot import Cloud, need_matplotlib, save_clouds

    need_matplotlib()
    assert options.scatter is not None
    data = data_at(options.scatter, model)
    codes = encoded(model, pictures(model, data, options.n))
    if len(codes) < 2 or model.latent < 2:
        raise BadInput("A scatter needs at least two pictures and codes of at least two numbers.")
    axes, told = ("first number of the code", "second number of the code"), ""
    if model.latent > 2:
        found = components(codes, 2)
        share = (found.variances.sum() / codes.double().var(0).sum()).item()
        codes, axes = found.coordinates(codes.double()), ("first principal component", "second principal component")
        told = f"{model.latent} numbers a picture; the plane shows {share:.0%} of their variance."
    labels = None if data.labels is None else np.asarray(data.labels)[spread(data, options.n)]
    cloud = Cloud("", codes.numpy(), labels, data.label_names, axes)
    save_clouds(options.out, [cloud], f"Codes of {len(codes)} pictures", told)
    return Note(f"The plot is in {options.out}.")


def data_at(spec: str, model: Vae) -> DataSet:
    """Data at the model's size.

    Raises:
        BadInput: there are none, or the model's pictures are not square.
    """
    from lienzo.data.opening import open_data

    if model.shape[1] != model.shape[2]:
        raise BadInput("Data are cropped to squares; this model's pictures are none.")
    return open_data(spec, model.shape[1], split="all")


def spread(data: DataSet, most: int) -> np.ndarray:
    """Rows of at most `most` items, evenly spread."""
    from lienzo.autoencoders.small_pictures import spread_rows

    return spread_rows(len(data), most)


def pictures(model: Vae, data: DataSet, most: int) -> Tensor:
    """At most `most` pictures of the data, as the model takes them: (N, C, H, W) in [0, 1]."""
    from lienzo.autoencoders.small_pictures import all_grey, unit_pictures

    x = unit_pictures(data.images, spread(data, most), 1 if all_grey(data.images) else 3)
    return channelled(x, model)


def one_picture(path: Path, model: Vae) -> Tensor:
    """A picture file as the model takes it: (C, H, W) in [0, 1]."""
    import numpy as np
    import torch
    from PIL import ImageOps

    from lienzo.imaging.reading import open_picture

    height, width = model.shape[1:]
    fitted = np.array(ImageOps.fit(open_picture(path), (width, height)))
    return channelled(torch.from_numpy(fitted).permute(2, 0, 1).float()[None] / 255, model)[0]


def channelled(x: Tensor, model: Vae) -> Tensor:
    """Grey or RGB pictures (N, 1 or 3, H, W) with the model's channels; of colours the luma is left."""
    if x.shape[1] == 3 and model.shape[0] == 1:
        return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return x.expand(-1, model.shape[0], -1, -1)


def enlarged(sheet: np.ndarray) -> np.ndarray:
    """Each pixel as a square, where there are few."""
    times = max(1, LEAST // max(sheet.shape[:2]))
    return sheet.repeat(times, 0).repeat(times, 1)
