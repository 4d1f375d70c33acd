"""The models of a card: their files, what those say of themselves, and what each is to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.text import printable
from lienzo.tasks.card_file import Facts, file_name
from lienzo.tasks.drawing import Artist
from lienzo.tasks.sides import is_diffusers_folder, prompts_for
from lienzo.weights.models import TrainingData, read_card
from lienzo.weights.places import HUB
from lienzo.weights.store import resolve

if TYPE_CHECKING:
    from lienzo.data.native import NativePictures
    from lienzo.tasks.card import MakeCard


@dataclass(frozen=True)
class Candidate:
    """A model that was found able to draw.

    Attributes:
        given: how it was named.
        path: its file, or its folder where it is one of diffusers.
        label: its name on the card.
        network: class of its network.
        sha256: what tells its files from all others.
        files: all files that drawing needs.
        settings: what decides its pictures besides prompts and seeds.
        prompts: one a picture; empty texts for a model that reads none.
        prompt_kind: as in `card_file.Entry.prompts`.
    """

    given: str
    path: Path
    label: str
    network: str
    sha256: str
    files: tuple[Path, ...]
    settings: dict[str, str | int | float]
    prompts: list[str]
    prompt_kind: str

    @property
    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.files)


def model_path(given: str) -> Path:
    """The file of a model by name, file or run folder; a folder of diffusers is its own."""
    if given.startswith(HUB) or is_diffusers_folder(Path(given).expanduser()):
        return Path(given)
    inside = Path(given).expanduser() / "model.safetensors"
    return inside if inside.is_file() else resolve(given)


def open_artist(path: Path, options: MakeCard, device: torch.device) -> Artist:
    """The model as the card draws with it."""
    return Artist(str(path), device, steps=options.steps, sampler=options.sampler, guidance=options.guidance)


def look_at(given: str, options: MakeCard, real: NativePictures, device: torch.device) -> Candidate:
    """Open a model to see that it draws, and draws all that is asked of it.

    Raises:
        BadInput: there is no such model, it does not draw, or it cannot draw the prompts.
    """
    path = model_path(given)
    artist = open_artist(path, options, device)
    prompts, kind = card_prompts(artist, options, real)
    label = str(artist.protocol["model"])
    if options.steps is not None:
        label += f"-{options.steps}-steps"
    if options.sampler is not None:
        label += f"-{options.sampler}"
    if options.guidance is not None and artist.conditional:
        label += f"-guidance-{options.guidance:g}"
    files = tuple(artist.files)
    settings = {key: value for key, value in artist.protocol.items() if key not in ("model", "sha")}
    network = type(artist.network).__name__
    return Candidate(given, path, file_name(label), network, artist.bench.digest(), files, settings, prompts, kind)


def card_prompts(artist: Artist, options: MakeCard, real: NativePictures) -> tuple[list[str], str]:
    """What the model draws: nothing, else the file's lines, else the real pictures' captions, else their classes.

    A model that knows classes only is asked for the class of each real picture whose caption the others draw.

    Returns:
        One prompt a picture, and its kind with a digest.

    Raises:
        BadInput: the model can draw none of them.
    """
    if not artist.conditional:
        return [""] * options.n, "none"
    prompts = prompts_for(artist, options.prompts, real, options.n)
    kind = "file" if options.prompts else "captions" if real.captions else "classes"
    try:
        check_prompts(artist, prompts)
    except BadInput:
        if kind != "captions" or real.labels is None:
            raise
        prompts = prompts_for(artist, None, replace(real, captions=()), options.n)
        kind = "classes"
        check_prompts(artist, prompts)
    return prompts, f"{kind}:{blake2b(chr(10).join(prompts).encode(), digest_size=4).hexdigest()}"


def check_prompts(artist: Artist, prompts: Sequence[str]) -> None:
    """Pass where the model takes every prompt; BadInput in its own sentence else."""
    for prompt in dict.fromkeys(prompts):
        artist.check(prompt)


def facts_of(path: Path) -> Facts:
    """What a model's file says of itself; of a foreign checkpoint or a folder, nothing."""
    if not path.is_file():
        return Facts()
    try:
        card = read_card(path)
    except BadWeights:
        return Facts()
    data = card.training_data
    sources = (data,) if isinstance(data, str) else tuple(_source(each) for each in data)
    return Facts(
        title=printable(card.title, 200),
        description=printable(card.description, 2000),
        licence=printable(card.licence, 200),
        training_data=tuple(printable(source, 500) for source in sources if source),
        limits=printable(card.limits, 2000),
        made_with=printable(card.made_with, 100),
    )


def _source(data: TrainingData) -> str:
    return f"{data.name} ({data.licence})" + (f", {data.source}" if data.source else "")
