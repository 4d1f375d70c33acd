from dataclasses import replace

from lienzo.core.events import Progress
from lienzo.data.records import Drawing
from lienzo.data.rendering import read_rendered, render_source, with_unique_slugs


def drawing(slug: str, data: bytes = b"") -> Drawing:
    return Drawing(slug, slug, slug, {"en": [slug]}, "stamp", "tests", "MIT", "A. Painter", data, kind="raster")


def test_slugs_become_unique_even_beside_natural_numbers() -> None:
    slugs = [found.slug for found in with_unique_slugs(map(drawing, ["cat", "cat-2", "cat", "dog", "cat", "cat-2"]))]
    assert slugs == ["cat", "cat-2", "cat-3", "dog", "cat-4", "cat-2-2"]


def test_what_cannot_be_drawn_is_named_and_the_rest_is_staged_in_order(tmp_path, make_png) -> None:
    good = make_png(80, 60, (200, 0, 0, 255))
    chosen = [drawing("b", good), drawing("bad", b"junk"), replace(drawing("a", good), name="äöü")]
    events = list(render_source("tests", tmp_path / "tests.tar", chosen, workers=1))
    assert events[0] == Progress("tests", 3, 3, events[0].seconds, "picture")
    assert list(events[-1]) == ["bad"]
    found = list(read_rendered(tmp_path / "tests.tar"))
    assert [(record.key, record.name) for record, _ in found] == [("tests_b", "b"), ("tests_a", "äöü")]
    assert all(sorted(pictures) == [64, 128, 256] for _, pictures in found)
