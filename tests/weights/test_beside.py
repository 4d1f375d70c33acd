"""Settings beside weights are plain values: nothing runs, nothing grows, and what is broken is one sentence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lienzo.core.errors import BadWeights
from lienzo.weights.beside import read_json, read_yaml


def test_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    assert read_yaml(path) is None
    path.write_text("model:\n  n: [1, 2.5]  # why\n  s: 'été'\n  t: True\n  e: 1e-4\n", "utf-8")
    assert read_yaml(path) == {"model": {"n": [1, 2.5], "s": "été", "t": True, "e": "1e-4"}}
    path.write_text('{"a": 1}')
    assert read_json(path) == read_yaml(path) == {"a": 1}


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl"))
MERGES = "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [*{a}, *{a}]}}\n" for a, b in zip("abcdefghijk", "bcdefghijkl"))


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system ['touch {marker}']", "a: !!python/name:os.system", "a: !!python/module:os",
     "!!python/object/new:type {{args: [z, !!python/tuple [], {{extend: !!python/name:exec}}], listitems: \"1\"}}",
     LAUGHS.replace("{", "{{").replace("}", "}}"), MERGES.replace("{", "{{").replace("}", "}}"), "a: &a [*a]",
     "[" * 5000, "a: [", "a: b: c", "\x00", "a: !!timestamp x", "a: !!int ''", "a: !!bool x", "a: !!binary é",
     "? [1]\n: 2", "a: " + "9" * 6000, "%YAML 9.9\n---\na", "- a", "text", "", "1", "--- {{}}\n--- {{}}",
     "a: " + "x" * 70_000],
)  # fmt: skip
def test_hostile_files(tmp_path: Path, text: str) -> None:
    path, marker = tmp_path / "a.yaml", tmp_path / "ran"
    path.write_text(text.format(marker=marker))
    start = time.perf_counter()
    with pytest.raises(BadWeights, match=r"The file 'a.yaml' beside the weights is (no sound YAML|no table|far too)"):
        read_yaml(path)
    assert not marker.exists()
    assert time.perf_counter() - start < 5


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(BadWeights, match="no sound YAML"):
        read_yaml(path)
    with pytest.raises(BadWeights, match="no sound JSON"):
        read_json(path)
