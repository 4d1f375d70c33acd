"""The sentence encoder: words, stable hashes, unit vectors that do not depend on neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lienzo.clip.sentence import MAX_WORDS, SentenceEncoder, detect, load, ngram_buckets, words_of
from lienzo.core.errors import BadWeights
from lienzo.weights.models import Card, load_model, save_model

TEXTS = ["a red fox", "", "!!! 🦊", "una raposa roja", "рыжая лиса", "x" * 500, " ".join(["word"] * 60)]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    torch.manual_seed(0)
    return SentenceEncoder(buckets=128, width=16, layers=1, heads=2, embed_dim=24).eval()


def test_words() -> None:
    assert words_of("A RED-Fox, niño Ёж!") == ["a", "red", "fox", "niño", "ёж"]
    assert words_of("ﬁne ８") == ["fine", "8"]
    assert words_of("...") == [""]
    assert len(words_of("a " * 99)) == MAX_WORDS


def test_hashes_are_frozen() -> None:
    """Another hash would make every trained encoder useless."""
    assert ngram_buckets("fox", 12288) == FROZEN["fox"]
    assert ngram_buckets("лиса", 12288) == FROZEN["лиса"]
    assert ngram_buckets("", 12288) == FROZEN[""]


def test_the_first_bucket_is_the_word_and_the_rest_its_letters() -> None:
    for word in ("fox", "watercolor", "ы", ""):
        first, *grams = ngram_buckets(word, 100)
        assert first < 50
        assert all(50 <= g < 100 for g in grams)
        assert len(grams) == len(set(grams))


def test_unit_vectors(encoder: SentenceEncoder) -> None:
    vectors = encoder(TEXTS)
    assert vectors.shape == (len(TEXTS), 24)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-5)


def test_a_text_is_the_same_alone_or_in_a_batch(encoder: SentenceEncoder) -> None:
    together = encoder(TEXTS)
    alone = torch.cat([encoder([text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.allclose(together[0], together[3], atol=1e-2)


def test_case_and_spaces_do_not_matter_but_words_and_order_do(encoder: SentenceEncoder) -> None:
    a, b, c, d = encoder(["a red fox", " A  RED fox.", "a red cat", "fox red a"])
    assert torch.equal(a, b)
    assert not torch.allclose(a, c, atol=1e-3)
    assert not torch.allclose(a, d, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_any_texts(texts: list[str]) -> None:
    model = SentenceEncoder(buckets=64, width=8, layers=1, heads=1, embed_dim=4).eval()
    assert model(texts).isfinite().all()


def test_saved_and_loaded(encoder: SentenceEncoder, tmp_path: Path) -> None:
    path = tmp_path / "sentence.safetensors"
    save_model(path, "sentence", encoder.config, encoder.state_dict(), Card(title="t", licence="CC0-1.0"))
    loaded = load_model(path)
    assert torch.allclose(loaded(TEXTS), encoder(TEXTS), atol=1e-6)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_detect_and_wrong_weights(encoder: SentenceEncoder) -> None:
    state = encoder.state_dict()
    assert detect(state)
    assert not detect({"project.weight": torch.zeros(1)})
    with pytest.raises(BadWeights, match=r"a sentence encoder: 'positions' is missing"):
        load({key: value for key, value in state.items() if key != "positions"}, encoder.config)
    with pytest.raises(BadWeights, match="has shape"):
        load(state, {**encoder.config, "buckets": 64})


FROZEN: dict[str, tuple[int, ...]] = {
    "fox": (4109, 6374, 7563, 9486, 10253, 10737, 11098),
    "лиса": (4801, 7180, 7181, 7817, 8065, 9387, 9391, 11347, 11447, 11600),
    "": (5803,),
}
