"""Groups of copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lienzo.core.events import Event, Progress
from lienzo.search import duplicates
from lienzo.search.duplicates import Group, Traits, duplicate_groups


def groups_of(traits: Traits) -> tuple[list[Group], list[Event]]:
    events: list[Event] = []

    def collected() -> Iterator[Event]:
        result.extend((yield from duplicate_groups(traits)))

    result: list[Group] = []
    events.extend(collected())
    return result, events


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def texture(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return small.repeat(8, 0).repeat(8, 1)


def test_the_same_file() -> None:
    groups, _ = groups_of(Traits(["a", "b", "a", "c", "b", "a"]))
    assert [(g.keep, [(c.row, c.how, c.score) for c in g.copies]) for g in groups] == [
        (0, [(2, "file", 1.0), (5, "file", 1.0)]),
        (1, [(4, "file", 1.0)]),
    ]
    assert groups_of(Traits(["a", "b"]))[0] == []
    assert groups_of(Traits([]))[0] == []


def test_the_same_look() -> None:
    first, other = texture(0), texture(1)
    noisy = np.clip(first.astype(int) + np.random.default_rng(2).integers(-6, 7, first.shape), 0, 255).astype(np.uint8)
    recoloured = first[..., ::-1]
    groups, _ = groups_of(Traits(list("abcd"), np.stack([first, other, noisy, recoloured])))
    assert [(g.keep, [(c.row, c.how) for c in g.copies]) for g in groups] == [(0, [(2, "look")])]
    assert groups[0].copies[0].score > 0.99


def test_a_group_is_a_star_and_no_chain() -> None:
    threshold = float(np.cos(np.radians(10.5)))
    groups, _ = groups_of(Traits(list("abcd"), vectors=at(0, 10, 20, 30), vector_threshold=threshold))
    assert [(g.keep, [c.row for c in g.copies]) for g in groups] == [(0, [1]), (2, [3])]


def test_copies_of_a_copy_come_along_and_the_best_come_first() -> None:
    vectors = at(0, 8, 8, 3, 90)
    groups, _ = groups_of(Traits(["a", "b", "b", "c", "d"], vectors=vectors, vector_threshold=0.98))
    assert [(g.keep, [(c.row, c.how) for c in g.copies]) for g in groups] == [
        (0, [(3, "clip"), (1, "clip"), (2, "clip")])
    ]


def test_zeros_are_like_nothing() -> None:
    groups, _ = groups_of(Traits(list("abc"), vectors=np.zeros((3, 2), np.float32), vector_threshold=0.1))
    assert groups == []


@pytest.mark.parametrize("block", [1, 3, 512])
def test_blocks_change_nothing_and_tell_of_progress(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((5, 16))
    vectors = centres[draw.integers(0, 5, 40)] + 0.05 * draw.standard_normal((40, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    traits = Traits([str(i) for i in range(40)], vectors=vectors, vector_threshold=0.9)
    whole, _ = groups_of(traits)
    assert len(whole) == 5
    # Few rows a block, or little room for the table of cosines of many pictures.
    monkeypatch.setattr(duplicates, *(("BLOCK", block) if block > 1 else ("ROOM", 40)))
    parts, events = groups_of(traits)
    assert len(events) == {1: 40, 3: 14, 512: 1}[block]
    assert [(g.keep, [c.row for c in g.copies]) for g in parts] == [(g.keep, [c.row for c in g.copies]) for g in whole]
    last = events[-1]
    assert isinstance(last, Progress)
    assert last.done == last.total == 40
