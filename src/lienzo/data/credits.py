"""The page that says where the pictures come from, under which licence, and who drew them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lienzo.data.art_sources import SOURCES
from lienzo.data.packages import PACKAGES
from lienzo.data.records import Record


def credits_page(records: Sequence[Record], sources: Sequence[str]) -> str:
    """Markdown: per source its package, licences, number of pictures and authors."""
    lines = [
        "# Credits",
        "",
        "The pictures of this corpus were drawn by the people named here and are under the licences named here.",
        "They were rendered, cropped to what is drawn, centred on white and scaled; nothing else was changed.",
        "",
    ]
    for name in sources:
        chosen = [record for record in records if record.source == name]
        licences = Counter(record.licence for record in chosen)
        authors = Counter(record.author for record in chosen)
        package = PACKAGES[SOURCES[name].packages[0]]
        registry = "npm" if package.client == "npm" else "Debian"
        lines += [
            f"## {SOURCES[name].title}",
            "",
            f"* {len(chosen)} pictures, from the {registry} package `{package.name}` {package.version}",
            f"* licence: {', '.join(sorted(licences))}",
            f"* by: {', '.join(author for author, _ in authors.most_common())}",
            "",
        ]
    return "\n".join(lines)
