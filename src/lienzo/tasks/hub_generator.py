"""Any text-to-image pipeline of diffusers as a generator of `create`: Stable Diffusion, SDXL, SD 3, Flux, PixArt ...

A pipeline samples by itself, so it stands beside the engines and not among them: it paints whole batches, and its
callback tells of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from importlib.metadata import version
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.core.handoff import reports
from lienzo.core.text import printable
from lienzo.guidance.prompts import parse_prompts
from lienzo.tasks.bench import Bench, Stroke, to_bytes
from lienzo.tasks.create import Create
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.hub_pipelines import Source, hushed, open_pipeline, pipeline_class, words_for
from lienzo.tasks.latent_options import check_no_latent_options

PREVIEWS = 10  # steps between previews
NATIVE = 1024  # side of pictures where a pipeline does not tell its own
MULTIPLE = 16  # of which sides are multiples, unless a latent pixel is larger
TRUE_GUIDANCE = 4.0  # classifier-free guidance of distilled pipelines where something is not wanted
REFUSED = {
    "sampler": "it brings its own",
    "init": "it starts from a sentence alone",
    "width": "it draws squares here, by --size",
    "height": "it draws squares here, by --size",
    "image_prompt": "it reads sentences only",
    "clip_guidance": "CLIP does not steer it, but chooses among --candidates",
    "secondary": "it needs none",
}
"""Options that pipelines do not know, and why."""


class PipelineBench(Bench):
    """A bench whose generator is a pipeline of diffusers.

    Args:
        options: what is asked for.
        wish: its words.
        source: where the pipeline is.
        pipeline: the pipeline, on its device.
        device: where to compute.

    Raises:
        BadInput: the pipeline does not know an option that is set.
    """

    def __init__(self, options: Create, wish: Wish, source: Source, pipeline: Any, device: torch.device):
        super().__init__(options, wish, device)
        self.source, self.pipeline = source, pipeline
        self.conditional, self.network = True, generating_network(pipeline)
        self.known = known = signature(type(pipeline).__call__).parameters
        native = native_size(pipeline)
        self.size = options.size if "size" in options.model_fields_set else native
        self.side = _up_to_multiple(min(self.size, native), max(MULTIPLE, 2 * getattr(pipeline, "vae_scale_factor", 8)))
        asked = arguments(known, options, wish, self.side)
        self.steps = asked.get("num_inference_steps")
        self.guidance = asked.get("true_cfg_scale", asked.get("guidance_scale"))
        self.sampler = type(pipeline.scheduler).__name__
        self.previews = PREVIEWS if options.previews is None else options.previews
        self._broken = BadWeights(f"'{printable(source.name, 100)}' paints no numbers; its weights are broken.")
        if options.eta is not None and "eta" not in signature(pipeline.scheduler.step).parameters:
            raise BadInput(f"The sampler of this pipeline, {self.sampler}, has no option 'eta'.")
        if not known.keys() & {"callback_on_step_end", "callback"}:
            self.notes.append("This pipeline does not tell of its steps; a batch can only be cancelled at its end.")
        if "safety_checker" in source.index:
            self.notes.append("This pipeline's safety checker is not used; look at the pictures before you share them.")
        self.notes += too_long(pipeline, wish.text)

    def read(self, prompt: str) -> Wish:
        return words(self.options.model_copy(update={"prompt": prompt}))

    def paint(self, seeds: list[int], wish: Wish) -> Generator[Stroke, None, Tensor]:
        given = arguments(self.known, self.options, wish, self.side)
        given["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        if "num_images_per_prompt" in self.known:
            given["num_images_per_prompt"] = len(seeds)
        else:
            given |= {name: [given[name]] * len(seeds) for name in ("prompt", "negative_prompt") if name in given}
        painting = reports(partial(self._run, given))
        while True:
            try:
                index, latents = next(painting)
            except StopIteration as end:
                return self._checked(end.value)
            if not torch.isfinite(latents).all():
                painting.close()
                raise self._broken
            yield Stroke(index, max(self._total(), index + 1), partial(self.look, latents))

    def _run(self, given: dict[str, Any], report: Callable[[tuple[int, Tensor]], None]) -> Tensor:
        """Call the pipeline; in the thread of `reports`."""

        def step_end(pipeline: Any, index: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
            report((index, state["latents"]))
            return {}

        def step(index: int, timestep: Any, latents: Tensor) -> None:
            report((index, latents))

        if "callback_on_step_end" in self.known:
            given["callback_on_step_end"] = step_end
        elif "callback" in self.known:
            given["callback"] = step
        with hushed(), words_for(self.source):
            return self.pipeline(output_type="pt", **given).images

    def _total(self) -> int:
        """Steps of a batch; schedulers of higher order take several for one."""
        scheduler = self.pipeline.scheduler
        count = len(scheduler.timesteps)
        return count if "callback_on_step_end" in self.known else -(-count // getattr(scheduler, "order", 1))

    def _checked(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] as finite numbers in [-1, 1]."""
        if not torch.isfinite(images).all():
            raise self._broken
        return images.float() * 2 - 1

    @torch.no_grad()
    def look(self, latents: Tensor) -> np.ndarray | None:
        """The first picture of a batch as it looks now; None where the latents are of a kind that is not known."""
        pipeline = self.pipeline
        vae, one = getattr(pipeline, "vae", None), latents[:1]
        if one.ndim == 3 and hasattr(pipeline, "_unpack_latents"):
            one = pipeline._unpack_latents(one, self.side, self.side, pipeline.vae_scale_factor)
        if one.ndim != 4:
            return None
        if vae is None:
            return to_bytes(one[0, :3]) if one.shape[1] >= 3 else None
        if one.shape[1] != getattr(vae.config, "latent_channels", None):
            return None
        picture = vae.decode(unscaled(one, vae.config).to(vae.dtype), return_dict=False)[0]
        return to_bytes(picture[0]) if torch.isfinite(picture).all() else None

    def settings(self) -> dict[str, Any]:
        used = {"steps": self.steps, "guidance": self.guidance, "size": self.size}
        return {**used, "sampler": None, "model": self.source.name}

    def files(self) -> list[Path]:
        return self.source.files()

    def digest(self) -> str:
        return self.source.digest()

    def facts(self) -> dict[str, Any]:
        return {"pipeline": type(self.pipeline).__name__, "diffusers": version("diffusers")}


def arguments(known: Mapping[str, Parameter], options: Create, wish: Wish, side: int) -> dict[str, Any]:
    """The options under the names that a pipeline's call gives them, its own defaults where nothing is set.

    Args:
        known: the parameters of the call.
        options: what is asked for.
        wish: its words.
        side: of the pictures that the pipeline draws.

    Raises:
        BadInput: an option is set that the pipeline does not know.
    """

    def put(name: str, value: Any, flag: str) -> None:
        if name in known:
            made[name] = value
        elif value is not None:
            raise BadInput(f"This pipeline has no option for --{flag}; leave it out.")

    made: dict[str, Any] = {"prompt": wish.text}
    if "height" in known:
        made |= {"height": side, "width": side}
    if "use_resolution_binning" in known:
        made["use_resolution_binning"] = False  # it draws at the nearest trained size, whatever side is asked for
    put("num_inference_steps", options.steps or _default(known, "num_inference_steps"), "steps")
    guidance = options.guidance if "guidance" in options.model_fields_set else None
    usual = _default(known, "guidance_scale")
    put("guidance_scale", usual if guidance is None else guidance, "guidance")
    if wish.negative:
        put("negative_prompt", wish.negative, "negative")
        if "true_cfg_scale" in known:  # a distilled pipeline, whose guidance_scale does not look at what is unwanted
            made |= {"true_cfg_scale": TRUE_GUIDANCE if guidance is None else guidance, "guidance_scale": usual}
    if options.eta is not None:
        put("eta", options.eta, "eta")
    return {name: value for name, value in made.items() if value is not None}


def _default(known: Mapping[str, Parameter], name: str) -> Any:
    found = known[name].default if name in known else None
    return None if found is Parameter.empty else found


def words(options: Create) -> Wish:
    """The prompt as pipelines read it: whole, with words of style, what is not wanted apart.

    Raises:
        BadInput: prompts have weights, or none is wanted.
    """
    prompts = parse_prompts(options.prompt)
    if any(abs(prompt.weight) != 1 for prompt in prompts):
        raise BadInput("A pipeline reads words without weights; write the wanted first and the unwanted as | fog:-1.")
    wanted = [prompt.text for prompt in prompts if prompt.weight > 0]
    if not wanted:
        raise BadInput("Every prompt has a negative weight; say also what the picture should show.")
    unwanted = [options.negative.strip(), *(prompt.text for prompt in prompts if prompt.weight < 0)]
    subjects = [*wanted, *([options.style] if options.style else [])]
    return Wish(tuple((text, 1.0) for text in subjects), options.style, None, ", ".join(filter(None, unwanted)))


def generating_network(pipeline: Any) -> nn.Module:
    """The network of a pipeline that removes noise; where it has another name than usual, the largest one."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    usual = [networks[name] for name in ("unet", "transformer") if name in networks]
    return usual[0] if usual else max(networks.values(), key=lambda part: sum(p.numel() for p in part.parameters()))


def native_size(pipeline: Any) -> int:
    """Side of the pictures that a pipeline was trained on, as far as it tells."""
    latent = getattr(pipeline, "default_sample_size", None)
    for name in ("unet", "transformer"):
        latent = latent or getattr(getattr(getattr(pipeline, name, None), "config", None), "sample_size", None)
    if isinstance(latent, list | tuple):
        latent = max(latent)
    if not isinstance(latent, int):
        return NATIVE
    return latent * (getattr(pipeline, "vae_scale_factor", 8) if getattr(pipeline, "vae", None) is not None else 1)


def unscaled(latents: Tensor, config: Any) -> Tensor:
    """Latents as the autoencoder of a `config` decodes them."""
    scale, shift = (getattr(config, name, None) for name in ("scaling_factor", "shift_factor"))
    mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    latents = latents / (scale or 1.0)
    if mean is not None and std is not None:
        mean, std = (torch.tensor(each, device=latents.device, dtype=latents.dtype) for each in (mean, std))
        return latents * std[:, None, None] + mean[:, None, None]
    return latents + (shift or 0.0)


def too_long(pipeline: Any, text: str) -> list[str]:
    """A sentence, if one of the text encoders does not read the whole prompt."""
    limits = []
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is None:
            continue
        with hushed():
            length = len(tokenizer(text).input_ids)
        if length > tokenizer.model_max_length:
            limits.append(tokenizer.model_max_length)
    return [f"The prompt is long; this pipeline reads only its first {min(limits)} tokens, in part."] if limits else []


def _up_to_multiple(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def open_pipeline_bench(options: Create, source: Source, device: torch.device) -> PipelineBench:
    """A pipeline as `create` asks for it.

    Raises:
        BadInput: diffusers is missing, the pipeline is of another kind, or an option is set that it does not know.
        BadWeights: its files do not fit.
    """
    for name, why in REFUSED.items():
        if getattr(options, name):
            raise BadInput(f"--{name.replace('_', '-')} is not for a pipeline of diffusers: {why}.")
    check_no_latent_options(options, "a pipeline of diffusers (unless opened by --native)")
    wish = words(options)
    known = signature(pipeline_class(source).__call__).parameters
    arguments(known, options, wish, NATIVE)  # before gigabytes are read
    return PipelineBench(options, wish, source, open_pipeline(source, device), device)
