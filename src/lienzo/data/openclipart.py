"""The Open Clip Art Library as Debian packs it: the part that is drawings of things with an honest title."""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lienzo.data.archives import read_package
from lienzo.data.emojibase import Emojibase
from lienzo.data.records import Drawing
from lienzo.data.words import clean_name, concept_of, is_word, singular, slug, unique

_ROOT = "usr/share/openclipart/svg/"
MAX_SVG_BYTES = 1_500_000
MAX_ALIKE = 4
FOLDERS = (
    "animals buildings containers decorations education electronics food people plants recreation science tools "
    "transportation office computer/hardware geography/astronomy signs_and_symbols/weather signs_and_symbols/clocks "
    "unsorted"
).split()
_DROPPED_FOLDERS = (
    "recreation/games/cards recreation/games/dice people/smilies transportation/roadsigns recreation/games/sudoku "
    "unsorted/duplicates recreation/games/go"
).split()
_DROPPED_WORDS = re.compile(
    r"\b(?:theme|iconset|icons?|buttons?|smiley|smilies|emoticon|logo|sign|symbol|border|frame|pattern|template|card|"
    r"flag|map|diagram|submission|sibmission|illustration|blueprint|points of|untitled|test|clipart|clip art|svg|png|"
    r"version|remix|set|font|letter|alphabet|number|architetto|gramastar|banner|label|tag|sticker|badge|seal|"
    r"certificate)\b"
)


@dataclass(frozen=True, slots=True)
class ClipArt:
    """What an SVG says of itself inside its ``<cc:Work>`` block."""

    title: str
    keywords: tuple[str, ...]
    author: str
    public_domain: bool


def read_work(svg: str) -> ClipArt:
    """The title, keywords, author and dedication of a clip-art SVG; empty texts where it says nothing."""
    block = re.search(r"<(?:cc:)?Work\b.*?</(?:cc:)?Work>", svg, re.DOTALL)
    work = block[0] if block else ""
    agents = r"<(?:cc:)?Agent\b.*?</(?:cc:)?Agent>"
    creator = re.search(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>.*?</dc:creator>", work, re.DOTALL)
    title = re.search(r"<dc:title>(.*?)</dc:title>", re.sub(agents, "", work, flags=re.DOTALL), re.DOTALL)
    keywords = (_text(word) for word in re.findall(r"<rdf:li>(.*?)</rdf:li>", work, re.DOTALL))
    return ClipArt(
        title=_text(title[1]) if title else "",
        keywords=tuple(word for word in keywords if word and not word.lower().startswith("hash")),
        author=_person(_text(creator[1])) if creator else "",
        public_domain="PublicDomain" in svg or "publicdomain" in svg,
    )


def _text(raw: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", raw))).strip()


def _person(author: str) -> str:
    """A name without the addresses that people put behind it."""
    return re.sub(r"[\[(<]?\S+(?:@|://)\S+[\])>]?", "", author).strip(" ,;")


def thing_in(title: str) -> str:
    """The name of the thing in a title: no series prefix, serial numbers, colour notes or joined-up words.

    Example: ``"clipart by nicu buculei - book_01"`` gives ``"book"``, ``"leafRake"`` gives ``"leaf rake"``.
    """
    title = re.sub(r"^clip\s*art by [^-]+- *", "", title, flags=re.IGNORECASE)
    title = re.sub(r" - (?:body part|clothing)\b.*", "", title, flags=re.IGNORECASE)
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title)
    title = re.sub(r"[\d_]+|\((?:b and w|bw)[^)]*\)?|\bbw\b", " ", title, flags=re.IGNORECASE)
    return clean_name(re.sub(r"\s+", " ", title).strip(" -(").lower())


def openclipart_drawings(package: Path, base: Emojibase, vocabulary: Collection[str] = ()) -> Iterator[Drawing]:
    """Clip art of things: chosen folders, titles of at most five words, at most four of a title by one author.

    Args:
        vocabulary: known English words in the singular; when given, a title without any of them is dropped
            (many titles are in other languages or are names of no thing).
    """
    words = frozenset(vocabulary)
    seen: set[str] = set()
    alike: Counter[tuple[str, str]] = Counter()
    for path, data in sorted(read_package(package, _wanted)):
        digest = hashlib.sha256(data).hexdigest()
        work = read_work(data.decode("utf-8", "replace"))
        name = thing_in(work.title)
        if digest in seen or len(data) > MAX_SVG_BYTES or not work.public_domain or not names_a_thing(name, words):
            continue
        seen.add(digest)
        alike[work.author, concept_of(name)] += 1
        if alike[work.author, concept_of(name)] <= MAX_ALIKE:
            yield _drawing(PurePosixPath(path.removeprefix(_ROOT)), work, name, base, data)


def _drawing(place: PurePosixPath, work: ClipArt, name: str, base: Emojibase, data: bytes) -> Drawing:
    tags = [tag.lower() for tag in work.keywords if is_word(tag) and names_a_thing(tag, frozenset())]
    return Drawing(
        slug=slug("-".join((*place.parts[:-1], place.stem))),
        concept=concept_of(name),
        name=name,
        captions={"en": unique([name, *tags]), **base.translations(name)},
        style="clip art",
        source="openclipart",
        licence="LicenseRef-public-domain",
        author=work.author or "unknown",
        data=data,
    )


def _wanted(path: str) -> bool:
    place = path.removeprefix(_ROOT)
    inside = any(place.startswith(folder + "/") for folder in FOLDERS)
    return path.endswith(".svg") and inside and not any(place.startswith(f + "/") for f in _DROPPED_FOLDERS)


def names_a_thing(name: str, words: frozenset[str]) -> bool:
    """Is a title or keyword short, of letters, no word for a sign or a series, and (given words) English?"""
    letters = sum(char.isalpha() for char in name)
    parts = re.findall(r"[a-z]+", name.lower())
    if not 3 <= letters <= 40 or len(name.split()) > 5 or _DROPPED_WORDS.search(name.lower()):
        return False
    return not words or any(part in words or singular(part) in words for part in parts if len(part) > 2)
