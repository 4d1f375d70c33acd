"""Which pictures are for training, validation and test: by concept, and near-duplicates always together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from lienzo.data.records import Record
from lienzo.data.words import family_of

SPLITS = ("train", "val", "test")
WITHHELD_PERCENT = 5
MIN_STYLES = 4


class Groups:
    """Union-find over names: `join` puts two into one group, `root` names a group by its smallest member."""

    def __init__(self, names: Iterable[str]):
        self.parent = {name: name for name in names}

    def root(self, name: str) -> str:
        """The smallest name in the group of `name`."""
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        """Make the groups of two names one."""
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low

    def members(self) -> dict[str, list[str]]:
        """Group root -> its names, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.parent):
            found[self.root(name)].append(name)
        return dict(found)


def percent_of(text: str) -> int:
    """A number 0-99 that only the text decides: SHA-256 mod 100."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100


def split_of(name: str) -> str:
    """The split of a name: 0-79 train, 80-89 val, 90-99 test."""
    place = percent_of(name)
    return "train" if place < 80 else "val" if place < 90 else "test"


def group_concepts(concepts: Iterable[str], alike: Iterable[tuple[str, str]]) -> Groups:
    """Concepts in groups that must not be parted: one family (`words.family_of`), or pictures that are `alike`."""
    groups = Groups(concepts)
    families: dict[str, str] = {}
    for concept in sorted(groups.parent):
        groups.join(concept, families.setdefault(family_of(concept), concept))
    for first, second in alike:
        groups.join(first, second)
    return groups


def withheld_pairs(records: Sequence[Record], emoji_sources: frozenset[str]) -> frozenset[tuple[str, str]]:
    """5 % of the (concept, style) pairs of concepts that exist in four or more permissive emoji styles."""
    styles: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.permissive and record.source in emoji_sources:
            styles[record.concept].add(record.style)
    return frozenset(
        (concept, style)
        for concept, found in styles.items()
        if len(found) >= MIN_STYLES
        for style in found
        if percent_of(f"{concept}|{style}") < WITHHELD_PERCENT
    )
