"""Protocols print, parse back, and refuse comparisons that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.errors import BadInput
from lienzo.metrics.protocol import Protocol, Score, comparable

CLEAN = Protocol.of("fid", {"net": "inception", "sha": "6726825d", "resize": "clean"}, {"n": 1000})


def test_prints_and_parses() -> None:
    assert str(CLEAN) == "fid[net=inception,sha=6726825d,resize=clean,n=1000]"
    assert Protocol.parse(str(CLEAN)) == CLEAN
    assert Protocol.parse(" mind[] ") == Protocol("mind")
    assert CLEAN["resize"] == "clean"
    assert CLEAN["colour"] is None


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True), st.text(max_size=20), max_size=5))
def test_any_values_survive(fields: dict[str, str]) -> None:
    protocol = Protocol.of("kid", fields)
    assert Protocol.parse(str(protocol)) == protocol


def test_equal_protocols_compare() -> None:
    comparable(CLEAN, Protocol.parse(str(CLEAN)))


def test_the_differing_fields_are_named() -> None:
    other = Protocol.of("fid", {"net": "inception", "sha": "6726825d", "resize": "tf"}, {"n": 1000, "ref": 500})
    with pytest.raises(BadInput) as caught:
        comparable(CLEAN, other)
    assert str(caught.value) == (
        "One fid was measured with resize=clean, no ref, the other with resize=tf, ref=500: they cannot be compared."
    )
    with pytest.raises(BadInput, match="'fid' and 'kid' are different metrics"):
        comparable(CLEAN, Protocol("kid", CLEAN.fields))


@pytest.mark.parametrize(
    "text", ["", "fid", "fid[net]", "fid[net=]", "fid[a=1,a=2]", "fid[a=1", "F ID[a=1]", "fid[a=b=c]"]
)
def test_other_texts_are_no_protocols(text: str) -> None:
    with pytest.raises(BadInput):
        Protocol.parse(text)


def test_a_score_says_its_protocol() -> None:
    assert str(Score("fid", 12.3456789, CLEAN)).endswith("resize=clean,n=1000] = 12.3457")
    assert str(Score("kid", 0.5, Protocol("kid"), (0.4, 0.6))) == "kid[] = 0.5 (0.4 to 0.6)"
