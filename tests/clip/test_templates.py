"""Named templates and files of templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from lienzo.clip.templates import TEMPLATES, templates_of
from lienzo.core.errors import BadInput


def test_named_sets() -> None:
    assert len(TEMPLATES["imagenet"]) == len(set(TEMPLATES["imagenet"])) == 80
    assert len(TEMPLATES["simple"]) == 7
    assert {"a photo of a {}.", "the origami {}.", "itap of my {}.", "a {} in a video game."} <= {
        *TEMPLATES["imagenet"]
    }
    assert all("{}" in template for each in TEMPLATES.values() for template in each)
    assert templates_of("photo") == ("a photo of a {}.",)


def test_a_file_of_templates(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffa {} on a plate\n\n  the {}, seen from above \n")
    assert templates_of(str(path)) == ("a {} on a plate", "the {}, seen from above")
    path.write_text("a {}\nno place")
    with pytest.raises(BadInput, match=r"'no place' has no \{\}"):
        templates_of(str(path))
    path.write_text("\n\n")
    with pytest.raises(BadInput, match="has 0 templates"):
        templates_of(str(path))
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(BadInput, match="no text in UTF-8"):
        templates_of(str(path))
    path.write_bytes(b"{}" * (1 << 20))
    with pytest.raises(BadInput, match="longer than 1 MiB"):
        templates_of(str(path))
    with pytest.raises(BadInput, match="no templates 'photos'; choose plain, photo"):
        templates_of("photos")
