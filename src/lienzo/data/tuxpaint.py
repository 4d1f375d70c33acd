"""Tux Paint's rubber stamps: small drawings and cut-out photographs with a sentence in many languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lienzo.data.archives import read_package
from lienzo.data.records import Drawing
from lienzo.data.words import clean_name, concept_of, slug, unique

_ROOT = "usr/share/tuxpaint/stamps/"
_LINE = re.compile(r"^([a-z]{2})\.utf8=(.+)$", re.MULTILINE)
_VERB = re.compile(r"\s(?:is|are|lets|stands|means|carries|gets|was|has been|worn by|that can|called|also called)\s")
_TALK = re.compile(r"(?:remember|we|with|this|it's|because|important|give|another)\b", re.IGNORECASE)
_KINDS = {".png": "raster", ".svg": "svg"}


def stamp_captions(text: str) -> dict[str, str]:
    """The sentences of a stamp's ``.txt``: line 1 is English, ``es.utf8=...`` lines are the other languages."""
    captions = {language: line.strip() for language, line in _LINE.findall(text)}
    first = text.lstrip("\ufeff").split("\n", 1)[0].strip()
    return {"en": first} | {lang: captions[lang] for lang in ("es", "ru") if captions.get(lang)}


def tuxpaint_drawings(package: Path) -> Iterator[Drawing]:
    """All stamps with a caption, without letters, digits and money (the folder ``symbols``)."""
    files = dict(read_package(package, lambda name: name.startswith(_ROOT) and not name.endswith((".ogg", ".wav"))))
    for path, data in sorted(files.items()):
        place = PurePosixPath(path.removeprefix(_ROOT))
        text = files.get(str(PurePosixPath(path).with_suffix(".txt")))
        if place.suffix not in _KINDS or place.parts[0] == "symbols" or text is None:
            continue
        sentences = stamp_captions(text.decode("utf-8", "replace"))
        name = stamp_name(sentences["en"], place.stem)
        folders = [part.replace("_", " ") for part in reversed(place.parts[:-1])]
        captions = {
            language: unique([clean_name(_first(line), True), clean_name(line, True)])
            for language, line in sentences.items()
        }
        captions["en"] = unique([name, *captions["en"], *folders])
        yield Drawing(
            slug=slug("-".join((*place.parts[:-1], place.stem))),
            concept=concept_of(name),
            name=name,
            captions=captions,
            style="stamp",
            source="tuxpaint",
            licence="GPL-2.0-only",
            author="Tux Paint stamps contributors",
            data=data,
            kind=_KINDS[place.suffix],
        )


def stamp_name(sentence: str, stem: str) -> str:
    """What a stamp shows: the sentence up to its verb, or the file name where the sentence only talks about it."""
    name = _VERB.split(clean_name(_first(sentence), True), maxsplit=1)[0].strip(" ,;")
    if not name or _TALK.match(name):
        return clean_name(re.sub(r"[-_\d]+", " ", stem), True)
    return name


def _first(sentence: str) -> str:
    """The first sentence without what stands in brackets or after a dash."""
    sentence = re.split(r"(?<=[\w)])[.!?](?:\s|$)|[\u2028\n]", sentence, maxsplit=1)[0]
    return re.split(r"\s*\(|\s+[—–-]\s+|—", sentence, maxsplit=1)[0]
