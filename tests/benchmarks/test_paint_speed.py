"""The published loop beside operations that golden files hold, and the arithmetic of seconds to a score."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.autoencoders.vqgan import VQModel
from lienzo.guidance.ops import clamp_with_grad, vector_quantize

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up, and the second script the first
    spec.loader.exec_module(module)
    return module


PEER = script("paint_peer")
BENCH = script("paint_speed")
FLAGS = PEER.Flags(iterations=30, num_cuts=8)


class Eye:
    """Sees the mean colour; every sentence asks for red."""

    size = 16

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0, 0.0]]).repeat(len(texts), 1)

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        assert picture.shape[1:] == (3, 16, 16)
        return picture.mean((2, 3)) + 1e-3


def a_vqgan() -> VQModel:
    torch.manual_seed(0)
    structure = {"double_z": False, "z_channels": 8, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
                 "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
    model = VQModel(ddconfig=structure, n_embed=32, embed_dim=8)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval().requires_grad_(False)


def test_the_loop_paints_towards_the_sentence_within_the_codebook() -> None:
    vqgan = a_vqgan()
    pictures = list(PEER.published(vqgan, Eye(), "red", 24, 1, FLAGS))
    assert len(pictures) == 30
    assert pictures[0].shape == (1, 3, 24, 24)

    def share(picture: Tensor) -> float:
        return float(F.normalize(picture.mean((2, 3)))[0, 0])

    assert share(pictures[-1]) > share(pictures[0]) + 0.005
    again = list(PEER.published(vqgan, Eye(), "red", 24, 1, FLAGS))
    assert torch.equal(pictures[-1], again[-1])


def test_its_picture_and_gradient_are_those_of_the_golden_operations() -> None:
    vqgan, z = a_vqgan(), torch.randn(1, 8, 4, 6, requires_grad=True)
    codes = vqgan.quantize.embedding.weight
    mine = PEER.synth(vqgan, z, codes)
    moved = vector_quantize(z.movedim(1, -1), codes).movedim(-1, 1)
    theirs = clamp_with_grad((vqgan.decoder(vqgan.post_quant_conv(moved)) + 1) / 2, 0.0, 1.0)
    torch.testing.assert_close(mine, theirs)
    pull = torch.randn_like(mine)
    torch.testing.assert_close(*(torch.autograd.grad(x, z, pull)[0] for x in (mine, theirs)))


def test_cuts_are_changed_copies_of_the_pooled_picture() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 48, 32)
    still = PEER.Flags(num_cuts=5, share=0.0, noise=0.0)
    pooled = (F.adaptive_avg_pool2d(picture, 16) + F.adaptive_max_pool2d(picture, 16)) / 2
    torch.testing.assert_close(PEER.cut(picture, still, 16), pooled.repeat(5, 1, 1, 1))
    cuts = PEER.cut(picture, PEER.Flags(num_cuts=5, share=1.0), 16)
    assert cuts.isfinite().all()
    assert len({float(cut.sum()) for cut in cuts}) == 5


def test_a_hue_turned_all_round_is_itself() -> None:
    x = 0.3 + 0.4 * torch.rand(2, 3, 4, 4)
    third = torch.full((2, 1, 1, 1), 2 * torch.pi / 3)
    once = PEER.hue_turned(x, third)
    torch.testing.assert_close(once, x.roll(1, 1))
    torch.testing.assert_close(PEER.hue_turned(PEER.hue_turned(once, third), third), x)


def test_seconds_to_a_score_are_means_over_the_sentences() -> None:
    words = torch.eye(3)
    curve = BENCH.Curve()
    for slow in (1.0, 3.0):
        index = len(curve.seen)
        curve.steps = [5, 10]
        curve.seconds.append([slow, 2 * slow])
        curve.processor.append([slow / 2, slow])
        curve.seen.append([words[2], words[index]])
    assert curve.scores(words) == ([0.0, 1.0], [0.0, 1.0])
    assert BENCH.reach(curve, 0.9, words, "wall") == (4.0, 10)
    assert BENCH.reach(curve, 0.0, words, "processor") == (1.0, 5)
    assert BENCH.reach(curve, 1.1, words, "wall") is None


@pytest.mark.parametrize(("steps", "looks"), [(7, [3, 6, 7]), (6, [3, 6])])
def test_a_side_is_looked_at_in_between_and_at_its_end(steps: int, looks: list[int]) -> None:
    curve = BENCH.Curve()
    BENCH.watch((lambda: torch.rand(1, 3, 16, 16) for _ in range(steps)), curve, Eye(), 3)
    assert curve.steps == looks
    assert len(curve.seconds[0]) == len(curve.seen[0]) == len(looks)
    assert curve.seconds[0] == sorted(curve.seconds[0])
