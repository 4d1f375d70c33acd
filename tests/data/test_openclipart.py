import pytest

from lienzo.data.emojibase import Emojibase
from lienzo.data.openclipart import MAX_ALIKE, openclipart_drawings, read_work, thing_in

SVG = """<svg><dc:title>not this</dc:title><cc:Work rdf:about=""><dc:title>{title}</dc:title>
<dc:subject><rdf:Bag><rdf:li>HASH(0x87)</rdf:li><rdf:li>fruit</rdf:li><rdf:li>signs_and</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Publisher</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator></cc:Work>
<cc:license rdf:resource="http://web.resource.org/cc/{licence}"/>{body}</svg>"""
BASE = Emojibase({}, {}, frozenset())


def svg(title: str, author: str = "Ann Artist", licence: str = "PublicDomain", body: str = "") -> bytes:
    return SVG.format(title=title, author=author, licence=licence, body=body).encode()


def test_the_work_block_alone_is_read() -> None:
    work = read_work(svg("An &amp; Apple", "Jo [jo@example.org]").decode())
    assert (work.title, work.author, work.keywords, work.public_domain) == (
        "An & Apple",
        "Jo",
        ("fruit", "signs_and"),
        True,
    )
    assert read_work("<svg/>").title == ""


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("An Apple", "apple"),
        ("clipart by nicu buculei - book_01", "book"),
        ("leafRake", "leaf rake"),
        ("Ice Cream Cone (1 scoop) (b and w)", "ice cream cone ( scoop)"),
        ("hat - clothing 2", "hat"),
    ],
)
def test_the_thing_in_a_title(title: str, expected: str) -> None:
    assert thing_in(title) == expected


def names(tmp_path, make_deb, files: dict[str, bytes], words=()) -> list[str]:
    root = "usr/share/openclipart/svg/"
    path = make_deb(tmp_path / "o.deb", {root + name: content for name, content in files.items()})
    return [drawing.name for drawing in openclipart_drawings(path, BASE, words)]


def test_folders_licences_series_and_repeats(tmp_path, make_deb) -> None:
    files = {f"animals/fish{i:02}.svg": svg("fish", body=str(i)) for i in range(MAX_ALIKE + 3)}
    files |= {
        "food/apple.svg": svg("An Apple"),
        "food/again.svg": svg("An Apple"),
        "food/closed.svg": svg("pear", licence="GPL"),
        "food/series.svg": svg("food iconset"),
        "shapes/stars/star.svg": svg("star"),
        "people/smilies/s.svg": svg("happy person"),
        "animals/topo.svg": svg("topo"),
    }
    assert names(tmp_path, make_deb, files, {"fish", "apple", "pear", "food", "star", "happy"}) == [
        *["fish"] * MAX_ALIKE,
        "apple",
    ]
    assert "topo" in names(tmp_path, make_deb, files)
