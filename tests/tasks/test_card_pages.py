from __future__ import annotations

import re

from card_entries import entry, real

from lienzo.tasks.card_file import COLUMN
from lienzo.tasks.card_pages import best_of, comparison_page, model_page, overview, shown


def test_the_best_of_a_column_knows_its_good_end():
    entries = [entry("a", fid=100.0, recall=0.5), entry("b", fid=105.0, recall=0.9), entry("c", fid=300.0)]
    assert best_of(COLUMN["fid"], entries) == {"a": "best", "b": "near"}
    assert best_of(COLUMN["recall"], entries) == {"b": "best"}
    assert best_of(COLUMN["fid"], entries[:1]) == {}


def test_equal_models_are_both_best():
    assert best_of(COLUMN["fid"], [entry("a", fid=1.0), entry("b", fid=1.0)]) == {"a": "best", "b": "best"}


def test_the_comparison_marks_the_best_and_shows_other_real_pictures():
    page = comparison_page(real(fid=7.0), [entry("a", fid=100.0), entry("b", fid=300.0)], plotted=True)
    assert "| [a](a.md) | **100** (90 to 110) |" in page
    assert "| [b](b.md) | 300 (270 to 330) |" in page
    assert "| *as many other real pictures* | 7 |" in page
    assert "](pareto.png)" in page
    assert "`fid[net=judge,n=100]`" in page
    assert "](pareto.png)" not in comparison_page(real(), [entry("a", fid=1.0)], plotted=False)


def test_a_page_has_facts_figures_with_protocols_and_the_command():
    page = model_page(entry("a", fid=100.0, seconds_1=0.25), real())
    assert "| FID (lower is better) | 100 | 90 to 110 | `fid[net=judge,n=100]` |" in page
    assert "| s/picture (lower is better) | 0.25 | 0.225 to 0.275 |" in page
    assert "not stated in the file" in page
    assert "```sh\nlienzo card a --real x\n```" in page


def test_foreign_text_brings_no_markup():
    hostile = entry("a", fid=1.0)
    facts = hostile.facts.model_copy(update={"title": "<script>[x](y)", "licence": "a|b\n# c"})
    page = model_page(hostile.model_copy(update={"facts": facts}), real())
    assert "<script>" not in re.sub(r"\\.", "", page)
    assert "a\\|b # c" in page


def test_values_as_people_read_them():
    assert shown("parameters", 7_947_000) == "7.95 M"
    assert shown("evaluations", 12.0) == "12"
    assert shown("fid", 1234.5) == "1234"
    assert shown("seconds_1", 0.035812) == "0.0358"


def test_the_screen_stars_the_best():
    table = overview([entry("a", fid=1.0, seconds_1=2.0), entry("b", fid=2.0, seconds_1=1.0)])
    assert table.columns == ("model", "FID ↓", "s/picture ↓")
    assert table.rows == (("a", "1*", "2"), ("b", "2", "1*"))
