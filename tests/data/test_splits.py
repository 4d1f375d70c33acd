import hashlib

from lienzo.data.art_assembly import with_splits
from lienzo.data.records import Record
from lienzo.data.splits import Groups, group_concepts, split_of, withheld_pairs

STYLES = {"noto": "soft shaded", "twemoji": "simple", "fluent-emoji": "glossy 3d", "fluent-emoji-flat": "flat"}


def record(concept: str, source: str = "noto", permissive: bool = True) -> Record:
    style = STYLES.get(source, source)
    return Record(f"{source}_{concept}", concept, concept, {"en": [concept]}, style, source, "MIT", permissive, "x")


def test_splits_follow_the_hash_of_the_concept() -> None:
    for name in ("duck", "racing-car", "sailboat", "violin"):
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
        assert split_of(name) == ("train" if place < 80 else "val" if place < 90 else "test")
    counts = [split_of(f"thing-{i}") for i in range(4000)]
    assert 0.78 < counts.count("train") / 4000 < 0.82
    assert 0.085 < counts.count("val") / 4000 < 0.115


def test_groups_do_not_depend_on_the_order_of_joining() -> None:
    pairs = [("d", "b"), ("c", "d"), ("e", "f")]
    for order in (pairs, pairs[::-1]):
        groups = Groups("abcdef")
        for pair in order:
            groups.join(*pair)
        assert groups.members() == {"a": ["a"], "b": ["b", "c", "d"], "e": ["e", "f"]}


def test_look_alikes_and_families_never_lie_in_two_splits() -> None:
    concepts = [f"thing{i}" for i in range(300)] + ["man-pilot", "woman-pilot", "pilot", "one-oclock", "two-oclock"]
    alike = [(f"thing{i}", f"thing{(i * 7 + 1) % 300}") for i in range(0, 300, 3)]
    groups = group_concepts(concepts, alike)
    split = {concept: split_of(groups.root(concept)) for concept in concepts}
    assert all(split[first] == split[second] for first, second in alike)
    assert len({split[name] for name in ("man-pilot", "woman-pilot", "pilot")}) == 1
    assert split["one-oclock"] == split["two-oclock"]
    assert set(split.values()) == {"train", "val", "test"}
    assert any(split_of(first) != split_of(second) for first, second in alike)  # without grouping it would leak


def test_every_style_of_a_concept_is_in_its_split() -> None:
    records = [record(f"c{i}", source) for i in range(50) for source in STYLES]
    done = with_splits(records, {f"c{i}": split_of(f"c{i}") for i in range(50)})
    assert all(len({r.split for r in done if r.concept == f"c{i}"}) == 1 for i in range(50))


def test_withheld_pairs_are_about_five_percent_of_pairs_with_four_permissive_styles() -> None:
    full = [record(f"c{i}", source) for i in range(1000) for source in STYLES]
    few = [record(f"few{i}", source) for i in range(500) for source in list(STYLES)[:3]]
    unfree = [record(f"few{i}", "openmoji", permissive=False) for i in range(500)]
    pairs = withheld_pairs(full + few + unfree, frozenset({*STYLES, "openmoji"}))
    assert 150 < len(pairs) < 250
    assert all(concept.startswith("c") for concept, _ in pairs)
    marked = with_splits([*full, record("c1", "game-icons")], {f"c{i}": "train" for i in range(1000)})
    assert {(r.concept, r.style) for r in marked if r.withheld_pair} == pairs
