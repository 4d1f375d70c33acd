"""Tables of names: visible, lazy, extended by entry points, and helpful about wrong names."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from lienzo.core import tables
from lienzo.core.errors import BadInput
from lienzo.core.tables import Names

ROWS = {"euler": "math:e", "heun": "math:tau", "broken": "no_such_module_of_ours:x"}


@pytest.fixture
def names() -> Names:
    return Names("noise source", dict(ROWS))


def test_a_table_is_a_mapping(names: Names) -> None:
    assert names["euler"] == "math:e"
    assert list(names) == list(ROWS)
    assert len(names) == 3
    assert "heun" in names
    assert "hoin" not in names
    assert dict(names) == ROWS


def test_modules_are_imported_on_use_only(names: Names) -> None:
    assert "no_such_module_of_ours" not in sys.modules
    assert names["broken"] == "no_such_module_of_ours:x"
    with pytest.raises(ModuleNotFoundError):
        names.load("broken")
    assert names.load("euler") == pytest.approx(2.718281828)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("eulr", "There is no noise source 'eulr'; did you mean 'euler'?"),
        ("zzz", "There is no noise source 'zzz'; there are broken, euler, heun."),
    ],
)
def test_a_wrong_name_is_told_in_one_sentence(names: Names, given: str, sentence: str) -> None:
    for ask in (names.__getitem__, names.load):
        with pytest.raises(BadInput) as caught:
            ask(given)
        assert str(caught.value) == sentence


def test_other_packages_add_rows_but_replace_none(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[EntryPoint]:
        rows = {"theirs": "math:pi", "euler": "evil:replacement"}
        return [EntryPoint(name, value, group) for name, value in rows.items()] if group == GROUP else []

    monkeypatch.setattr(tables, "entry_points", points)
    assert names.load("theirs") == pytest.approx(3.14159265)
    assert names["euler"] == "math:e"
    assert set(names) == {*ROWS, "theirs"}
    assert "theirs" not in Names("another kind", {})


GROUP = "lienzo.noise_source"
