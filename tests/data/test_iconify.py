import pytest

from lienzo.core.errors import BadInput
from lienzo.data.iconify import icons_of, read_icon_set, resolve, to_svg

SET = {
    "width": 48,
    "icons": {"sail": {"body": "<path d='M0 0'/>", "left": 3, "height": 20}, "dot": {"body": "<circle/>", "width": 8}},
    "aliases": {
        "boat": {"parent": "sail"},
        "ship": {"parent": "boat"},
        "boat-left": {"parent": "boat", "hFlip": True, "width": 30},
        "boat-right-again": {"parent": "boat-left", "hFlip": True},
        "boat-down": {"parent": "boat-left", "rotate": 3},
        "boat-up": {"parent": "boat-down", "rotate": 2},
        "lost": {"parent": "nowhere"},
        "ring": {"parent": "gnir"},
        "gnir": {"parent": "ring"},
    },
}


def test_numbers_are_the_icons_own_then_the_sets_then_sixteen() -> None:
    sail, dot = resolve(SET, "sail"), resolve(SET, "dot")
    assert (sail["left"], sail["top"], sail["width"], sail["height"]) == (3, 0, 48, 20)
    assert (dot["left"], dot["top"], dot["width"], dot["height"]) == (0, 0, 8, 16)


def test_an_alias_two_deep_has_the_body_and_its_nearest_values() -> None:
    assert resolve(SET, "ship")["body"] == SET["icons"]["sail"]["body"]
    twice = resolve(SET, "boat-right-again")
    assert twice["width"] == 30
    assert twice["height"] == 20


def test_flips_cancel_and_turns_add_up() -> None:
    assert resolve(SET, "boat-left")["hFlip"]
    assert not resolve(SET, "boat-right-again")["hFlip"]
    assert resolve(SET, "boat-down")["rotate"] == 3
    assert resolve(SET, "boat-up")["rotate"] == 1


@pytest.mark.parametrize("name", ["lost", "ring", "absent"])
def test_an_alias_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=name):
        resolve(SET, name)


def test_svg_flips_about_the_centre_and_a_quarter_turn_swaps_the_sides() -> None:
    assert to_svg(resolve(SET, "sail")).startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'viewBox="3 0 48 20"' in to_svg(resolve(SET, "sail"))
    assert "translate(18 10) scale(-1 1) translate(-18 -10)" in to_svg(resolve(SET, "boat-left"))
    turned = to_svg(resolve(SET, "boat-up"))
    assert 'viewBox="8 -5 20 30"' in turned
    assert "rotate(90 18 10)" in turned


def test_names_that_draw_the_same_are_one_icon_and_broken_aliases_are_passed_over() -> None:
    names = {icon.names for icon in icons_of(SET)}
    assert ("sail", "boat", "ship") in names
    assert {name for group in names for name in group}.isdisjoint({"lost", "ring", "gnir"})


def test_a_package_gives_its_licence_author_and_icons(tmp_path, make_npm, make_icon_set) -> None:
    path = make_npm(tmp_path / "set.tgz", make_icon_set({"a-cat": "<g/>"}))
    found = read_icon_set(path)
    assert (found.licence, found.author) == ("MIT", "A. Painter")
    assert [icon.names for icon in found.icons] == [("a-cat",)]
    with pytest.raises(BadInput, match=r"icons\.json"):
        read_icon_set(make_npm(tmp_path / "other.tgz", {"README.md": b"hello"}))
