from lienzo.data.wesnoth import Unit, portrait_units, wesnoth_drawings

ARCHER = """
[unit_type]
    id=Elvish Archer
    name= _ "Elvish Archer"
    race=elf
    gender=male,female
    profile="portraits/elves/archer.png~RIGHT()"
    [attack]
        name=sword
        profile="portraits/not/this.png"
    [/attack]
    [female]
        name= _ "female^Elvish Archer"
        profile="portraits/elves/archer+female.png"
    [/female]
[/unit_type]
"""


def test_units_name_their_portraits() -> None:
    assert portrait_units(ARCHER) == {
        "portraits/elves/archer.png": Unit("elvish archer", "elf", "male"),
        "portraits/elves/archer+female.png": Unit("elvish archer", "elf", "female"),
    }


def test_broken_unit_files_give_nothing() -> None:
    for text in ("", "[/unit_type]", "[unit_type]\nprofile=portraits/a.png", "[female]\n[/female]\n]["):
        assert portrait_units(text) == {}


def test_portraits_and_landscapes_get_names_from_units_folders_and_files(tmp_path, make_deb) -> None:
    core = "usr/share/games/wesnoth/1.16/data/core/"
    files = {
        core + "units/elves/Archer.cfg": ARCHER.encode(),
        core + "images/portraits/elves/archer+female.png": b"1",
        core + "images/portraits/goblins/rouser-2.png": b"2",
        core + "images/portraits/undead/zombie-dwarf.png": b"3",
        core + "images/story/landscape-mountains-02.jpg": b"4",
        core + "images/units/elves/archer.png": b"sprite",
    }
    found = {drawing.slug: drawing for drawing in wesnoth_drawings(make_deb(tmp_path / "w.deb", files))}
    assert {slug: drawing.name for slug, drawing in found.items()} == {
        "elves-archer-female": "female elvish archer",
        "goblins-rouser-2": "goblin rouser",
        "undead-zombie-dwarf": "zombie dwarf",
        "story-landscape-mountains-02": "mountains landscape",
    }
    assert found["story-landscape-mountains-02"].fit == "fill"
    assert found["elves-archer-female"].licence == "GPL-2.0-or-later"
