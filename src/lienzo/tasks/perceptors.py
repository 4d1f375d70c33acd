"""The CLIPs of a task: opened by name or file, used to guide and to rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.clip.compact import CompactClip
from lienzo.clip.model import CLIP
from lienzo.clip.sentence_pieces import read_tokenizer
from lienzo.clip.siglip import SigLIP
from lienzo.core.errors import BadInput
from lienzo.guidance.guide import Guide, make_guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.perceptor import Perceptor, TowerPerceptor, clip_perceptor
from lienzo.guidance.prompts import Prompt
from lienzo.imaging.reading import load_picture, to_tensor
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve


def perceptor_of(model: nn.Module, name: str, device: torch.device) -> Perceptor:
    """A CLIP network as a perceptor.

    Args:
        model: the network.
        name: what it was opened by; a SigLIP's tokenizer lies beside the file of that name.
        device: where the network is.

    Raises:
        BadInput: the network is no CLIP, or a SigLIP without its tokenizer beside its file.
    """
    if isinstance(model, CLIP):
        return clip_perceptor(model)
    if isinstance(model, CompactClip):
        read = load_model(resolve("sentence"), device)
        told = model.encode_image if model.config["noise_aware"] else None
        return TowerPerceptor(model, read, model.size, prepare=_as_it_is, noisy_tower=told)
    if isinstance(model, SigLIP):
        ids = read_tokenizer(resolve(name), model.context_length, model.config["vocab_size"])
        return TowerPerceptor(
            model, lambda texts: torch.from_numpy(ids(texts)).to(device), model.image_resolution, prepare=_signed
        )
    raise BadInput(f"'{name}' is no CLIP; choose guide, judge, or a file of a CLIP.")


def _as_it_is(pictures: Tensor) -> Tensor:
    return pictures


def _signed(pictures: Tensor) -> Tensor:
    return 2 * pictures - 1


@dataclass
class Judges:
    """Several CLIPs with equal say."""

    perceptors: list[Perceptor]
    device: torch.device

    def guide(
        self, options: GuidanceOptions, prompts: Sequence[Prompt], seeds: Sequence[int], init: Tensor | None
    ) -> Guide:
        """A guide towards the prompts; each picture of the batch draws its cutouts from its own seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        weighted = [(perceptor, 1 / len(self.perceptors)) for perceptor in self.perceptors]
        return make_guide(options, [list(prompts)], weighted, read_picture=self._read, init=init, generators=generators)

    def _read(self, path: str) -> Tensor:
        return to_tensor(load_picture(path)).to(self.device)

    @torch.no_grad()
    def score(self, pictures: Tensor, text: str) -> list[float]:
        """Mean cosine of each picture (B, 3, H, W) in [-1, 1] with the text."""
        total = torch.zeros(len(pictures))
        for perceptor in self.perceptors:
            words = F.normalize(perceptor.encode_text([text]), dim=-1)
            seen = F.normalize(perceptor.encode_image((pictures + 1) / 2), dim=-1)
            total += (seen @ words.T)[:, 0].cpu() / len(self.perceptors)
        return total.tolist()


def open_perceptors(names: Sequence[str], device: torch.device) -> Judges:
    """The named CLIPs."""
    if not names:
        raise BadInput("Name at least one CLIP with --clip.")
    return Judges([perceptor_of(load_model(resolve(name), device), name, device) for name in names], device)
