"""What a caption tells decides which pictures answer it; scenes and noise in a batch."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from lienzo.clip.compact_recipe import COLOUR, CONCEPT, STYLE, CaptionedPictures, CompactClipRecipe, Scenes, retrieval
from lienzo.core.errors import BadInput
from lienzo.data.composed import random_scene
from lienzo.nn.efficientnet_lite0 import EfficientNetLite0

CONFIG = {"tower": "basic", "widths": [8, 16], "depth": 1, "size": 16, "embed_dim": 8, "text_dim": 6,
          "styles": ["flat", "blob"]}  # fmt: skip


def pictures(count: int = 8) -> CaptionedPictures:
    """Concepts 0 0 1 1 …, styles 0 1 0 1 …, colours -1 0 1 -1 …; one caption each."""
    rng = np.random.default_rng(0)
    rows = torch.arange(count)
    return CaptionedPictures(
        images=rng.integers(0, 255, (count, 16, 16, 3)).astype(np.uint8), concept=rows // 2, style=rows % 2,
        colour=rows % 3 - 1, caption_rows=[np.array([i]) for i in range(count)],
        says=torch.full((count,), CONCEPT), vectors=torch.nn.functional.normalize(torch.randn(count, 6), dim=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        (CONCEPT, [0, 1]),
        (STYLE, [0, 2, 4, 6]),
        (CONCEPT + STYLE, [0]),
        (COLOUR, [0, 3, 6]),
        (0, list(range(8))),
    ],
)
def test_every_picture_that_agrees_in_all_a_caption_tells_is_right(says: int, wanted: list[int]) -> None:
    right = pictures().right(torch.arange(8), torch.tensor([0]), torch.tensor([says]))
    assert right[:, 0].nonzero()[:, 0].tolist() == wanted


def test_scenes_answer_their_own_captions_alone() -> None:
    data = pictures()
    scenes = Scenes([random_scene((0, 3), random.Random(0))], [np.array([0])], torch.ones(1, 6))
    recipe = CompactClipRecipe(data, data, CONFIG, 8, scenes=scenes, scene_share=0.25)
    batch = recipe.batch(0, torch.Generator().manual_seed(0))
    assert batch["right"][:2, :2].all()  # the one scene twice
    assert not batch["right"][:2, 2:].any()
    assert not batch["right"][2:, :2].any()
    assert batch["style"][:2].tolist() == [-1, -1]
    assert (batch["vectors"][:2] == 1).all()
    assert batch["right"].any(0).all()
    assert batch["right"].any(1).all()


def test_noise_comes_with_its_level_and_only_to_a_share() -> None:
    data = pictures(64)
    recipe = CompactClipRecipe(data, data, CONFIG | {"noise_aware": True}, 64, noise_share=0.5)
    batch = recipe.batch(0, torch.Generator().manual_seed(0))
    assert 16 < (batch["sigma"] > 0).sum() < 48
    clean = batch["images"][batch["sigma"] == 0]
    assert 0 <= clean.min() <= clean.max() <= 1
    assert batch["images"][batch["sigma"] > 1].std() > clean.std()
    losses = recipe.step(recipe.build().train(), batch)
    assert all(loss.isfinite() for loss in losses.values())


def test_pictures_are_small_early_and_large_later() -> None:
    recipe = CompactClipRecipe(pictures(), pictures(), CONFIG, 4, early=(8, 8))
    sizes = [recipe.batch(start, torch.Generator())["images"].shape[-1] for start in (0, 4, 8)]
    assert sizes == [8, 8, 16]
    assert recipe.facts()["early"] == (8, 8)
    recipe.step(recipe.build().train(), recipe.batch(0, torch.Generator()))


def test_imagenet_is_for_lite0_alone() -> None:
    state = EfficientNetLite0(classes=2).state_dict()
    with pytest.raises(BadInput, match="Only a tower lite0"):
        CompactClipRecipe(pictures(), pictures(), CONFIG, imagenet=state)
    made = CompactClipRecipe(pictures(), pictures(), CONFIG | {"tower": "lite0", "size": 32}, imagenet=state).build()
    assert torch.equal(made.stem[0].weight, state["_conv_stem.weight"])  # type: ignore[index, union-attr]


def test_learning_and_retrieval() -> None:
    torch.manual_seed(0)
    data = pictures()
    recipe = CompactClipRecipe(data, data, CONFIG, 8)
    model = recipe.build().train()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    before = retrieval(model.eval(), data)["R@1[text-to-image,n=8]"]
    model.train()
    for step in range(60):
        optimiser.zero_grad()
        sum(recipe.step(model, recipe.batch(8 * step, generator)).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    after = retrieval(model.eval(), data)["R@1[text-to-image,n=8]"]
    assert after > before
    assert after >= 0.5
