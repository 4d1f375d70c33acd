"""Training a CLIP: right answers, captions by chance, the temperature, figures by hand, and that it learns."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lienzo.clip import model as clip_model
from lienzo.clip.clip_recipe import ClipRecipe, captioned, random_crops, retrieval
from lienzo.clip.losses import contrastive_loss, multi_positive
from lienzo.clip.model import CLIP
from lienzo.clip.objective import Objective
from lienzo.clip.paired import Embedded
from lienzo.clip.preprocessing import normalise
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput
from lienzo.data.order import rows_at
from lienzo.data.sets import DataSet

TEXT: dict[str, Any] = {"context_length": 12, "transformer_width": 16, "transformer_layers": 1}
VIT: dict[str, Any] = {
    "embed_dim": 16, "image_resolution": 32, "vision_layers": 1, "vision_width": 32, "vision_patch_size": 8, **TEXT,
}  # fmt: skip
RESNET: dict[str, Any] = {
    "embed_dim": 16, "image_resolution": 32, "vision_layers": [1, 1, 1, 1], "vision_width": 8,
    "vision_patch_size": None, **TEXT,
}  # fmt: skip
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220), "black": (20, 20, 20)}


def drawn() -> DataSet:
    """Eight drawings, a disc and a square in each of four colours on white, with two captions each."""
    y, x = np.mgrid[:32, :32]
    shapes = {"disc": np.hypot(y - 16, x - 16) < 11, "square": (abs(y - 16) < 9) & (abs(x - 16) < 9)}
    images = np.full((8, 32, 32, 3), 255, np.uint8)
    captions = []
    for i, (colour, shape) in enumerate((colour, shape) for colour in COLOURS for shape in shapes):
        images[i][shapes[shape]] = COLOURS[colour]
        captions.append((f"a {colour} {shape}", f"{shape}, {colour}"))
    return DataSet(images, tuple(str(i) for i in range(8)), tuple(captions), fingerprint="drawn")


def recipe(config: dict[str, Any] = VIT, **options: Any) -> ClipRecipe:
    return ClipRecipe(drawn(), drawn(), config, **{"batch_size": 8, **options})


def letters(captions: Sequence[str]) -> Tensor:
    """A teacher that knows how often each letter is in a caption."""
    return nn.functional.normalize(torch.tensor([[c.count(x) + 0.01 for x in "abcdefgiklnoqrstu"] for c in captions]))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(one: ClipRecipe, steps: int, rate: float = 3e-3) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    model = one.build().train()
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    losses = []
    for i in range(steps):
        loss = torch.stack(list(one.step(model, one.batch(i * one.batch_size, seeded(i))).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        one.project(model)
        losses.append(loss.item())
    return model.eval(), losses


@pytest.mark.parametrize(("config", "rate"), [(VIT, 3e-4), (RESNET, 3e-3)], ids=["vit", "resnet"])
def test_it_learns_which_caption_belongs_to_which_drawing(config: dict[str, Any], rate: float) -> None:
    one = recipe(config)
    model, losses = trained(one, 60, rate)
    assert np.mean(losses[:3]) > 1.5
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    figures = one.evaluate(model)
    assert figures["R@1[text-to-image,n=8,captions=16]"] > 0.5  # by chance one in eight
    assert figures["median rank[image-to-text,n=8,captions=16]"] == 1


def test_siglip_learns_it_too_and_its_bias_with_it() -> None:
    one = recipe(objective=Objective(loss="siglip", cyclip_in_modal=0.25, cyclip_cross_modal=0.25))
    model, losses = trained(one, 80, 1e-3)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    figures = one.evaluate(model)
    assert figures["R@1[text-to-image,n=8,captions=16]"] > 0.5
    fresh = one.build()
    assert [fresh.logit_scale.item(), fresh.logit_bias.item()] == pytest.approx([math.log(10), -10])
    assert model.logit_bias.item() != -10
    exported = one.export(model)
    assert type(exported) is CLIP
    assert "logit_bias" not in exported.state_dict()
    assert one.evaluate(exported) == figures


def gradients(one: ClipRecipe) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
    """Losses and gradients of the first step."""
    torch.manual_seed(0)
    model = one.build().train()
    losses = one.step(model, one.batch(0, seeded(0)))
    torch.stack(list(losses.values())).sum().backward()
    return losses, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_chunks_change_nothing_but_memory(loss: Any) -> None:
    given = {"objective": Objective(loss=loss, cyclip_in_modal=0.25), "teacher": letters}
    whole, parts = gradients(recipe(**given)), gradients(recipe(**given, chunk=2))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    assert {"logit_scale", "imitate.weight"} <= whole[1].keys()


def test_chunks_of_a_resnet_learn_and_count_a_batch_once() -> None:
    model, losses = trained(recipe(RESNET, chunk=4), 60)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])
    assert int(model.visual.bn1.num_batches_tracked) == 2 * 60


@pytest.mark.parametrize(("config", "tower"), [(VIT, "text"), (RESNET, "image"), (VIT, "image")])
def test_a_locked_tower_stays_and_the_other_learns(config: dict[str, Any], tower: str) -> None:
    one = recipe(config, locked=(tower,))
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in one.build().state_dict().items()}
    model, _ = trained(one, 3)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    image = {name for name in before if name.startswith("visual.")}
    free = before.keys() - image if tower == "image" else image | {"logit_scale"}
    assert moved <= free, "also the figures of batch norms"
    assert {"logit_scale", "text_projection" if tower == "image" else "visual.proj"} <= moved
    if tower == "image":
        assert model.train().training
        assert not any(part.training for part in model.visual.modules())


def test_the_text_tower_comes_to_see_captions_as_its_teacher() -> None:
    captions = [caption for own in drawn().captions for caption in own]
    wanted = letters(captions)
    wanted = wanted @ wanted.T
    found = []
    for teacher in (letters, None):
        one = recipe(teacher=teacher, objective=Objective(teacher_weight=3))
        model, _ = trained(one, 60, 1e-3)
        with torch.no_grad():
            texts = nn.functional.normalize(model.encode_text(tokenize(captions, 12)), dim=1)
        found.append(np.corrcoef((texts @ texts.T).flatten(), wanted.flatten())[0, 1])
        assert type(one.export(model)) is CLIP
    assert found[0] > found[1] + 0.1
    assert found[0] > 0.85


def test_the_vectors_of_captions_come_near_to_the_teachers() -> None:
    one = recipe(teacher=letters)
    torch.manual_seed(0)
    fresh = one.build()
    model, _ = trained(one, 60, 1e-3)
    batch = one.batch(0, seeded(0))
    before, after = (one.step(each, batch)["teacher"].item() for each in (fresh, model))
    assert before > 0.5
    assert after < 0.25
    doubled = recipe(teacher=letters, objective=Objective(teacher_weight=2))
    assert doubled.step(model, batch)["teacher"].item() == pytest.approx(2 * after)


def test_the_teacher_reads_each_caption_once_and_batches_carry_its_vectors() -> None:
    read: list[str] = []

    def teacher(captions: Sequence[str]) -> Tensor:
        read.extend(captions)
        return letters(captions)

    one = recipe(teacher=teacher)
    assert sorted(read) == sorted(caption for own in drawn().captions for caption in own)
    batch = one.batch(0, seeded(3))
    texts = [one._distinct()[number] for number in batch["caption"]]
    assert all(torch.equal(row, tokenize(text, 12)[0]) for row, text in zip(batch["tokens"], texts))
    torch.testing.assert_close(batch["teacher"], letters(texts), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"i2t_weight": 1.5}, r"1\.5"),
        ({"loss": "triplet"}, "triplet"),
        ({"cyclip_in_modal": -1}, "below 0"),
        ({"teacher_weight": math.nan}, "below 0"),
        ({"loss": "siglip", "i2t_weight": 0.4}, "no directions"),
        ({"loss": "siglip", "gather_with_grad": False}, "SigLIP needs gradients"),
        ({"all_negatives": False, "local_loss": False}, "nothing is gathered"),
        ({"all_negatives": False, "gather_with_grad": False}, "nothing is gathered"),
    ],
)
def test_objectives_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Objective(**options)


def test_the_same_seeds_give_the_same_weights() -> None:
    (first, _), (again, _) = trained(recipe(), 3), trained(recipe(), 3)
    other, _ = trained(recipe(seed=1, batch_size=4), 3)
    weights = [list(model.parameters()) for model in (first, again, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1]))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2]))


def test_batches_come_from_place_and_generator_alone() -> None:
    one = recipe(batch_size=4)
    first = one.batch(4, seeded(1))
    torch.manual_seed(99)
    again, redrawn = one.batch(4, seeded(1)), one.batch(4, seeded(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert first["picture"].tolist() == redrawn["picture"].tolist() == rows_at(8, 4, 4, 0).tolist()
    assert not torch.equal(first["images"], redrawn["images"])
    epochs = [torch.cat([one.batch(start + i, seeded(0))["picture"] for i in (0, 4)]) for start in (0, 8)]
    assert all(sorted(epoch.tolist()) == list(range(8)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_captions_are_drawn_anew_and_cut_to_the_context() -> None:
    data = dataclasses.replace(drawn(), captions=tuple((*own, "word " * 40) for own in drawn().captions))
    one = ClipRecipe(data, data, VIT, batch_size=8)
    drawn_rows = [one.batch(0, seeded(seed))["tokens"] for seed in range(12)]
    allowed = {tuple(tokenize(caption, 12, truncate=True)[0].tolist()) for own in data.captions for caption in own}
    seen = {tuple(row.tolist()) for rows in drawn_rows for row in rows}
    assert seen == allowed
    assert all(rows.shape == (8, 12) for rows in drawn_rows)


def embeddings(count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    a, b = torch.randn(2, count, 8)
    return nn.functional.normalize(a, dim=1), nn.functional.normalize(b, dim=1)


class Fixed(nn.Module):
    """Stands for a network: gives embeddings that are known."""

    def __init__(self, count: int):
        super().__init__()
        self.a, self.b = embeddings(count)

    def forward(self, images: Tensor, tokens: Tensor, chunk: int | None) -> Embedded:
        return Embedded(self.a, self.b, torch.tensor(math.log(7.0)))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_with_unique_captions_it_is_the_plain_loss(weight: float) -> None:
    one = recipe(objective=Objective(i2t_weight=weight))
    a, b = embeddings(8)
    ours = sum(one.step(Fixed(8), one.batch(0, seeded(0))).values())
    plain = contrastive_loss(a, b, torch.tensor(math.log(7.0)), weight)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(multi_positive(7 * a @ b.T, torch.eye(8), weight), plain)


def test_equal_captions_and_repeated_pictures_share_the_target() -> None:
    captions = (("a fox",), ("A  FOX",), ("a cat",))
    data = DataSet(drawn().images[:3], ("a", "b", "c"), captions)
    one = ClipRecipe(data, data, VIT, batch_size=4)
    batch = one.batch(0, seeded(0))
    rows = batch["picture"]
    fox = rows < 2
    right = fox[:, None] & fox[None] | (rows[:, None] == rows[None])
    assert right.sum() > 4
    a, b = embeddings(4)
    expected = multi_positive(7 * a @ b.T, right)
    torch.testing.assert_close(sum(one.step(Fixed(4), batch).values()), expected)
    assert not torch.isclose(expected, contrastive_loss(a, b, torch.tensor(math.log(7.0))))


def test_the_temperature_starts_where_clip_starts_and_stays_in_bounds() -> None:
    one = recipe()
    model = one.build()
    scale = model.logit_scale
    assert isinstance(scale, Tensor)
    assert scale.item() == pytest.approx(math.log(1 / 0.07))
    for set_to, kept in ((9.0, math.log(100)), (-1.0, 0.0), (2.5, 2.5)):
        scale.data.fill_(set_to)
        one.project(model)
        assert scale.item() == pytest.approx(kept)
    output = model(torch.zeros(1, 3, 32, 32), tokenize("a fox", 12))
    assert output.logit_scale.item() == pytest.approx(2.5)


def test_what_is_trained_is_a_clip() -> None:
    model = recipe().build()
    assert isinstance(model, CLIP)
    loaded = clip_model.load(model.state_dict(), model.config)
    images, tokens = normalise(torch.rand(2, 3, 32, 32)), tokenize(["a fox", "a cat"], 12)
    with torch.no_grad():
        pictures, texts, scale, *_ = model(images, tokens)
        torch.testing.assert_close(scale.exp() * pictures @ texts.T, loaded(images, tokens)[0])


def test_crops_are_inside_and_move() -> None:
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64)
    cropped = random_crops(ramp, 0.81, seeded(0))
    left, right = cropped[:, 0, 32, 2], cropped[:, 0, 32, -3]
    side = (right - left) / (ramp[0, 0, 0, -3] - ramp[0, 0, 0, 2])
    assert 0.895 < side.min() < 0.93
    assert 0.97 < side.max() < 1.01
    assert left.std() > 0.01
    assert torch.equal(cropped, random_crops(ramp, 0.81, seeded(0)))
    whole = recipe(crop=1).batch(0, seeded(0))["images"][0]
    picture = torch.from_numpy(drawn().images[rows_at(8, 0, 1, 0)]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(whole, normalise(picture)[0])


def test_retrieval_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.2, 0.2, 0.2]])
    right = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 0]]).bool()
    figures = retrieval(scores, right, "n=3")
    assert figures == {
        "R@1[n=3]": pytest.approx(1 / 3),
        "R@5[n=3]": 1,
        "R@10[n=3]": 1,
        "median rank[n=3]": 2,
    }, "ranks 1, 2, and 3 for the one that scores all alike"


def test_figures_know_that_captions_can_be_shared() -> None:
    captions = (("a fox",), ("a fox", "red"), ("a cat",))
    data = DataSet(drawn().images[:3], ("a", "b", "c"), captions)
    one = ClipRecipe(data, data, VIT)
    figures = one.evaluate(one.build().eval())
    names = [f"{what}[{way},n=3,captions=3]" for way in ("text-to-image", "image-to-text")
             for what in ("R@1", "R@5", "R@10", "median rank")]  # fmt: skip
    assert list(figures) == names
    assert figures["R@5[text-to-image,n=3,captions=3]"] == 1


def test_samples_are_six_captions_with_their_best_pictures() -> None:
    one = recipe()
    sheet = one.samples(one.build().eval())
    assert sheet is not None
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 5 * 32 + 16
    assert sheet.shape[0] > 6 * (32 + 10)
    model, _ = trained(one, 60, 3e-4)
    again = one.samples(model)
    assert again is not None
    first = again[8 : 8 + 32, 8 : 8 + 32]  # the best picture for "a red disc"
    assert np.abs(first.astype(int) - drawn().images[0]).mean() < np.abs(first.astype(int) - drawn().images[4]).mean()


def test_without_withheld_pictures_there_is_nothing_to_tell() -> None:
    one = ClipRecipe(drawn(), drawn().select([]), VIT)
    assert one.evaluate(one.build()) == {}
    assert one.samples(one.build()) is None


def test_pictures_without_captions() -> None:
    some = dataclasses.replace(drawn(), captions=(("a fox",), (), *[("a cat",)] * 6))
    assert captioned(some).names == ("0", *"234567")
    labelled = dataclasses.replace(drawn(), captions=(), labels=np.arange(8) % 2, label_names=("sea_lion", "cat"))
    assert captioned(labelled).captions == (("sea lion",), ("cat",)) * 4
    with pytest.raises(BadInput, match="needs pictures with captions"):
        ClipRecipe(dataclasses.replace(drawn(), captions=()), drawn(), VIT)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crop": 0.0}, "crop"),
        ({"config": {**VIT, "image_resolution": 64}}, "64 x 64"),
        ({"chunk": 3}, "batch of 8 pairs cannot be cut into chunks of 3"),
        ({"chunk": 16}, "chunks of 16"),
        ({"locked": ("image", "text")}, "nothing is left to learn"),
        ({"locked": ("picture",)}, "Lock the image tower or the text tower"),
        ({"locked": ("text",), "teacher": letters}, "cannot imitate"),
    ],
)
def test_bad_input(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        recipe(**options)


def test_facts_tell_of_options_captions_and_data() -> None:
    facts = recipe().facts()
    assert json.loads(json.dumps(facts)) == facts
    for other in (recipe(crop=0.5), recipe(objective=Objective(i2t_weight=0.4)), recipe(RESNET), recipe(batch_size=2),
                  recipe(chunk=4), recipe(locked=("text",)), recipe(teacher=letters),
                  recipe(objective=Objective(cyclip_in_modal=0.25))):  # fmt: skip
        assert other.facts() != facts
    data = drawn()
    retold = dataclasses.replace(data, captions=(("other",), *data.captions[1:]))
    assert ClipRecipe(retold, data, VIT, batch_size=8).facts() != facts
