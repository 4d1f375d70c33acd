from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lienzo.core.errors import BadInput
from lienzo.guidance.cutouts import WholeCutouts
from lienzo.guidance.distances import cosine
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.guide import Guide, View, aim, make_guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt, parse_prompts

OPTIONS = GuidanceOptions.make(cutn=6, cutn_batches=2, saturation_scale=3, symmetry_scale=2)
PICTURES = torch.randn(3, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def colours(pull: Tensor) -> Tensor:
    """The direction in which the mean colour of each picture moves."""
    return -pull.mean((2, 3))


@pytest.mark.parametrize("cutouts", ["random", "disco", "whole", "paper"])
def test_a_picture_is_pulled_the_same_alone_and_in_a_batch(perceptor, cutouts: str) -> None:
    options = OPTIONS.model_copy(update={"cutouts": cutouts, "cut_overview": "4", "cut_innercut": "4"})
    prompts = parse_prompts("red:2|blue:-0.5")

    def pull(pictures: Tensor, seeds: list[int]) -> Tensor:
        guide = make_guide(
            options, [prompts], [(perceptor, 1.0)], init=torch.zeros(1, 3, 1, 1), generators=picture_generators(seeds)
        )
        result = guide.pull(View(pictures, pictures * 2))
        assert set(result.losses) == {"prompts", "tv", "saturation", "symmetry_horizontal", "init", "range"}
        assert all(loss.shape == (len(pictures),) for loss in result.losses.values())
        assert result.denoised is not None
        assert (result.denoised.flatten(1).norm(dim=1) > 0).all()
        return torch.stack([result.picture, result.denoised])

    together = pull(PICTURES, [4, 5, 6])
    for i in range(3):
        alone = pull(PICTURES[i : i + 1], [4 + i])
        torch.testing.assert_close(alone[:, 0], together[:, i], rtol=1e-5, atol=1e-5)


def test_each_picture_may_have_its_own_prompts(perceptor) -> None:
    prompts = [[Prompt("red")], [Prompt("green"), Prompt("blue")], [Prompt("blue", -1.0), Prompt("white", 1.5)]]
    options = GuidanceOptions.make(tv_scale=0, range_scale=0, cutouts="whole", skip_augs=True)
    grey = torch.full((3, 3, 8, 8), 0.02)
    pull = colours(make_guide(options, prompts, [(perceptor, 1.0)]).pull(View(grey, grey)).picture)
    for i, row in enumerate(prompts):
        alone = colours(make_guide(options, [row], [(perceptor, 1.0)]).pull(View(grey[:1], grey[:1])).picture)
        torch.testing.assert_close(alone[0], pull[i])
    assert pull[0].argmax() == 0
    assert pull[1].argmin() == 0
    assert pull[2].argmin() == 2


def test_all_cutouts_run_through_the_perceptor_at_once(perceptor) -> None:
    make_guide(OPTIONS, [[Prompt("red")]], [(perceptor, 1.0)]).pull(View(PICTURES, PICTURES))
    assert perceptor.calls == [18, 18], "3 pictures of 6 cutouts, in 2 batches"


def test_perceptors_add_up_by_their_weights(perceptor) -> None:
    options = GuidanceOptions.make(tv_scale=0, range_scale=0, cutouts="whole", skip_augs=True)

    def pull(*shares: float) -> Tensor:
        guide = make_guide(options, [[Prompt("red")]], [(perceptor, share) for share in shares])
        return guide.pull(View(PICTURES, PICTURES)).picture

    torch.testing.assert_close(pull(0.25, 0.5), 0.75 * pull(1.0))


def test_image_prompts_pull_towards_the_picture(perceptor) -> None:
    def read_picture(path: str) -> Tensor:
        assert path == "sea.png"
        return torch.tensor([0.1, 0.2, 0.9]).view(1, 3, 1, 1).expand(1, 3, 30, 20)

    options = GuidanceOptions.make(cutn=8, skip_augs=True)
    cutter = WholeCutouts(8, options)
    prompts = [[*parse_prompts("sea.png:2", image=True), Prompt("red", 1.0)]]
    target = aim(perceptor, cutter, prompts, read_picture)
    torch.testing.assert_close(target.embeds, torch.tensor([[-0.4, -0.3, 0.4], [0.5, -0.5, -0.5]]))
    torch.testing.assert_close(target.weights, torch.tensor([[2 / 3, 1 / 3]]))
    guide = make_guide(options, prompts, [(perceptor, 1.0)], read_picture=read_picture)
    assert guide.targets[0].weights.shape == (1, 9), "one embedding a cutout, which share the weight"
    torch.testing.assert_close(guide.targets[0].weights[0, :8].sum(), torch.tensor(2 / 3))
    with pytest.raises(BadInput, match="cannot be read"):
        make_guide(options, prompts, [(perceptor, 1.0)])


def test_weights_that_cancel_are_refused(perceptor) -> None:
    with pytest.raises(BadInput, match="sum to 0"):
        make_guide(OPTIONS, [parse_prompts("red|blue:-1")], [(perceptor, 1.0)])


def test_scale_multiplier_multiplies_prompts_tv_and_range_only(perceptor) -> None:
    base = {"cutouts": "whole", "skip_augs": True, "cutn_batches": 1}

    def pull(**given: float) -> Tensor:
        guide = make_guide(GuidanceOptions.make(**base, **given), [[Prompt("red")]], [(perceptor, 1.0)])
        result = guide.pull(View(PICTURES, PICTURES))
        return result.picture + (0 if result.denoised is None else result.denoised)

    torch.testing.assert_close(pull(scale_multiplier=3), 3 * pull())
    none = {"clip_guidance_scale": 0, "tv_scale": 0, "range_scale": 0, "saturation_scale": 5}
    torch.testing.assert_close(pull(scale_multiplier=3, **none), pull(**none))


def test_a_veil_is_told_to_the_perceptor_and_lifts(perceptor) -> None:
    options = GuidanceOptions.make(cutn=200, cutouts="whole")
    target = replace(aim(perceptor, WholeCutouts(8, options), [[Prompt("red")]]), veil=2.0)
    clean = torch.zeros(2, 3, 8, 8)

    def told(view: View) -> Tensor:
        target.loss(view, cosine, picture_generators([1, 2]))
        assert perceptor.sigmas[-1] is not None
        return perceptor.sigmas[-1]

    sigma = told(View(clean, clean))
    assert sigma.shape == (400,)
    angles = sigma.atan().view(2, 200).sort(1).values / math.atan(2) * 200
    assert (angles.floor().long() == torch.arange(200)).float().mean() > 0.99  # one cutout in each part of the range
    assert told(View(clean, clean, progress=1.0)).max() <= 0.5
    assert (told(View(clean, clean, torch.full((2,), 0.3))) == 0.3).all()  # what is noisy already gets no more


def test_gradients_that_are_not_finite_are_counted_not_hidden() -> None:
    guide = Guide()
    grad = torch.ones(3, 2, 2)
    grad[1, 0, 0] = torch.nan
    grad[2] = torch.inf
    assert guide.finite(grad).flatten(1).sum(1).tolist() == [4, 0, 0]
    assert guide.nonfinite == 2
    guide.finite(torch.ones(3, 2))
    assert guide.nonfinite == 2
