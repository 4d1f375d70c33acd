"""The easel: engine, CLIPs, upscaler and filter of one `create`, and the loop that paints with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lienzo import __version__
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture, Preview, Progress
from lienzo.core.seeds import derived_seed
from lienzo.core.text import printable
from lienzo.data.phrases import STYLES, find_style, plain
from lienzo.diffusion.denoiser import VDenoiser
from lienzo.diffusion.sampling import sample
from lienzo.diffusion.secondary import SecondaryModel
from lienzo.guidance.guide import Guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt, parse_prompts
from lienzo.guidance.steer import masked, steer
from lienzo.imaging.filters import FILTERS
from lienzo.imaging.masks import fitted, read_mask
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.imaging.resize import resize_array
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.create import Create, check_pairs, seeds_of
from lienzo.tasks.devices import pick_device
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Engine, Model, Wish
from lienzo.tasks.perceptors import Judges, open_perceptors
from lienzo.tasks.upscalers import Upscaler, open_upscaler
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256

BEHAVIOUR = 1  # rises when the same recipe would make another picture
OUTSIDE = ("out", "overwrite", "previews", "metadata", "n", "device")  # options that do not change a picture


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


class Easel:
    """Everything that one run of `create` paints with."""

    def __init__(self, options: Create, engine: Engine, path: Path, device: torch.device):
        self.options, self.engine, self.device = options, engine, device
        self.wish = read_wish(options, getattr(engine, "styles", ()))
        self.steps = options.steps or engine.steps
        self.sampler = options.sampler or engine.sampler
        self.previews = engine.previews if options.previews is None else options.previews
        self.sigmas = engine.sigmas(self.steps).to(device)
        self.notes: list[str] = []
        self.guides: list[Guide] = []
        self.init = self._read(options.init) if options.init else None
        self.mask = self._read_mask(options.mask) if options.mask else None
        self.first = int(self.steps * options.skip) if self.init is not None else 0
        self.judges: Judges = open_perceptors(options.clip, device)
        self.upscaler: Upscaler | None = open_upscaler(options.upscaler, device)
        if self.upscaler is not None and self.upscaler.scale < 2:
            raise BadInput(f"'{self.upscaler.path.stem}' mends pictures and does not enlarge; see lienzo upscale.")
        if options.secondary and engine.latents.encode is not None:
            raise BadInput("--secondary needs a model that paints in pixels; the painter paints in codes.")
        self.secondary = open_secondary(options.secondary, device)
        self.models = {"model": path} | {name: resolve(name) for name in engine.models}
        self.models |= {f"clip {path.stem}": path for path in map(resolve, options.clip)}
        if options.secondary:
            self.models["secondary"] = resolve(options.secondary)
        if self.upscaler is not None:
            self.models["upscaler"] = self.upscaler.path
        if not engine.conditional and not options.clip_guidance:
            self.notes.append("This model does not read sentences; add --clip-guidance 0.4 to steer it by CLIP.")
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
        model = self.engine.denoiser(self.wish, len(seeds), options.guidance)
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

    def batches(self) -> Iterator[tuple[list[int], list[int]]]:
        """Indices and seeds of each batch; candidates of one picture follow one another."""
        tries = [(i, s if j == 0 else derived_seed(s, "candidate", j))
                 for i, s in enumerate(seeds_of(self.options)) for j in range(self.options.candidates)]  # fmt: skip
        for start in range(0, len(tries), self.options.batch):
            part = tries[start : start + self.options.batch]
            yield [i for i, _ in part], [s for _, s in part]

    def pictures(self) -> Iterator[Event]:
        """Paint everything: events of the sampling, then one finished Picture for each index."""
        best: dict[int, tuple[float, Tensor]] = {}
        left = dict.fromkeys(range(self.options.n), self.options.candidates)
        batches = list(self.batches())
        began, done = time.monotonic(), 0
        total = len(batches) * (self.steps - self.first)
        seeds = seeds_of(self.options)
        for indices, batch_seeds in batches:
            x = torch.empty(0)
            for step in self.sampling(batch_seeds):
                x, done = step.x, done + 1
                yield Progress("paint", done, total, time.monotonic() - began)
                if self.previews and (step.index + 1) % self.previews == 0:
                    yield Preview(indices[0], step.index, self.look(step.denoised))
            with torch.no_grad():
                finished = self.engine.latents.finish(x)
            scores = self.judges.score(finished, self.wish.text)
            for i, picture, score in zip(indices, finished, scores, strict=True):
                if i not in best or score > best[i][0]:
                    best[i] = (score, picture)
                left[i] -= 1
                if left[i] == 0:
                    yield from self.complete(i, seeds[i], *best.pop(i))
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

    def complete(self, index: int, seed: int, score: float, picture: Tensor) -> Iterator[Event]:
        """Enlarge, fit to size, filter; yields the Picture."""
        image = picture[None]
        if self.upscaler is not None:
            while image.shape[-1] < self.options.size:
                image = yield from self.upscaler.enlarge(image)
        array = resize_array(to_bytes(image[0]), self.options.size, self.options.size)
        if self.wish.filter:
            array = FILTERS.load(self.wish.filter)(array, seed % 2**32)
        yield Picture(index, seed, array, scores={"clip": round(score, 4)}, recipe=self.recipe(seed))

    def recipe(self, seed: int) -> dict[str, Any]:
        """Everything that makes this picture again; hashes instead of paths."""
        options = self.options.model_dump(mode="json", exclude=set(OUTSIDE))
        options |= {"seed": seed, "steps": self.steps, "sampler": self.sampler}
        options["model"] = self.models["model"].stem
        options["clip"] = [Path(name).stem for name in self.options.clip]
        options |= {name: self.models[name].stem for name in ("upscaler", "secondary") if name in self.models}
        inputs: dict[str, Any] = {
            name: sha256(path) for name in ("init", "mask") if (path := getattr(self.options, name))
        }
        if self.options.image_prompt:
            inputs["image_prompt"] = [[sha256(prompt.text), prompt.weight] for prompt in self._image_prompts()]
        options |= dict.fromkeys(inputs)
        return {
            "task": "create",
            "prompt": self.options.prompt,
            "negative_prompt": self.options.negative or None,
            "steps": self.steps,
            "sampler": self.sampler,
            "guidance_scale": self.options.guidance,
            "seed": seed,
            "width": self.options.size,
            "height": self.options.size,
            "model": self.models["model"].stem,
            "model_hash": sha256(self.models["model"])[:10],
            "made_with": f"lienzo {__version__}",
            "behaviour": BEHAVIOUR,
            "torch": torch.__version__,
            "device": self.device.type,
            "options": options,
            "style": self.wish.style,
            "filter": self.wish.filter,
            "models": {name: sha256(path) for name, path in self.models.items()},
            "inputs": inputs,
        }


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


def to_bytes(picture: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to uint8 (H, W, 3)."""
    return ((picture.permute(1, 2, 0).float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()


def open_easel(options: Create) -> Easel:
    """Load what the options name.

    Raises:
        BadInput: an unknown model, style or sampler, or files that do not fit.
    """
    check_pairs(options)
    device = pick_device(options.device)
    path = resolve(options.model)
    model = load_model(path, device)
    return Easel(options, engine_for(model, options, device), path, device)
