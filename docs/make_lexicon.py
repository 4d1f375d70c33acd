"""Write what of the lexicon is made: python docs/make_lexicon.py PACKAGES

Into src/lienzo/data go `lexicon_cldr.tsv`, names and keywords of emoji from Unicode's CLDR; `lexicon_english.txt`, the
Spanish words that are English words too; and `lexicon_licences.txt`, the notices of both sources. The packages are
fetched with npm and apt-get into the folder PACKAGES where they are not there. Run it again when `lexicon.tsv` has new
Spanish words.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lienzo.data
from lienzo.data.archives import read_package
from lienzo.data.cldr import LANGUAGES, cldr_rows, read_annotations, table_text
from lienzo.data.emojibase import Emojibase, read_emojibase
from lienzo.data.inflection import folded
from lienzo.data.lexicon_tables import ENGLISH, TABLES, open_lexicon
from lienzo.data.packages import PACKAGES, locate

HEADER = """Names and keywords of emoji, from the npm packages cldr-annotations-full and cldr-annotations-derived-full.
Copyright © 2004-2026 Unicode, Inc. Licence Unicode-3.0: see lexicon_licences.txt. Written by docs/make_lexicon.py.
English <tab> Spanish | Spanish <tab> Russian | Russian; "~" before words that count only where they are all that a
prompt says."""
NOT_SAID = ("flags", "component", "symbols", "")  # groups of emoji whose words are names, or no words


def english_words(base: Emojibase, words: Path) -> set[str]:
    """The 51,000 commonest English words, folded, and those of the names and tags of emoji."""
    found: set[str] = set()
    for _, content in read_package(words, lambda name: name == "usr/share/dict/american-english-small"):
        found |= set(map(folded, content.decode().split()))
    for emoji in base.by_hexcode.values():
        if emoji.group not in NOT_SAID:
            found |= {word for text in emoji.captions["en"] for word in folded(text).split()}
    return found


def notices(cldr: Path, words: Path) -> str:
    """The licences of both sources, as their packages bring them."""
    (licence,) = (content for _, content in read_package(cldr, lambda name: name == "LICENSE"))
    named = "usr/share/doc/wamerican-small/copyright"
    (copyright_,) = (content for _, content in read_package(words, lambda name: name == named))
    return (
        f"lexicon_cldr.tsv is made from Unicode's CLDR:\n\n{licence.decode()}\n\n"
        f"lexicon_english.txt was chosen with the help of SCOWL:\n\n{copyright_.decode()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    folder, data = parser.parse_args().packages, Path(lienzo.data.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    cldr, derived, words, emojibase = (
        locate(PACKAGES[name], folder) for name in ("cldr-annotations", "cldr-derived", "wamerican-small", "emojibase")
    )
    base = read_emojibase(emojibase)
    rows = cldr_rows({language: read_annotations((cldr, derived), language) for language in LANGUAGES}, base)
    (data / TABLES[1]).write_text(table_text(rows, HEADER), encoding="utf-8")
    both = sorted(open_lexicon("es").words.keys() & english_words(base, words))
    (data / ENGLISH).write_text("\n".join(both) + "\n", encoding="utf-8")
    (data / "lexicon_licences.txt").write_text(notices(cldr, words), encoding="utf-8")


if __name__ == "__main__":
    main()
