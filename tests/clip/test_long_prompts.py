"""Weights in brackets, prompts of any length, and the two conventions of weighting."""

from __future__ import annotations

import time

import pytest
import torch

from lienzo.clip.long_prompts import MAX_CHUNKS, Piece, chunks, encode_prompts, parse_weights
from lienzo.clip.tokenizer import END, START, encode, tokenize
from lienzo.clip.transformer import TextTower
from lienzo.core.errors import BadInput


@pytest.fixture(scope="module")
def tower() -> TextTower:
    torch.manual_seed(0)
    tower = TextTower(width=16, layers=3, heads=2).eval().requires_grad_(False)
    tower.ln_final.bias.fill_(0.3)  # a mean that is not zero
    return tower


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a red fox", [("a red fox", 1.0)]),
        ("a (red) fox", [("a ", 1.0), ("red", 1.1), (" fox", 1.0)]),
        ("((red))", [("red", 1.21)]),
        ("[red]", [("red", 1 / 1.1)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("( red : 0.5 )", [(" red ", 0.5)]),
        ("(red:-1)", [("red", -1.0)]),
        ("(red:.5)", [("red", 0.5)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        (r"a \(red\) \[fox\] \\", [("a (red) [fox] \\", 1.0)]),
        ("(to the end [of it", [("to the end ", 1.1), ("of it", 1.0)]),
        ("a) b] (c]d)", [("a) b] ", 1.0), ("c]d", 1.1)]),
        ("a:1.3) (b:c)", [("a:1.3) ", 1.0), ("b:c", 1.1)]),
        ("a BREAK BREAKFAST", [("a ", 1.0), (None, 1.0), (" BREAKFAST", 1.0)]),
        ("(😀:1.5) ثعلب", [("😀", 1.5), (" ثعلب", 1.0)]),
        ("", []),
        ("()", []),
    ],
)
def test_notation(prompt: str, pieces: list[tuple[str | None, float]]) -> None:
    found = parse_weights(prompt)
    assert [piece.text for piece in found] == [text for text, _ in pieces]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize("prompt", ["(a:11)", "(a:-10.5)", "(" * 30 + "a", "(a:9e)(b:99999999)"])
def test_weights_out_of_bounds(prompt: str) -> None:
    with pytest.raises(BadInput, match="weights are from -10 to 10"):
        parse_weights(prompt)


def test_hostile_prompts_take_no_time() -> None:
    start = time.perf_counter()
    for prompt in ("(" * 100_000, "(a" * 50_000, ":" + "1" * 99_999, "(:" + " " * 99_000, "[a]" * 30_000):
        try:
            parse_weights(prompt)
        except BadInput:
            continue
    with pytest.raises(BadInput, match="100001 characters"):
        parse_weights("a" * 100_001)
    with pytest.raises(BadInput, match="longer than 7500 tokens"):
        chunks("BREAK " * (MAX_CHUNKS + 1))
    assert time.perf_counter() - start < 10


def test_a_short_prompt_is_one_row_of_the_tokenizer(tower: TextTower) -> None:
    prompts = ["a red fox, watercolour", "", "😀 ثعلب أحمر שועל"]
    found = encode_prompts(tower, prompts)
    assert torch.equal(found, tower.text_states(tokenize(prompts, pad=END)))
    assert torch.equal(encode_prompts(tower, prompts, pad=0, skip=1), tower.text_states(tokenize(prompts), skip=1))


def test_a_long_prompt_is_several_rows(tower: TextTower) -> None:
    words = " ".join(["fox", "cat", "red", "tree"] * 500)
    ids = encode(words)
    parts = chunks(words)
    assert [i for part in parts for i in part.ids] == ids
    assert [len(part.ids) for part in parts] == [75] * 26 + [50]
    found = encode_prompts(tower, [words, "a dog"])
    assert found.shape == (2, 27 * 77, 16)
    second = torch.tensor([[START, *ids[75:150], END]])
    assert torch.allclose(found[:1, 77:154], tower.text_states(second), atol=1e-6)
    empty = tower.text_states(tokenize("", pad=END))
    assert torch.allclose(found[1:, 77:154], empty, atol=1e-6)


def test_a_full_chunk_ends_after_its_last_comma() -> None:
    prompt = "fox " * 60 + ", " + "cat " * 40
    assert [len(part.ids) for part in chunks(prompt)] == [61, 40]
    assert [len(part.ids) for part in chunks(prompt, backtrack=10)] == [75, 26]
    assert [len(part.ids) for part in chunks("fox " * 75 + ", cat")] == [75, 2]
    assert [len(part.ids) for part in chunks("a cat BREAK a dog")] == [2, 2]
    assert len(chunks("fox " * 75)) == 1
    assert [len(part.ids) for part in chunks("")] == [0]


def test_the_weights_follow_their_tokens() -> None:
    (found,) = chunks("a (red fox:1.5) and [cats]")
    assert found.ids == tuple(encode("a red fox and cats"))
    assert found.weights == pytest.approx((1.0, 1.5, 1.5, 1.0, 1 / 1.1))
    (plain,) = chunks("a (red)", weighted=False)
    assert plain.ids == tuple(encode("a (red)"))


def test_mean_keeps_the_mean_of_the_chunk(tower: TextTower) -> None:
    plain = encode_prompts(tower, ["a red fox"])
    found = encode_prompts(tower, ["a (red:1.5) fox"])
    assert found.mean() == pytest.approx(plain.mean().item(), rel=1e-4)
    scaled = plain.clone()
    scaled[:, 2] *= 1.5
    assert torch.allclose(found, scaled * (plain.mean() / scaled.mean()), atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_empty_moves_away_from_the_empty_prompt(tower: TextTower) -> None:
    plain, empty = encode_prompts(tower, ["a red fox", ""])
    found = encode_prompts(tower, ["a (red:1.5) fox"], weighting="empty")[0]
    wanted = plain.clone()
    wanted[2] = empty[2] + 1.5 * (plain[2] - empty[2])
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("weighting", ["mean", "empty"])
def test_a_prompt_is_the_same_alone_and_in_a_batch(tower: TextTower, weighting: str) -> None:
    prompts = ["a (red:1.5) fox", "a cat", "[a] dog"]
    together = encode_prompts(tower, prompts, weighting=weighting)  # type: ignore[arg-type]
    for row, prompt in enumerate(prompts):
        alone = encode_prompts(tower, [prompt], weighting=weighting)[0]  # type: ignore[arg-type]
        assert torch.allclose(together[row], alone, atol=1e-6)
    assert torch.allclose(together[1], encode_prompts(tower, ["a cat"])[0], atol=1e-6)


def test_extreme_weights_stay_finite() -> None:
    torch.manual_seed(0)
    tower = TextTower(width=16, layers=1, heads=2).eval().requires_grad_(False)  # the mean of its states is near 0
    for prompt in ("(fox:0)", "(fox:-10)", "(a red fox in the snow:10)"):
        found = encode_prompts(tower, [prompt])
        assert bool(torch.isfinite(found).all())
        assert found.abs().max() < 1000


def test_faults() -> None:
    tower = TextTower(width=16, layers=1, heads=2, context_length=2)
    with pytest.raises(BadInput, match="2 tokens"):
        encode_prompts(tower, ["a"])
    with pytest.raises(BadInput, match="mean, empty, none"):
        encode_prompts(tower, ["a"], weighting="half")  # type: ignore[arg-type]
    assert parse_weights("a (b)")[1] == Piece("b", 1.1)
