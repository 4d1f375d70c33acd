from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.clip.aesthetic import AestheticHead
from lienzo.core.errors import BadInput
from lienzo.guidance import losses_aesthetic
from lienzo.guidance.guide import View, make_guide
from lienzo.guidance.losses_chosen import CHOSEN_LOSSES, Surroundings, chosen_loss
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.prompts import Prompt

PICTURES = torch.randn(3, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.6
OTHER = torch.rand(1, 3, 20, 14, generator=torch.Generator().manual_seed(1))


class MapPerceptor:
    """Embeds a picture as the means of its quarters; its maps are the picture and its edges at half the size."""

    size = 8

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.ones(len(texts), 12)

    def encode_image(self, picture: Tensor, sigma: Tensor | None = None) -> Tensor:
        return F.adaptive_avg_pool2d(picture, 2).flatten(1)

    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        return [pictures, F.avg_pool2d(pictures - pictures.roll(1, -1), 2)]


AROUND = Surroundings(OTHER * 2 - 1, lambda path: OTHER, [MapPerceptor()])
LINES = [
    "aesthetic; model=head.safetensors", "colourfulness", "colourfulness; amount=0", "contrast", "edge",
    "edge; colour=navy; thickness=0.3", "init", "init; by=pixels", "palette", "palette; colours=red->blue*5, white",
    "pigment", "pigment; colour=blue",
    "smoothness", "smoothness; kind=clipped; edge=1", "smoothness; kind=log; edge=0.1", 
    "style; picture=sea.png; points=5",
    "style; picture=sea.png; kind=gram", "symmetry", "symmetry; mirror=vertical", "symmetry; mirror=both",
    "symmetry; mirror=turn", "target; picture=sea.png", "target; picture=sea.png; by=features",
]  # fmt: skip


@pytest.fixture
def head(tmp_path, monkeypatch: pytest.MonkeyPatch) -> AestheticHead:
    torch.manual_seed(0)
    head = AestheticHead(12, (6, 4), (0.1, 0.0)).eval()
    monkeypatch.setattr(losses_aesthetic, "resolve", lambda name: name)
    monkeypatch.setattr(losses_aesthetic, "load_model", lambda path: head if "head" in path else torch.nn.Identity())
    return head


def test_every_loss_is_tested() -> None:
    assert {line.split(";")[0] for line in LINES} == set(CHOSEN_LOSSES)


@pytest.mark.parametrize("line", LINES)
def test_every_loss_conforms(head: AestheticHead, line: str) -> None:
    """Finite, one number a picture that does not depend on the others, with a gradient that lowers it."""
    name, loss, scale = chosen_loss(line, AROUND)
    assert name == line.split(";")[0]
    assert scale > 0
    x = PICTURES.clone().requires_grad_()
    values = loss(x)
    assert values.shape == (3,)
    assert values.isfinite().all()
    for i in range(3):
        torch.testing.assert_close(loss(PICTURES[i : i + 1])[0], values[i])
    (grad,) = torch.autograd.grad(values.sum(), x)
    assert grad.isfinite().all()
    assert (grad.flatten(1).norm(dim=1) > 0).all()
    assert (loss(PICTURES - 0.01 * grad / grad.norm()) < values).all()


@pytest.mark.parametrize("line", LINES)
def test_every_loss_is_finite_on_flat_pictures(head: AestheticHead, line: str) -> None:
    for value in (-1.0, 0.0, 1.0):
        x = torch.full((1, 3, 12, 16), value).requires_grad_()
        loss = chosen_loss(line, AROUND)[1](x)
        (grad,) = torch.autograd.grad(loss.sum(), x)
        assert loss.isfinite().all()
        assert grad.isfinite().all()


def value(line: str, x: Tensor) -> float:
    return float(chosen_loss(line, AROUND)[1](x)[0])


def test_losses_are_zero_where_they_should_be() -> None:
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(1, 3, 10, 10)
    assert value("palette; colours=red, blue", red) == 0
    assert value("palette; colours=blue", red) == pytest.approx(8 / 3)
    assert value("edge; colour=red", red) == 0
    framed = red.clone()
    framed[..., 2:-2, 2:-2] = 0.3
    assert value("edge; colour=red; thickness=0.2", framed) == 0
    assert value("edge; colour=red; thickness=0.3", framed) > 0
    assert value("smoothness", red) == 0
    assert value("pigment", red) == 0
    assert value("pigment", red - 0.2) == 0
    brown = torch.tensor([-0.2, -0.8, -0.9]).view(1, 3, 1, 1).expand(1, 3, 10, 10)
    assert value("pigment", brown) > 0.1
    assert value("pigment; colour=blue", brown) == 0
    assert value("pigment", torch.full((1, 3, 10, 10), -0.9)) == 0
    assert value("symmetry; mirror=both", red) == 0
    turned = torch.rand(1, 3, 6, 6)
    turned = turned + turned.flip(-1, -2)
    assert value("symmetry; mirror=turn", turned) == 0
    assert value("symmetry", turned) > 0
    there = F.interpolate(OTHER * 2 - 1, (12, 16), mode="bilinear", antialias=True)
    assert value("target; picture=sea.png", there) == 0
    assert value("init; by=features", there) == 0
    assert value("style; picture=sea.png; kind=gram", OTHER * 2 - 1) == pytest.approx(0, abs=1e-6)
    assert value("style; picture=sea.png; points=14", OTHER * 2 - 1) == pytest.approx(0, abs=2e-3)


def test_style_does_not_ask_what_is_where() -> None:
    """A mirrored picture has the style of the picture; other colours have not."""
    for kind in ("gram", "transport"):
        line = f"style; picture=sea.png; kind={kind}; points=10"
        same = value(line, (OTHER * 2 - 1).flip(-2))
        assert same < 0.1 * value(line, 1 - OTHER * OTHER * 2)


def test_colourfulness_is_that_of_the_paper() -> None:
    from lienzo.guidance.losses_tone import colourfulness

    half = torch.tensor([[1.0, -1, -1], [-1.0, -1, 1]]).T.reshape(1, 3, 1, 2)  # one red, one blue pixel
    across, along = torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0])
    spread = (across.var(correction=0) + along.var(correction=0)).sqrt()
    shift = (across.mean().square() + along.mean().square()).sqrt()
    torch.testing.assert_close(colourfulness(half)[0], spread + 0.3 * shift, rtol=1e-4, atol=1e-4)
    assert colourfulness(torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4))[0] < 1e-3


def test_edges_above_the_limit_are_left_alone_by_clipped_smoothness() -> None:
    x = torch.zeros(1, 3, 4, 4)
    x[..., 2:] = 1
    x.requires_grad_()
    (grad,) = torch.autograd.grad(chosen_loss("smoothness; kind=clipped", AROUND)[1](x).sum(), x)
    assert (grad == 0).all()


@pytest.mark.parametrize(
    ("line", "around", "said"),
    [
        ("palete", AROUND, "did you mean 'palette'"),
        ("palette; colors=red", AROUND, "settings: colours"),
        ("palette; colours=reddish", AROUND, "no colour 'reddish'"),
        ("palette; colours=red*3", AROUND, "cannot be read"),
        ("palette; colours=,", AROUND, "empty"),
        ("palette; colours=red->blue*200, red->blue*200", AROUND, "may be 256"),
        ("pigment; colour=mauve", AROUND, "there are red, orange"),
        ("edge; thickness=0.9", AROUND, "thickness"),
        ("palette:strong", AROUND, "write a number"),
        ("style", AROUND, "needs a picture"),
        ("init", Surroundings(), "there is none"),
        ("target; picture=sea.png", Surroundings(), "cannot be read here"),
        ("init", Surroundings(OTHER), "feature maps"),
        ("aesthetic", AROUND, "needs a head"),
        ("aesthetic; model=other", AROUND, "no aesthetic head"),
        ("aesthetic; model=head", Surroundings(), "here is no CLIP"),
    ],
)
def test_what_is_wrong_is_said(head: AestheticHead, line: str, around: Surroundings, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        chosen_loss(line, around)


def test_a_head_wants_the_clip_it_was_made_for(head: AestheticHead, perceptor) -> None:
    with pytest.raises(BadInput, match="embeddings of 12 numbers"):
        chosen_loss("aesthetic; model=head", Surroundings(perceptors=[type("Red", (), {"encode_text": 
            lambda self, texts: torch.zeros(1, 3)})()]))  # fmt: skip
    loss = chosen_loss("aesthetic; model=head", AROUND)[1]
    embeds = F.normalize(MapPerceptor().encode_image((PICTURES + 1) / 2), dim=-1)
    torch.testing.assert_close(loss(PICTURES), 1 - head(embeds)[:, 0] / 10)


def test_chosen_losses_pull_with_the_prompts(perceptor) -> None:
    """They add to the gradient, as strongly as their weight says, under names of their own."""
    base = {"cutouts": "whole", "skip_augs": True, "cutn_batches": 1, "range_scale": 0}

    def pull(*losses: str) -> tuple[Tensor, set[str]]:
        options = GuidanceOptions.make(**base, loss=losses)
        guide = make_guide(options, [[Prompt("red")]], [(perceptor, 1.0)])
        result = guide.pull(View(PICTURES, PICTURES))
        return result.picture, set(result.losses)

    plain, names = pull()
    assert names == {"prompts", "tv"}
    once, names = pull("symmetry")
    assert names == {"prompts", "tv", "symmetry"}
    assert (once - plain).abs().max() > 0
    torch.testing.assert_close(pull("symmetry:3")[0] - plain, 3 * (once - plain), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(pull("symmetry:-1")[0] - plain, plain - once, rtol=1e-3, atol=1e-4)
    _, names = pull("symmetry", "symmetry; mirror=vertical")
    assert names == {"prompts", "tv", "symmetry", "symmetry-2"}


def test_options_refuse_lines_that_cannot_be_read() -> None:
    with pytest.raises(BadInput, match="key=value"):
        GuidanceOptions.make(loss=("palette; red",))
