"""The easel: an engine under the sampler, guided by CLIP, started from a picture, held by a mask."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note
from lienzo.core.text import printable
from lienzo.data.phrases import STYLES, find_style, plain
from lienzo.data.spelling import spelled
from lienzo.diffusion.denoiser import VDenoiser
from lienzo.diffusion.sampling import sample
from lienzo.diffusion.secondary import SecondaryModel
from lienzo.guidance.guide import Guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt, parse_prompts
from lienzo.guidance.steer import masked, steer
from lienzo.nn.noise import Noise, PictureNoise
from lienzo.tasks.bench import Bench, Stroke, to_bytes
from lienzo.tasks.create import Create, check_pairs
from lienzo.tasks.devices import pick_device
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Engine, Model, Wish
from lienzo.tasks.engines.finding import digest_of, files_of, find_folder, is_checkpoint
from lienzo.tasks.engines.latent import LatentEngine, open_latent, parse_embedding, parse_lora
from lienzo.tasks.engines.scene import SceneEngine, composed
from lienzo.tasks.hub_generator import open_pipeline_bench
from lienzo.tasks.hub_pipelines import find_pipeline
from lienzo.tasks.latent_options import parse_extend
from lienzo.tasks.loss_files import loss_files, without_files
from lienzo.tasks.starting import Sheet, base_size, read_start
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve, sha256


def read_wish(options: Create, styles: Sequence[str] = ()) -> Wish:
    """The prompt's subjects, style and filter. A model's own `styles` win over filters of the same name."""
    prompts = parse_prompts(spelled(options.prompt))
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
    return Wish(tuple(subjects), None if filtered else name, name if filtered else None, spelled(options.negative))


class Easel(Bench):
    """A bench whose generator is an engine: its denoiser runs under one of the samplers."""

    steps: int
    guidance: float

    def __init__(self, options: Create, engine: Engine, path: Path, device: torch.device):
        super().__init__(options, wish_for(engine, options), device)
        self.engine, self.path = engine, path
        self.conditional, self.network = engine.conditional, engine.model
        self.sheet = sheet_of(engine, options)
        self.size = max(self.sheet.asked)
        own = getattr(engine, "guidance", options.guidance)
        self.guidance = options.guidance if "guidance" in options.model_fields_set else own
        self.steps = options.steps or engine.steps
        self.sampler = options.sampler or engine.sampler
        self.previews = engine.previews if options.previews is None else options.previews
        self.sigmas = engine.sigmas(self.steps).to(device)
        self.guides: list[Guide] = []
        self._begin_from(options)
        if options.candidates is None and not options.clip_guidance and self.init is None:
            self.candidates = getattr(engine, "candidates", 1)
        if options.secondary and engine.latents.encode is not None:
            raise BadInput("--secondary needs a model that paints in pixels; the painter paints in codes.")
        self.secondary = open_secondary(options.secondary, device)
        self.models |= {name: resolve(name) for name in engine.models}
        if options.secondary:
            self.models["secondary"] = resolve(options.secondary)
        if isinstance(engine, LatentEngine) and engine.parts.settings is not None:
            self.models["settings"] = engine.parts.settings
        self.notes += self._remarks_before()

    def _begin_from(self, options: Create) -> None:
        """Read --init and its mask, at the sizes that are finished, judged and denoised."""
        more = parse_extend(options.extend)
        height, width = self.sides()
        base = (height - more["top"] - more["bottom"], width - more["left"] - more["right"])
        spatial = len(self.engine.latents.shape) == 3
        if options.mask and not spatial:
            raise BadInput("--mask needs a model that paints in pixels; the painter paints in codes.")
        exact = hasattr(self.engine, "sheet")  # models of one size are given it straight from the file
        self.begin = read_start(options, base if exact else self.sheet.drawn)
        self.init = self.mask = self.latent = self.free = None
        self.skip = 0.0
        if self.begin is None:
            return
        whole = options.extend or (options.mask and getattr(self.engine, "inpaints", False))
        self.skip = 0.0 if whole and "skip" not in options.model_fields_set else options.skip
        init, mask = self.begin.tensors(self.sheet)
        self.init, self.mask = init.to(self.device), None if mask is None else mask.to(self.device)
        encode = self.engine.latents.encode
        with torch.no_grad():
            self.latent = self.init if encode is None else encode(self.init)
        if getattr(self.engine, "inpaints", False):
            self.engine.show(self.init, self.mask)  # type: ignore[attr-defined]
        elif self.mask is not None:  # each position that holds something to change is free
            small = self.engine.latents.shape[1:]
            self.free = self.mask if encode is None else F.adaptive_max_pool2d(self.mask, small)

    @property
    def first(self) -> int:
        """Steps that are left out because of --init."""
        if self.init is None:
            return 0
        if self.options.strength is None:
            return int(self.steps * self.skip)
        taken = round(self.steps * self.options.strength)
        return self.steps - max(taken, int(self.options.strength > 0))

    def _remarks_before(self) -> list[str]:
        """What the person should know before it begins."""
        found = list(getattr(self.engine, "notes", ()))
        if not self.engine.conditional and not self.options.clip_guidance:
            found.append("This model does not read sentences; add --clip-guidance 0.4 to steer it by CLIP.")
        if isinstance(self.engine, SceneEngine):
            count = len(self.engine.scene.things)
            told = "one thing, drawn before a backdrop" if count == 1 else f"{count} things: each is drawn by itself"
            found.append(f"A scene of {told}.")
        strange = getattr(self.engine, "strange", None)
        found += [
            f"No drawing of '{printable(name)}' is remembered; it is made up from what is nearest to it."
            for name in (strange(self.wish) if strange else ())
        ]
        if self.wish.filter:
            found.append(f"The style '{self.wish.filter}' is a filter over the finished picture.")
        (height, width), (tall, wide) = self.sheet.asked, self.sheet.drawn
        if not hasattr(self.engine, "sheet"):
            if height != width:
                found.append("This model draws squares; the picture is cut from the middle of one.")
        elif self.sheet.small != self.sheet.drawn:
            found.append(f"It is drawn at {wide}x{tall} pixels, as the model needs it, and cut to {width}x{height}.")
        return found

    def sides(self) -> tuple[int, int]:
        return self.sheet.asked

    def touched(self, picture: np.ndarray) -> np.ndarray:
        """What was to stay of --init is put back pixel by pixel: latents hold it only nearly."""
        keeps = self.begin is not None and hasattr(self.engine, "sheet")
        return self.begin.laid_back(picture) if keeps and self.begin is not None else picture

    def model_for(self, seeds: list[int], wish: Wish) -> Model:
        """The guided denoiser of a batch."""
        options = self.options
        model = self.engine.denoiser(wish, len(seeds), self.guidance)
        if options.clip_guidance:
            guide = self.judges.guide(self._guidance(), self._prompts(wish), seeds, self.init)
            self.guides.append(guide)
            model = steer(
                model,
                guide,
                scale=1.0 if options.clip_step == "share" else options.clip_guidance,
                secondary=self.secondary,
                decode=self._decode(),
                sigmas=self.sigmas,
            )
        if self.free is not None and self.latent is not None:
            model = masked(model, self.latent, self.free)
        return model

    def _decode(self) -> Any:
        latents = self.engine.latents
        return None if latents.encode is None and len(latents.shape) == 3 else latents.decode

    def _guidance(self) -> GuidanceOptions:
        """The guidance half of the options, with CLIP's step as asked for."""
        given = self.options.model_dump(include=set(GuidanceOptions.model_fields))
        if self.options.clip_step == "share":
            given["relative_step"] = self.options.clip_guidance
        return GuidanceOptions.make(**given)

    def _prompts(self, wish: Wish) -> list[Prompt]:
        texts = [Prompt(text, weight) for text, weight in wish.spoken]
        return texts + self._image_prompts()

    def _image_prompts(self) -> list[Prompt]:
        return [p for text in self.options.image_prompt for p in parse_prompts(text, image=True)]

    def start(self, noise: Noise, count: int) -> Tensor:
        """Noisy latents of the first step: pure noise, or the init picture under noise."""
        blank = torch.zeros(count, *self.engine.latents.shape, device=self.device)
        drawn = noise(blank)
        if self.latent is None:
            return self.sigmas[0] * drawn
        return self.latent.expand_as(blank) + self.sigmas[self.first] * drawn

    def read(self, prompt: str) -> Wish:
        return wish_for(self.engine, self.options.model_copy(update={"prompt": prompt}))

    def paint(self, seeds: list[int], wish: Wish) -> Generator[Stroke, None, Tensor]:
        return (yield from self.paint_with(seeds, wish, PictureNoise(seeds, self.device)))

    def paint_with(self, seeds: list[int], wish: Wish, noise: Noise) -> Generator[Stroke, None, Tensor]:
        """As `paint`, with any source of noise."""
        wish = replace(wish, seeds=wish.seeds or tuple(seeds), upright=self.options.upright or self.init is not None)
        x = self.start(noise, len(seeds))
        for step in self.sampling(seeds, wish, noise, x):
            x = step.x
            yield Stroke(step.index, self.steps - self.first, partial(self.look, step.denoised))
        with torch.no_grad():
            return self.sheet.cut(self.engine.latents.finish(x, wish))

    def remarks(self) -> Iterator[Event]:
        lost = sum(guide.nonfinite for guide in self.guides)
        if lost:
            yield Note(f"CLIP's gradient was not finite {lost} times and was left out there.", "warning")

    def sampling(self, seeds: list[int], wish: Wish, noise: Noise, x: Tensor) -> Iterator[Any]:
        """The sampler's steps of one batch from x; none where --strength is 0."""
        if self.first == self.steps:
            return iter(())
        model = self.model_for(seeds, wish)
        options: dict[str, Any] = {} if self.options.eta is None else {"eta": self.options.eta}
        if self.sampler == "dpm_adaptive":  # under CLIP's guidance no step is short enough for its tolerance
            options["tries"] = self.steps - self.first
        return sample(self.sampler, model, x, self.sigmas[self.first :], noise=noise, **options)

    @torch.no_grad()
    def look(self, denoised: Tensor) -> np.ndarray:
        """The first picture of a batch as it looks now, uint8."""
        picture = self.sheet.cut(self.engine.latents.decode(denoised[:1]))
        return to_bytes(picture[0])

    def recipe(self, seed: int) -> dict[str, Any]:
        """Also says which pictures of its memory a painter painted from."""
        recall = getattr(self.engine, "remembered", None)
        found = recall(replace(self.wish, seeds=(seed,))) if recall else []
        return super().recipe(seed) | ({"remembered": found} if found else {})

    def settings(self) -> dict[str, Any]:
        used = {"steps": self.steps, "sampler": self.sampler, "model": _named(self.path), "guidance": self.guidance}
        if hasattr(self.engine, "sheet"):
            more = parse_extend(self.options.extend)
            height, width = self.sides()
            used |= {"height": height - more["top"] - more["bottom"], "width": width - more["left"] - more["right"]}
        return used | ({"skip": self.skip} if self.init is not None else {})

    def files(self) -> list[Path]:
        return files_of(self.path)

    def digest(self) -> str:
        return digest_of(self.path)

    def inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: sha256(path) for name in ("init", "mask", "vae") if (path := getattr(self.options, name))
        }
        if self.options.image_prompt:
            found["image_prompt"] = [[sha256(prompt.text), prompt.weight] for prompt in self._image_prompts()]
        if self.options.lora:
            found["lora"] = [[sha256(path), strength] for path, strength in map(parse_lora, self.options.lora)]
        if self.options.embedding:
            named = map(parse_embedding, self.options.embedding)
            found["embedding"] = [[sha256(path), word or path.stem] for path, word in named]
        read = [file for text in self.options.loss for file in loss_files(text)]
        if read:
            found["loss"] = [[sha256(resolve(Path(file))) for file in read], [*map(without_files, self.options.loss)]]
        return found


def _named(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def wish_for(engine: Engine, options: Create) -> Wish:
    """The wish as the engine reads prompts."""
    own = getattr(engine, "read_wish", None)
    return read_wish(options, getattr(engine, "styles", ())) if own is None else own(options)


def sheet_of(engine: Engine, options: Create) -> Sheet:
    """The sizes of the pictures; a model of one size draws squares of it, whatever is asked for."""
    own: Sheet | None = getattr(engine, "sheet", None)
    if own is not None:
        return own
    side = (engine.size, engine.size)
    return Sheet(base_size(options, (options.size, options.size)), side, side)


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
    """Load what the options name, and CLIPs that choose among its pictures.

    Raises:
        BadInput: an unknown model, style or sampler, or files that do not fit.
    """
    if not options.clip:
        raise BadInput("Name at least one CLIP with --clip.")
    return open_bench(options, pick_device(options.device))


def open_bench(options: Create, device: torch.device) -> Bench:
    """Load what the options name: Stable Diffusion, a pipeline of diffusers, or a network with its engine.

    Raises:
        BadInput: as `open_easel`.
    """
    check_pairs(options)
    folder = find_folder(options.model, options.native)
    if folder is not None:
        return Easel(options, open_latent(folder, options, device), folder, device)
    pipeline = find_pipeline(options.model)
    if pipeline is not None:
        return open_pipeline_bench(options, pipeline, device)
    path = resolve(options.model)
    return Easel(options, open_engine(path, options, device), path, device)


def open_engine(path: Path, options: Create, device: torch.device) -> Engine:
    """The engine of a weight file: a whole checkpoint of Stable Diffusion, or a single network.

    Raises:
        BadInput: the network does not paint, or an option does not fit it.
        BadWeights: the file does not fit.
    """
    if is_checkpoint(path):
        return open_latent(path, options, device)
    engine = engine_for(load_model(path, device), options, device)
    if options.compose and options.init is None:
        return composed(engine, read_wish(options, getattr(engine, "styles", ())))
    return engine
