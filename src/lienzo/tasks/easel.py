"""The easel: an engine under the sampler, guided by CLIP, started from a picture, held by a mask."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note
from lienzo.core.text import printable
from lienzo.data.phrases import STYLES, find_style, plain
from lienzo.diffusion.denoiser import VDenoiser
from lienzo.diffusion.sampling import sample
from lienzo.diffusion.secondary import SecondaryModel
from lienzo.guidance.guide import Guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt, parse_prompts
from lienzo.guidance.steer import masked, steer
from lienzo.imaging.masks import fitted, read_mask
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.imaging.resize import resize_array
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.bench import Bench, Stroke, to_bytes
from lienzo.tasks.create import Create, check_pairs
from lienzo.tasks.devices import pick_device
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Engine, Model, Wish
from lienzo.tasks.engines.scene import SceneEngine, composed
from lienzo.tasks.hub_generator import open_pipeline_bench
from lienzo.tasks.hub_pipelines import find_pipeline
from lienzo.tasks.loss_files import loss_files, without_files
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256


def read_wish(options: Create, styles: Sequence[str] = ()) -> Wish:
    """The prompt's subjects, style and filter. A model's own `styles` win over filters of the same name."""
    prompts = parse_prompts(options.prompt)
    found = None
    subjects = []
    for prompt in prompts:
        subject, style = find_style(prompt.text, styles)
        if style is not None and styles and style.name not in styles and not style.filter:
            subject, style = prompt.text, None  # a word for a style that this model has not learned is only a word
        found = found or style
        subjects.append((subject, prompt.weight))
    name = plain(options.style) if options.style else found.name if found else None
    if name is not None and name not in STYLES and name not in styles:
        raise BadInput(f"There is no style '{name}'; there are {', '.join(dict.fromkeys([*styles, *STYLES]))}.")
    filtered = name is not None and name not in styles and STYLES[name].filter
    return Wish(tuple(subjects), None if filtered else name, name if filtered else None, options.negative)


class Easel(Bench):
    """A bench whose generator is an engine: its denoiser runs under one of the samplers."""

    steps: int
    guidance: float

    def __init__(self, options: Create, engine: Engine, path: Path, device: torch.device):
        super().__init__(options, read_wish(options, getattr(engine, "styles", ())), device)
        self.engine, self.path = engine, path
        self.size, self.guidance = options.size, options.guidance
        self.steps = options.steps or engine.steps
        self.sampler = options.sampler or engine.sampler
        self.previews = engine.previews if options.previews is None else options.previews
        self.sigmas = engine.sigmas(self.steps).to(device)
        self.guides: list[Guide] = []
        self.init = self._read(options.init) if options.init else None
        self.mask = self._read_mask(options.mask) if options.mask else None
        self.first = int(self.steps * options.skip) if self.init is not None else 0
        if options.secondary and engine.latents.encode is not None:
            raise BadInput("--secondary needs a model that paints in pixels; the painter paints in codes.")
        self.secondary = open_secondary(options.secondary, device)
        self.models |= {name: resolve(name) for name in engine.models}
        if options.secondary:
            self.models["secondary"] = resolve(options.secondary)
        if not engine.conditional and not options.clip_guidance:
            self.notes.append("This model does not read sentences; add --clip-guidance 0.4 to steer it by CLIP.")
        if isinstance(engine, SceneEngine):
            self.notes.append(f"A scene of {len(engine.scene.things)} things: each is drawn by itself.")
        if self.wish.filter:
            self.notes.append(f"The style '{self.wish.filter}' is a filter over the finished picture.")

    def _read(self, path: Path) -> Tensor:
        """A picture as (1, 3, S, S) in [-1, 1] at the engine's size."""
        array = resize_array(load_picture(path), self.engine.size, self.engine.size)
        return to_tensor(array).to(self.device) * 2 - 1

    def _read_mask(self, path: Path) -> Tensor:
        mask = fitted(read_mask(path), self.engine.size, self.engine.size)
        return torch.from_numpy(mask)[None, None].to(self.device)

    def model_for(self, seeds: list[int]) -> Model:
        """The guided denoiser of a batch."""
        options = self.options
        model = self.engine.denoiser(self.wish, len(seeds), self.guidance)
        if options.clip_guidance:
            guide = self.judges.guide(self._guidance(), self._prompts(), seeds, self.init)
            self.guides.append(guide)
            model = steer(
                model,
                guide,
                scale=1.0 if options.clip_step == "share" else options.clip_guidance,
                secondary=self.secondary,
                decode=self._decode(),
                sigmas=self.sigmas,
            )
        if self.mask is not None and self.init is not None:
            if self.engine.latents.encode is not None:
                raise BadInput("--mask needs a model that paints in pixels; the painter paints in codes.")
            model = masked(model, self.init, self.mask)
        return model

    def _decode(self) -> Any:
        return self.engine.latents.decode if self.engine.latents.encode is not None else None

    def _guidance(self) -> GuidanceOptions:
        """The guidance half of the options, with CLIP's step as asked for."""
        given = self.options.model_dump(include=set(GuidanceOptions.model_fields))
        if self.options.clip_step == "share":
            given["relative_step"] = self.options.clip_guidance
        return GuidanceOptions.make(**given)

    def _prompts(self) -> list[Prompt]:
        texts = [Prompt(text, weight) for text, weight in self.wish.subjects]
        return texts + self._image_prompts()

    def _image_prompts(self) -> list[Prompt]:
        return [p for text in self.options.image_prompt for p in parse_prompts(text, image=True)]

    def start(self, noise: PictureNoise, count: int) -> Tensor:
        """Noisy latents of the first step: pure noise, or the init picture under noise."""
        blank = torch.zeros(count, *self.engine.latents.shape, device=self.device)
        drawn = noise(blank)
        if self.init is None:
            return self.sigmas[0] * drawn
        encode = self.engine.latents.encode
        latent = self.init if encode is None else encode(self.init)
        return latent.expand_as(blank) + self.sigmas[self.first] * drawn

    def paint(self, seeds: list[int]) -> Generator[Stroke, None, Tensor]:
        x = torch.empty(0)
        for step in self.sampling(seeds):
            x = step.x
            yield Stroke(step.index, self.steps - self.first, partial(self.look, step.denoised))
        with torch.no_grad():
            return self.engine.latents.finish(x, self.wish)

    def remarks(self) -> Iterator[Event]:
        lost = sum(guide.nonfinite for guide in self.guides)
        if lost:
            yield Note(f"CLIP's gradient was not finite {lost} times and was left out there.", "warning")

    def sampling(self, seeds: list[int]) -> Iterator[Any]:
        """The sampler's steps of one batch."""
        noise = PictureNoise(seeds, self.device)
        model = self.model_for(seeds)
        options = {} if self.options.eta is None else {"eta": self.options.eta}
        x = self.start(noise, len(seeds))
        return sample(self.sampler, model, x, self.sigmas[self.first :], noise=noise, **options)

    @torch.no_grad()
    def look(self, denoised: Tensor) -> np.ndarray:
        """The first picture of a batch as it looks now, uint8."""
        picture = self.engine.latents.decode(denoised[:1])
        return to_bytes(picture[0])

    def settings(self) -> dict[str, Any]:
        return {"steps": self.steps, "sampler": self.sampler, "model": self.path.stem}

    def digest(self) -> str:
        return sha256(self.path)

    def inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: sha256(path) for name in ("init", "mask") if (path := getattr(self.options, name))
        }
        if self.options.image_prompt:
            found["image_prompt"] = [[sha256(prompt.text), prompt.weight] for prompt in self._image_prompts()]
        read = [file for text in self.options.loss for file in loss_files(text)]
        if read:
            found["loss"] = [[sha256(resolve(Path(file))) for file in read], [*map(without_files, self.options.loss)]]
        return found


def open_secondary(name: str | None, device: torch.device) -> Model | None:
    """disco-diffusion's secondary network in the convention of the samplers, or None.

    Raises:
        BadInput: the file is of another network.
    """
    if name is None:
        return None
    network = load_model(resolve(name), device)
    if not isinstance(network, SecondaryModel):
        raise BadInput(f"'{printable(name)}' is no secondary model; leave --secondary out.")
    return VDenoiser(lambda x, t: network(x, t).v)


def open_easel(options: Create) -> Bench:
    """Load what the options name: a pipeline of diffusers, or a network with its engine.

    Raises:
        BadInput: an unknown model, style or sampler, or files that do not fit.
    """
    check_pairs(options)
    device = pick_device(options.device)
    pipeline = find_pipeline(options.model)
    if pipeline is not None:
        return open_pipeline_bench(options, pipeline, device)
    path = resolve(options.model)
    model = load_model(path, device)
    engine = engine_for(model, options, device)
    if options.compose and options.init is None:
        engine = composed(engine, read_wish(options, getattr(engine, "styles", ())))
    return Easel(options, engine, path, device)
