"""Every recipe: finite losses with a gradient, steps that learn, figures, samples, and an exact resume."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.clip.compact_recipe import CONCEPT, STYLE, CaptionedPictures, CompactClipRecipe, Scenes
from lienzo.clip.sentence import SentenceEncoder
from lienzo.clip.sentence_recipe import SentenceRecipe
from lienzo.core.events import Checkpoint, Metric, Picture
from lienzo.data.composed import random_scene
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.adm_recipe import AdmRecipe, AdmTraining
from lienzo.diffusion.code_painter import CodePainter
from lienzo.diffusion.code_painter_recipe import CodedPictures, CodePainterRecipe, noise_times
from lienzo.diffusion.linear_code import LinearCode, fit_linear_code
from lienzo.diffusion.picture_memory import memorise
from lienzo.diffusion.refiner_recipe import RefinerRecipe, Reminded
from lienzo.diffusion.remembering_recipe import FORGOTTEN, UPRIGHT, Remembered, RememberingRecipe
from lienzo.training.checkpoints import load_checkpoint
from lienzo.training.finetune import FineTune
from lienzo.training.loop import fit
from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe
from lienzo.training.state import trained
from lienzo.upscaling.recipe import SwinIRRecipe
from lienzo.weights.models import NETWORKS

BATCH, SIDE, WORDS = 4, 16, 8
ROWS = [np.array([i % 5, 5 + i % 3]) for i in range(24)]


def drawings(count: int = 24, side: int = SIDE) -> np.ndarray:
    """Blurry pictures of random colours."""
    small = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(small, (side, side), mode="bilinear")
    return (large * 255).byte().permute(0, 2, 3, 1).numpy()


def unit_vectors(count: int) -> Tensor:
    return nn.functional.normalize(torch.randn(count, WORDS, generator=torch.Generator().manual_seed(1)), dim=-1)


def sentence() -> Recipe:
    texts = [f"a {colour} {thing}" for colour in ("red", "blue", "old") for thing in ("fox", "cat", "dog", "car")]
    recipe = SentenceRecipe(texts, unit_vectors(len(texts)), held=[2, 7], batch_size=BATCH)
    recipe.build = lambda: SentenceEncoder(buckets=64, width=8, layers=1, heads=2, embed_dim=WORDS)  # type: ignore[method-assign]
    return recipe


def captioned() -> CaptionedPictures:
    return CaptionedPictures(
        images=drawings(), concept=torch.arange(24) % 6, style=torch.arange(24) % 2, colour=torch.arange(24) % 4 - 1,
        caption_rows=ROWS, says=CONCEPT + STYLE * (torch.arange(8) % 2), vectors=unit_vectors(8),
    )  # fmt: skip


def compact_clip(tower: str) -> Recipe:
    config = {"tower": tower, "widths": [8, 16], "depth": 1, "size": SIDE, "embed_dim": 8, "text_dim": WORDS,
              "styles": ["flat", "blob"], "noise_aware": tower == "lite0"}  # fmt: skip
    layouts = [random_scene((i, i + 1), random.Random(i)) for i in range(4)]
    scenes = Scenes(layouts, [np.array([i, i + 4]) for i in range(4)], unit_vectors(8))
    return CompactClipRecipe(captioned(), captioned(), config, batch_size=BATCH, scenes=scenes, scene_share=0.25)


def coded() -> tuple[LinearCode, CodedPictures]:
    code = fit_linear_code(drawings(), 6)
    images = torch.from_numpy(drawings()).permute(0, 3, 1, 2).float() / 127.5 - 1
    return code, CodedPictures(code.encode(images), torch.arange(24) % 2, ROWS, unit_vectors(8))


PAINTER = {"length": 6, "width": 16, "hidden": 16, "blocks": 1, "rank": 2, "condition": 16, "text_dim": WORDS,
           "styles": ["flat", "blob"]}  # fmt: skip
REFINER = {"widths": [8], "condition": 8, "text_dim": WORDS, "styles": ["flat", "blob"], "scale": 2}


def painter() -> Recipe:
    _, data = coded()
    return CodePainterRecipe(data, PAINTER, data, batch_size=BATCH)


def remembering() -> RememberingRecipe:
    """The last eight pictures are repainted from the first eight, red or blue by turns."""
    _, data = coded()
    memory = memorise(data.codes[:16], data.style[:16], torch.arange(16) % 5, list("abcde"), unit_vectors(8)[:5])
    own = torch.cat([torch.arange(16), torch.arange(8)])
    colour = torch.cat([torch.full((16,), 2), torch.arange(8) % 2])
    known = Remembered(memory, torch.arange(16), own, colour, torch.stack([data.codes, data.codes + 1]).half())
    return RememberingRecipe(data, {**PAINTER, "colours": ["red", "blue"]}, data, known, batch_size=BATCH)


def reminded_refiner() -> Recipe:
    code, data = coded()
    recipe = remembering()
    model = recipe.build().eval().requires_grad_(False)
    told = Reminded(recipe.known.own, recipe.known.colour, ROWS)
    large = drawings(side=2 * SIDE)
    return RefinerRecipe(large, data, model, code, pyramid, None, REFINER, 6, BATCH, reminded=told)  # type: ignore[arg-type]


def refiner() -> Recipe:
    code, data = coded()
    model = CodePainter(**PAINTER).eval().requires_grad_(False)
    large = drawings(side=2 * SIDE)
    return RefinerRecipe(large, data, model, code, pyramid, reading, REFINER, held=6, batch_size=BATCH)


def pyramid(images: Tensor) -> list[Tensor]:
    """Feature maps without a network."""
    return [images, F.avg_pool2d(images, 2)]


def reading(images: Tensor) -> tuple[Tensor, Tensor]:
    """Colours as vectors; dark pictures are flat, light ones are blobs."""
    colour = images.mean((2, 3))
    light = colour.mean(1)
    return F.normalize(colour, dim=1), 20 * torch.stack([0.5 - light, light - 0.5], 1)


def adm() -> Recipe:
    config = {"image_size": 8, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
              "attention_resolutions": [], "channel_mult": [1]}  # fmt: skip
    data, held = (DataSet(drawings(count, 8), ("",) * count) for count in (12, 4))
    diffusion = DiffusionSettings("cosine", 50, learn_sigma=False)
    return AdmRecipe(data, held, config, diffusion, AdmTraining(batch_size=BATCH))


def swinir() -> Recipe:
    config = {"img_size": 8, "window_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2], "mlp_ratio": 1.0,
              "upscale": 2, "upsampler": "pixelshuffledirect"}  # fmt: skip
    return SwinIRRecipe(drawings(6, 24), drawings(2, 24), config, batch_size=BATCH, crop=8)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "sentence": sentence,
    "compact clip, basic": lambda: compact_clip("basic"),
    "compact clip, bottleneck": lambda: compact_clip("bottleneck"),
    "code painter": painter,
    "remembering painter": remembering,
    "refiner": refiner,
    "reminded refiner": reminded_refiner,
    "adm": adm,
    "swinir": swinir,
}
PICTURED = {"refiner", "reminded refiner", "adm", "swinir"}
PLAN = Training(images=6 * BATCH, warmup=0, learning_rate=1e-2, save_seconds=1e-9, ema_half_lives=(8,), seed=3)


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    torch.manual_seed(0)
    return RECIPES[request.param]()


def test_losses_are_finite_with_a_gradient_everywhere_it_matters(recipe: Recipe) -> None:
    model = recipe.build().train()
    losses = recipe.step(model, recipe.batch(0, torch.Generator().manual_seed(0)))
    assert losses
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
    torch.as_tensor(sum(losses.values())).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(float(grad.abs().sum()) for grad in grads) > 0
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == [], "parameters that take no part in the loss"


def test_batches_come_from_their_place_and_generator_alone(recipe: Recipe) -> None:
    first = recipe.batch(0, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    other = recipe.batch(BATCH, torch.Generator().manual_seed(2))
    again = recipe.batch(0, torch.Generator().manual_seed(1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(len(value) in (recipe.batch_size, 1) for value in first.values())


def test_trains_is_cut_off_and_resumes_to_equal_weights(
    recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = [p.clone() for p in fresh(recipe).parameters()]
    events = list(fit(recipe, PLAN, tmp_path / "whole"))
    figures = {e.name: e.value for e in events if isinstance(e, Metric)}
    with torch.no_grad():
        assert figures.keys() >= recipe.evaluate(recipe.build().eval()).keys()
    assert all(np.isfinite(value) for value in figures.values())
    pictures = [e for e in events if isinstance(e, Picture)]
    assert bool(pictures) == (request.node.callspec.params["recipe"] in PICTURED)
    assert all(p.image.dtype == np.uint8 and p.image.ndim == 3 for p in pictures)

    cut = fit(recipe, PLAN, tmp_path / "cut")
    saves = 0
    for event in cut:
        saves += isinstance(event, Checkpoint)
        if saves == 2:
            break
    cut.close()  # type: ignore[attr-defined]
    list(fit(recipe, PLAN, tmp_path / "cut"))
    whole, resumed = (load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "cut"))
    assert whole is not None
    assert resumed is not None
    assert whole[1]["images_seen"] == resumed[1]["images_seen"] == PLAN.images
    assert whole[0].keys() == resumed[0].keys()
    assert all(torch.equal(whole[0][key], resumed[0][key]) for key in whole[0])

    model = trained(recipe, tmp_path / "cut")
    moved = [float((a.detach() - b).abs().max()) for a, b in zip(before, model.parameters(), strict=True)]
    assert max(moved) > 1e-4
    assert not model.training


def fresh(recipe: Recipe) -> nn.Module:
    from lienzo.core.seeds import derived_seed

    torch.manual_seed(derived_seed(PLAN.seed, "weights"))
    return recipe.build()


def test_two_steps_change_the_weights(recipe: Recipe) -> None:
    model = recipe.build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    start = [p.detach().clone() for p in model.parameters()]
    for images_seen in (0, recipe.batch_size):
        losses = recipe.step(model, recipe.batch(images_seen, torch.Generator().manual_seed(images_seen)))
        optimizer.zero_grad()
        torch.as_tensor(sum(losses.values())).backward()
        optimizer.step()
    changed = [not torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 2  # what stands behind a layer that begins at zero moves later


def test_the_refiner_starts_from_the_painters_guess() -> None:
    recipe = refiner()
    batch = recipe.batch(0, torch.Generator().manual_seed(0))
    assert batch["input"].shape == (BATCH, 3, SIDE, SIDE)
    assert batch["target"].shape == (BATCH, 3, 2 * SIDE, 2 * SIDE)
    assert batch["input"].abs().max() <= 1
    assert not batch["input"].requires_grad
    with torch.no_grad():
        figures = recipe.evaluate(recipe.build().eval())
    assert figures.keys() == {"psnr before", "psnr"}


def test_a_clip_reads_what_the_refiner_makes() -> None:
    recipe = refiner()
    recipe.batch_size = 100
    batch = recipe.batch(0, torch.Generator().manual_seed(0))

    class Perfect(nn.Module):
        def forward(self, x: Tensor, *told: Tensor) -> Tensor:
            return batch["target"]

    dark = batch["target"].mean((1, 2, 3)) < 0
    losses = recipe.step(Perfect(), batch | {"style": (~dark).long()})
    assert losses["l1"] == losses["edges"] == 0
    assert max(losses["features"], losses["meaning"]) < 1e-6
    assert losses["style"] < recipe.step(Perfect(), batch | {"style": dark.long()})["style"]
    unknown = torch.full_like(batch["style"], 2)
    assert recipe.step(Perfect(), batch | {"style": unknown})["style"] == 0, "no style, no doubt"


def test_a_perfect_painter_has_no_loss() -> None:
    recipe = painter()
    batch = recipe.batch(0, torch.Generator().manual_seed(0))

    class Perfect(nn.Module):
        def forward(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
            assert torch.allclose(x, (1 - t[:, None]) * batch["clean"] + t[:, None] * batch["noise"])
            return batch["clean"]

    assert recipe.step(Perfect(), batch)["velocity"] == 0


def test_painter_batches_drop_sentences_and_styles() -> None:
    _, data = coded()
    recipe = CodePainterRecipe(data, PAINTER, data, batch_size=4000)
    batch = recipe.batch(0, torch.Generator().manual_seed(0))
    assert abs(batch["keep"].float().mean().item() - 0.88) < 0.03
    assert abs((batch["style"] == 2).float().mean().item() - 0.1) < 0.03
    times = noise_times(4000, torch.Generator().manual_seed(0))
    assert 0 < times.min() < 0.1
    assert 0.9 < times.max() < 1
    assert abs(times.median().item() - 0.6) < 0.05


def test_what_a_remembering_painter_is_reminded_of() -> None:
    recipe = remembering()
    recipe.batch_size = 4000
    generator = torch.Generator().manual_seed(0)
    batch = recipe.batch(0, generator)
    rows = torch.from_numpy(rows_at(24, 0, 4000, 0))
    own, colour = recipe.known.own[rows], recipe.known.colour[rows]
    assert torch.equal(batch["colour"], colour)
    posed = recipe.known.posed.float()
    pose = (batch["clean"] - posed[1, rows]).abs().amax(1) < 1e-6
    assert torch.equal(batch["clean"], torch.where(pose[:, None], posed[1, rows], posed[0, rows]))
    assert abs(pose.float().mean() - (1 - UPRIGHT) / 2) < 0.03
    seen = posed[pose.long()[:, None], batch["rows"]]
    assert torch.equal(batch["remembered"], seen), "what comes to mind is in the picture's own pose"
    recalled = (batch["rows"] == own[:, None]).any(1)
    painted, plain = recalled[colour < 2], recalled[colour == 2]
    everything = recipe.known.memory.recall(batch["text"], batch["style"]).rows
    near = (everything == own[:, None]).any(1)
    assert painted.float().mean() > 0.9 * near[colour < 2].float().mean()
    assert abs(plain.float().mean() / near[colour == 2].float().mean() - (1 - FORGOTTEN)) < 0.1


def test_a_saved_refiner_can_go_on() -> None:
    recipe = refiner()
    model = recipe.build()
    saved = recipe.export(model).state_dict()
    tuned = FineTune(recipe, saved)
    assert not tuned.left_out
    assert torch.equal(tuned.build().state_dict()["leave.weight"], saved["leave.weight"])


def test_clip_pairs_are_right_where_concept_and_named_style_agree() -> None:
    recipe = compact_clip("basic")
    batch = recipe.batch(0, torch.Generator().manual_seed(0))
    assert batch["right"].shape == (BATCH, BATCH)
    assert batch["right"].diagonal().all(), "a picture's own caption is right"


def test_held_sentences_are_not_trained_on() -> None:
    recipe = sentence()
    epoch = 10
    rows = [recipe.batch(start, torch.Generator())["rows"] for start in range(0, 2 * epoch, BATCH)]
    seen = torch.cat(rows).tolist()
    assert sorted(seen[:epoch]) == sorted(seen[epoch:]) == sorted(set(range(12)) - {2, 7})
    assert seen[:epoch] != seen[epoch:]


def test_facts_are_json_and_tell_of_the_data(recipe: Recipe) -> None:
    facts = recipe.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["batch_size"] == BATCH
    assert recipe.network in NETWORKS


@pytest.mark.parametrize("make", [lambda: compact_clip("basic"), painter, refiner], ids=["clip", "painter", "refiner"])
def test_other_data_are_other_facts(make: Callable[[], Recipe]) -> None:
    torch.manual_seed(0)  # the refiner's painter is random
    before = make().facts()
    torch.manual_seed(0)
    other: Any = make()
    assert other.facts() == before
    data = other.data
    other.data = dataclasses.replace(data, vectors=data.vectors + 1)
    assert other.facts() != before
