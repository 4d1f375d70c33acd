"""The CLIPs of a task: which networks are some, equal say, and a score that is a cosine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import openai_clip

from lienzo.clip.compact import CompactClip
from lienzo.clip.embedder import open_embedder
from lienzo.clip.siglip import SigLIP
from lienzo.core.errors import BadInput
from lienzo.tasks.perceptors import Judges, open_perceptors, perceptor_of
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve
from lienzo.weights.writing import write_tensors

CPU = torch.device("cpu")


def test_scores_are_mean_cosines() -> None:
    pictures = torch.rand(3, 3, 16, 16) * 2 - 1
    guide, judge, both = (open_perceptors(names, CPU) for names in (["guide"], ["judge"], ["guide", "judge"]))
    a, b, mean = (torch.tensor(judges.score(pictures, "a fox")) for judges in (guide, judge, both))
    assert torch.allclose(mean, (a + b) / 2, atol=1e-6)
    assert mean.abs().max() <= 1
    assert not torch.allclose(a, b, atol=1e-4)
    alone = [guide.score(picture[None], "a fox")[0] for picture in pictures]
    assert torch.allclose(torch.tensor(alone), a, atol=1e-5)


def test_the_score_is_that_of_the_network_itself() -> None:
    model, read = load_model(resolve("judge")), load_model(resolve("sentence"))
    pictures = torch.rand(2, 3, 16, 16)
    expected = model.encode_image(pictures) @ model.encode_text(read(["a fox"])).T  # type: ignore[operator]
    found = open_perceptors(["judge"], CPU).score(pictures * 2 - 1, "a fox")
    assert torch.allclose(torch.tensor(found), expected[:, 0], atol=1e-5)


def test_openai_clip_is_a_perceptor() -> None:
    judges = Judges([perceptor_of(openai_clip().eval(), "ViT", CPU)], CPU)
    scores = judges.score(torch.rand(2, 3, 40, 40) * 2 - 1, "a very long sentence " * 60)
    assert len(scores) == 2
    assert all(-1 <= score <= 1 for score in scores)


def test_a_siglip_is_a_perceptor_if_its_tokenizer_is_there(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    torch.manual_seed(0)
    model = SigLIP(
        image_resolution=16, vision_patch_size=8, vision_width=16, vision_layers=1, context_length=8, vocab_size=10,
        text_width=16, text_layers=1,
    ).eval()  # fmt: skip
    path = tmp_path / "model.safetensors"
    write_tensors(path, dict(model.state_dict()), {})
    with pytest.raises(BadInput, match=r"put tokenizer\.json or spiece\.model beside 'model\.safetensors'"):
        open_perceptors([str(path)], CPU)
    words = ["<pad>", "</s>", "<unk>", "a", "fox"]
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.save(str(tmp_path / "tokenizer.json"))
    judges, embedder = open_perceptors([str(path)], CPU), open_embedder(str(path))
    pictures = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    expected = embedder.pictures(pictures.numpy()) @ embedder.texts(["a fox"])[0]
    found = judges.score(pictures.permute(0, 3, 1, 2) / 127.5 - 1, "a fox")
    assert found == pytest.approx(expected.tolist(), abs=5e-3)  # the embedder computes in half precision where it can
    picture = torch.rand(1, 3, 24, 24, requires_grad=True)
    judges.perceptors[0].encode_image(picture).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().max() > 0


def test_what_is_no_clip() -> None:
    with pytest.raises(BadInput, match="'painter' is no CLIP; choose guide, judge, or a file of a CLIP"):
        open_perceptors(["painter"], CPU)
    with pytest.raises(BadInput, match="Name at least one CLIP"):
        open_perceptors([], CPU)


def test_a_noise_aware_clip_is_told_the_noise() -> None:
    torch.manual_seed(0)
    model = CompactClip(tower="basic", widths=(8, 16), depth=1, size=16, noise_aware=True).eval()
    for shift in model.noise.values():
        torch.nn.init.normal_(shift.linear.weight)  # type: ignore[union-attr, arg-type]
    perceptor = perceptor_of(model, "own", CPU)
    pictures, sigma = torch.rand(2, 3, 16, 16), torch.tensor([0.0, 2.0])
    told, untold = perceptor.encode_image(pictures, sigma), perceptor.encode_image(pictures)
    assert torch.allclose(told[0], untold[0], atol=1e-6)
    assert not torch.allclose(told[1], untold[1], atol=1e-3)
