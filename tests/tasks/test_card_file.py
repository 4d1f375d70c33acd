from __future__ import annotations

from pathlib import Path

import pytest
from card_entries import entry, real

from lienzo.core.errors import BadInput
from lienzo.metrics.protocol import Protocol, Score
from lienzo.tasks.card_file import (
    CardFile,
    as_figure,
    check_comparable,
    file_name,
    joined,
    read_card_file,
    write_card_file,
)


def test_a_card_is_read_as_it_was_written(tmp_path: Path):
    card = CardFile(version=1, made_with="lienzo 0", real=real(), models=(entry("a", fid=3.0), entry("b", fid=4.0)))
    write_card_file(tmp_path / "card.json", card)
    assert read_card_file(tmp_path / "card.json") == card


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "[" * 100_000])
def test_what_is_no_card_is_told(tmp_path: Path, text: str):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(BadInput, match=r"is not a card\.json"):
        read_card_file(tmp_path / "card.json")
    with pytest.raises(BadInput, match=r"is not a card\.json"):
        read_card_file(tmp_path / "none.json")


def test_a_newer_card_is_told(tmp_path: Path):
    (tmp_path / "card.json").write_text('{"version": 2}')
    with pytest.raises(BadInput, match="newer Lienzo"):
        read_card_file(tmp_path / "card.json")


@pytest.mark.parametrize(("label", "samples"), [("../a", ""), ("a/b", ""), ("a", "../a.png"), ("", "")])
def test_names_in_a_card_cannot_leave_the_folder(tmp_path: Path, label: str, samples: str):
    hostile = entry(label, fid=1.0).model_copy(update={"samples": samples})
    card = CardFile(version=1, made_with="lienzo 0", real=real(), models=(hostile,))
    write_card_file(tmp_path / "card.json", card)
    with pytest.raises(BadInput, match="cannot be a file's name"):
        read_card_file(tmp_path / "card.json")


def test_unequal_protocols_are_refused_by_name():
    check_comparable([entry("a", fid=1.0), entry("b", fid=2.0), entry("c", kid=2.0)])
    with pytest.raises(BadInput, match=r"'a' and 'b' .*n=100.*n=50"):
        check_comparable([entry("a", fid=1.0), entry("b", n=50, fid=2.0)])


def test_unequal_sentences_are_refused_but_classes_and_none_go_with_them():
    entries = [
        entry(label, fid=1.0).model_copy(update={"prompts": prompts})
        for label, prompts in (("a", "captions:1"), ("b", "none"), ("c", "classes:2"))
    ]
    check_comparable(entries)
    other = entry("d", fid=1.0).model_copy(update={"prompts": "file:1"})
    with pytest.raises(BadInput, match="different prompts"):
        check_comparable([*entries, other])


def test_a_model_replaces_its_own_figures_and_shares_no_label():
    old, new, other = entry("a", fid=1.0), entry("a", fid=2.0), entry("a", sha="f" * 64, fid=3.0)
    assert joined([old], new) == [new]
    entries = joined(joined([old], other), other)
    assert [each.label for each in entries] == ["a", "a-2"]
    assert [each.label for each in joined(entries, entry("a", sha="e" * 64))] == ["a", "a-2", "a-3"]


def test_further_fields_join_the_protocol():
    score = Score("fid", 2.0, Protocol.of("fid", {"net": "judge"}), (1.0, 3.0), ("few",))
    figure = as_figure(score, real="ab")
    assert figure.protocol == "fid[net=judge,real=ab]"
    assert (figure.value, figure.interval, figure.notes) == (2.0, (1.0, 3.0), ("few",))


def test_labels_become_file_names():
    assert file_name("my model/é.v1") == "my-model-.v1"
    assert file_name("../..") == "model"
