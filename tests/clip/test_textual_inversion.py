"""Learned words: every public layout is the same word, their vectors stand where the word does, faults are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lienzo.clip.long_prompts import chunks, encode_prompts
from lienzo.clip.textual_inversion import Embedding, learn, read_embedding, tokens_of
from lienzo.clip.tokenizer import encode
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadInput, BadWeights

FIRST = 49408  # the id after those of CLIP


@pytest.fixture
def tower() -> TextTower:
    torch.manual_seed(0)
    return TextTower(width=16, layers=2, heads=2).eval().requires_grad_(False)


def vectors(count: int = 2, width: int = 16) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


def webui(value: Any, **more: Any) -> dict[str, Any]:
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": value}, "step": 5000, **more}


def saved(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cat-toy.pt", webui(vectors(), name="toy"), ("cat-toy", "toy")),
        ("toy.pt", webui(vectors().half(), name="TOY", optimizer_state_dict={"x": torch.randn(99, 99)}), ("toy",)),
        ("paper.pt", webui(nn.Parameter(vectors())), ("paper",)),
        ("paper2.pt", {**webui(0), "string_to_param": nn.ParameterDict({"*": nn.Parameter(vectors())})}, ("paper2",)),
        ("learned_embeds.bin", {"<cat  toy>": vectors()}, ("learned_embeds", "<cat toy>")),
        ("kohya.safetensors", {"emb_params": vectors().bfloat16()}, ("kohya",)),
        ("my.v2.safetensors", {"<toy>": vectors()}, ("my.v2", "<toy>")),
    ],
)
def test_every_layout(tmp_path: Path, name: str, content: Any, words: tuple[str, ...]) -> None:
    path = saved(tmp_path / name, content)
    found = read_embedding(path)
    assert found.words == words
    assert found.vectors.dtype == torch.float32
    assert torch.allclose(found.vectors, vectors(), atol=2e-2)
    assert read_embedding(path, "my  Word").words == ("my Word",)


def test_one_vector_has_one_axis(tmp_path: Path) -> None:
    found = read_embedding(saved(tmp_path / "a.bin", {"<a>": vectors(1)[0]}))
    assert torch.equal(found.vectors, vectors(1))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.pt", {"clip_l": vectors(1, 768), "clip_g": vectors(1, 1280)}, "Stable Diffusion XL or 3"),
        ("a.safetensors", {"clip_g": vectors(1, 1280)}, "Stable Diffusion XL or 3"),
        ("a.safetensors", {"lora_unet_x.lora_up.weight": vectors()}, "give it with --lora"),
        ("a.bin", {"<a>": vectors(), "<b>": vectors()}, "it has 2 tensors"),
        ("a.safetensors", {}, "it has 0 tensors|holds no tensors"),
        ("a.pt", {"step": 3}, "holds no tensors"),
        ("a.pt", webui(torch.zeros(2, 3, 4)), r"has the shape \(2, 3, 4\)"),
        ("a.pt", webui(torch.zeros(2, 16, dtype=torch.long)), "is no embedding"),
        ("a.bin", {"<a>": torch.zeros(0, 16)}, "is no embedding"),
        ("a.bin", {"<a>": torch.full((16,), torch.nan)}, "not finite"),
        ("a.bin", {"<a>": torch.full((16,), torch.inf).half()}, "not finite"),
    ],
)
def test_what_is_no_embedding(tmp_path: Path, name: str, content: Any, sentence: str) -> None:
    path = saved(tmp_path / name, content)
    with pytest.raises(BadWeights, match=sentence):
        read_embedding(path)


class Runs:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))


def test_nothing_in_a_file_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    kept = saved(tmp_path / "beside.pt", webui(vectors(), name=Runs(marker)))
    assert torch.equal(read_embedding(kept).vectors, vectors())  # a foreign object beside them is left aside
    for name, content in {"within.pt": webui(Runs(marker)), "word.bin": {Runs(marker): vectors()}}.items():
        with pytest.raises(BadWeights):
            read_embedding(saved(tmp_path / name, content))
    assert not marker.exists()
    torch.load(tmp_path / "beside.pt", weights_only=False)  # a careless reader runs it
    assert marker.exists()


def test_a_word_takes_the_place_of_its_vectors(tower: TextTower) -> None:
    """Learned from the rows of other words, it says the same as they do."""
    rows = tower.token_embedding.weight[encode("red fox")].clone()
    prompts = ["a red fox, snow", "a (red fox:1.4) in (snow:0.5)", "red fox " * 40, "fog"]
    expected = encode_prompts(tower, prompts)
    words = learn(tower, [Embedding(("<renard>", "Renard"), rows)])
    assert words == {"<renard>": (FIRST, FIRST + 1), "Renard": (FIRST, FIRST + 1)}
    assert tower.config["vocab_size"] == FIRST + 2 == len(tower.token_embedding.weight)
    said = ["a renard, snow", "a (<RENARD>:1.4) in (snow:0.5)", "Renard " * 40, "fog"]
    found = encode_prompts(tower, said, words=words)
    short = [0, 1, 3]
    assert torch.equal(found[short], expected[short])
    # 75 tokens end within a word, which stays whole: 37 of two tokens, then three
    assert [len(chunk.ids) for chunk in chunks(said[2], words=words)] == [74, 6]
    assert torch.equal(encode_prompts(tower, prompts), expected)


def test_vectors_count_as_tokens_and_stay_together() -> None:
    words = {"big": tuple(range(FIRST, FIRST + 70)), "whole": tuple(range(FIRST, FIRST + 75))}
    assert [len(each.ids) for each in chunks("a fox in the snow big", words=words)] == [75]
    assert [len(each.ids) for each in chunks("a fox in the snow now big", words=words)] == [6, 70]
    assert [len(each.ids) for each in chunks("a fox, in the snow now big", words=words)] == [3, 74]
    assert [len(each.ids) for each in chunks("whole whole, a", words=words)] == [75, 75, 2]
    (found,) = chunks("a (big:1.5)", words=words)
    assert found.weights == (1.0, *[1.5] * 70)
    (plain,) = chunks("(big)", words=words, weighted=False)
    assert FIRST in plain.ids


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("bad-hands-5", [(1,)]),
        ("BAD-Hands-5,dog", [(1,), *((each,) for each in encode(", dog"))]),
        ("bad-hands-55", [(each,) for each in encode("bad-hands-55")]),
        ("xbad-hands-5", [(each,) for each in encode("xbad-hands-5")]),
        ("bad-hands-5-neg", [(2, 3)]),
        ("<toy><toy>", [(4,), (4,)]),
        ("a<toy>b", [(encode("a")[0],), (4,), (encode("b")[0],)]),
        ("my \n style", [(5,)]),
        ("e\u0301te\u0301", [(6,)]),
        ("Ü", [(7,)]),
        ("", []),
    ],
)
def test_where_words_are_found(text: str, groups: list[tuple[int, ...]]) -> None:
    words = {"bad-hands-5": (1,), "bad-hands-5-neg": (2, 3), "<toy>": (4,), "my style": (5,), "été": (6,), "ü": (7,)}
    assert list(tokens_of(text, words)) == groups


def test_without_words_a_text_is_that_of_the_tokenizer() -> None:
    for text in ("a red fox", "dot. dot", "ثعلب 😀", ""):
        assert list(tokens_of(text)) == list(tokens_of(text, {})) == [(each,) for each in encode(text)]


@pytest.mark.parametrize(
    ("embeddings", "sentence"),
    [
        ([Embedding(("a",), vectors(1)), Embedding(("b",), vectors(1, 768))],
         r"'b' has 768 numbers a vector \(Stable Diffusion 1\), and the text encoder of this model 16 numbers"),
        ([Embedding(("a",), vectors(1, 1024))], r"1024 numbers a vector \(Stable Diffusion 2\)"),
        ([Embedding(("a",), vectors(76))], "76 vectors, and a text encoder reads 75"),
        ([Embedding(("a", "Été"), vectors(1)), Embedding(("b", "e\u0301te\u0301"), vectors(1))],
         "Two embeddings are written '.*'; give one of them as FILE:WORD"),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(tower: TextTower, embeddings: list[Embedding], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        learn(tower, embeddings)
    assert len(tower.token_embedding.weight) == FIRST == tower.config["vocab_size"]
    assert learn(tower, []) == {}
