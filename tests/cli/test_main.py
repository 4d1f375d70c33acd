"""The command line in one process: help, wrong input, JSON, and text that is only ever text."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from lienzo import __version__
from lienzo.cli import main as cli
from lienzo.cli.commands import COMMANDS, split_command
from lienzo.core.events import Event, Note, Progress
from lienzo.imaging.writing import save_picture
from lienzo.tasks.create import Create

FAST = ("--steps", "2", "--size", "16", "--seed", "3")
HOSTILE = "a \x1b[31mred\x1b[0m\x9b2J fox [bold]x[/] [/] :smiley: \u202ereversed\x07\r\nend"


def lienzo(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as leaving:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return int(leaving.value.code or 0), captured.out, captured.err


def harmless(text: str) -> bool:
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lienzo(capsys, *name.split(), "--help")
    assert (code, err) == (0, "")
    assert f"Usage: lienzo {name}" in out
    assert "Traceback" not in out
    assert harmless(out)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_option_with_a_sentence(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    monkeypatch.setenv("COLUMNS", "200")  # long names are broken at 80
    module, _, attribute = COMMANDS[name][0].partition(":")
    options = getattr(import_module(module), attribute)
    _, out, _ = lienzo(capsys, *name.split(), "--help")
    for field, info in options.model_fields.items():
        extra = info.json_schema_extra or {}
        assert (info.description or "").strip(), f"{field} has no docstring"
        flag = f"--{extra.get('flag', field.replace('_', '-'))}"
        if extra.get("hidden"):
            assert flag not in out
        else:
            assert (field.upper() if extra.get("positional") else flag) in out
    assert ("--preset" in out) == bool(options.presets)
    assert "--json" in out
    assert "--quiet" in out


def test_help_of_everything_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lienzo(capsys)
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    assert lienzo(capsys, "--help")[1] == out
    assert lienzo(capsys, "--version")[:2] == (0, f"{__version__}\n")
    code, out, _ = lienzo(capsys, "models")
    assert code == 0
    assert "models verify" in out
    assert "  create" not in out


def test_the_longest_verb_wins() -> None:
    assert split_command(["models", "show", "painter"]) == ("models show", ["painter"])
    assert split_command(["create", "models", "list"]) == ("create", ["models", "list"])
    assert split_command(["models"]) == (None, ["models"])
    assert split_command([]) == (None, [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["creat", "a fox"], "There is no command 'creat a fox'; did you mean 'create'?"),
        (["zzz"], "There is no command 'zzz'; see lienzo --help."),
        (["models", "zzz"], "did you mean 'models list'"),
        (["--zzz"], "There is no command '--zzz'"),
        (["create"], "PROMPT requires an argument"),
        (["create", "a fox", "--zzz"], "Unknown option: --zzz"),
        (["create", "--zzz"], "Unknown option: --zzz"),
        (["create", "--sed", "7", "a fox"], "Unknown option: --sed. Did you mean --seed?"),
        (["create", "a", "red", "fox"], "There is no place for 'red fox'; put a sentence in quotes."),
        (["create", "a fox", "--size"], "--size requires an argument"),
        (["create", "a fox", "--size", "big"], 'Invalid value for --size: unable to convert "big" into int.'),
        (["create", "a fox", "--size", "16", "--size", "17"], "--size specified multiple times"),
        (["create", "a fox", "--size", "5000"], "Option 'size' was 5000"),
        (["create", "a fox", "--n", "0"], "Option 'n' was 0; it should be greater than or equal to 1."),
        (["create", "a fox", "--preset", "zzz"], 'Choose from: "draft", "normal", "best"'),
        (["create", "a fox", "--mode", "zzz"], 'Invalid value "zzz" for --mode'),
        (["create", "a fox", "--relative-step", "1"], "Unknown option: --relative-step"),
        (["create", "a fox", "--cut-ic-pow", "__import__('os')"], "The schedule \"__import__('os')\" cannot be read"),
        (["create", ""], "say what to paint"),
        (["create", "a fox", "--model", "zzz"], "There is no model 'zzz'"),
        (["create", "a fox", "--sampler", "zzz", "--steps", "1"], "There is no sampler 'zzz'"),
        (["create", "a fox", "--out", "no/where.png"], "The folder 'no' does not exist"),
        (["create", "a fox", "--out", "a\n\x1b[31mb.gif"], "'a [31mb.gif' does not"),
        (["create", "x" * 3000], "string should have at most 2000 characters"),
        (["create", "a fox", "--init", "a\x1b[2J.png"], "The picture 'a[2J.png' does not exist."),
        (["upscale"], "PICTURES requires an argument"),
        (["upscale", "absent.png"], "The picture 'absent.png' does not exist."),
        (["show", "absent.png"], "The picture 'absent.png' does not exist."),
        (["reproduce", "absent.png"], "The picture 'absent.png' does not exist."),
        (["models", "show", "zzz"], "There is no model 'zzz'"),
        (["models", "convert", "absent.pt"], "The checkpoint 'absent.pt' does not exist."),
        (["models", "list", "zzz"], "There is no place for 'zzz'"),
        (["train", "bundled", "absent"], "holds no corpus"),
        (["train", "bundled", "absent", "--stage", "zzz"], "zzz"),
        (["data", "build", "art", "x", "--sources", "zzz"], "zzz"),
        (["--json", "create"], "There is no command"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = lienzo(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lienzo: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert sentence in err
    assert "http" not in err
    assert "Traceback" not in err
    assert harmless(err)
    assert os.listdir() == []


def test_errors_of_the_disk_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: object) -> Iterator[Event]:
        yield Note("begin")
        raise PermissionError(13, "Permission denied", "some\n\x1b[31mwhere")

    monkeypatch.setattr("lienzo.tasks.show.run", fails)
    code, _, err = lienzo(capsys, "show", "a.png", "--quiet")
    assert (code, err) == (2, "lienzo: Permission denied (some [31mwhere).\n")


def test_of_several_processes_each_says_which_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert lienzo(capsys, "zzz")[2].startswith("lienzo (process 1): There is no command 'zzz'")
    monkeypatch.setenv("RANK", "0")
    assert lienzo(capsys, "zzz")[2].startswith("lienzo: ")


def test_help_begins_with_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = lienzo(capsys, "train", "diffusion", "--help")
    headings = re.findall(r"╭─ ([\w ]+) ─", out)
    assert headings == ["Data and run", "Parameters", "Training", "Screen"]
    assert "(2000,)" not in out


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> Iterator[Event]:
        yield Note("begin")
        raise ZeroDivisionError

    monkeypatch.setattr("lienzo.tasks.show.run", fails)
    with pytest.raises(ZeroDivisionError):
        cli.main(["show", "a.png", "--quiet"])


def test_ctrl_c_closes_the_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    closed = []

    def work(_: object) -> Iterator[Event]:
        try:
            yield Progress("x", 1, 2)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    monkeypatch.setattr("lienzo.tasks.show.run", work)
    assert lienzo(capsys, "show", "a.png") == (130, "", "Cancelled.\n")
    assert closed == [True]


# JSON


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", HOSTILE, *FAST, "--n", "2", "--previews", "1"],
        ["create", "лиса, акварель", *FAST, "--clip-guidance", "0.2", "--cutn", "4"],
        ["models", "list"],
        ["models", "show", "painter"],
        ["models", "verify", "painter"],
    ],
)
def test_json_is_one_object_a_line_and_nothing_else(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lienzo(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    assert out.isascii()
    assert harmless(out)
    assert out.endswith("\n")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    events = [json.loads(line, parse_constant=refuse) for line in out.splitlines()]
    assert events
    assert all(event["event"] in KINDS for event in events)
    if arguments[0] == "create":
        pictures = [event for event in events if event["event"] == "picture"]
        assert [Path(p["path"]).exists() for p in pictures] == [True] * len(pictures)
        assert pictures[0]["recipe"]["prompt"] == arguments[1]


KINDS = {"progress", "preview", "picture", "metric", "checkpoint", "note", "table"}


def test_an_exact_reproduction_is_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Its PSNR is infinite, for which JSON has no word."""
    lienzo(capsys, "create", "a fox", *FAST, "--out", "a.png")
    code, out, _ = lienzo(capsys, "reproduce", "a.png", "--json")
    assert code == 0
    events = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in out.splitlines()]
    assert events[-2] == {"event": "metric", "name": "psnr", "value": None, "protocol": "rgb,8bit",
                          "images_seen": None, "interval": None}  # fmt: skip
    assert events[-1]["text"].startswith("Exact")


def test_json_of_wrong_input_leaves_standard_output_empty(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lienzo(capsys, "create", "a fox", "--sampler", "zzz", "--json")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


# What is shown


def test_a_picture_is_one_line_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    for screen in ([], ["--quiet"]):
        code, out, err = lienzo(capsys, "create", "a fox", *FAST, "--out", "a.png", *screen)
        assert (code, err) == (0, "")
        assert re.fullmatch(r"a\.png  \(seed 3, clip -?0\.\d{3}\)\n", out)


def test_quiet_prints_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lienzo(capsys, "create", "a fox, watercolor", *FAST, "--n", "2", "--quiet")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["picture-0.png", "picture-1.png"]
    loud = lienzo(capsys, "create", "a fox, watercolor", *FAST)[2]
    assert "filter over the finished picture" in loud


@pytest.mark.parametrize("screen", [(), ("--quiet",), ("--json",)])
def test_hostile_text_from_pictures_and_names_is_harmless(
    screen: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    name = "[red]a\x1b[31m :smiley:\n[bold].png"
    picture = Image.new("RGB", (16, 16))
    save_picture(picture, name, metadata={"prompt": HOSTILE, "[/]": "\x1b[2J"})
    code, out, err = lienzo(capsys, "show", name, *screen)
    assert (code, err) == (0, "")
    assert harmless(out)
    if not screen:
        assert "a [31mred[0m2J fox [bold]x[/] [/] :smiley: reversed  end" in out
    save_picture(picture, "[red]\x1b.png")
    code, out, err = lienzo(capsys, "show", "[red]\x1b.png", *screen)
    assert code == 0
    assert harmless(out + err)
    assert "carries no recipe" in out + err
    code, out, err = lienzo(capsys, "create", HOSTILE, *FAST, "--out", "[red]b\x1b[0m.png", *screen)
    assert code == 0
    assert harmless(out + err)


def test_tables_in_a_pipe_are_not_cut_at_a_width(capsys: pytest.CaptureFixture[str]) -> None:
    save_picture(Image.new("RGB", (16, 16)), "a.png", metadata={"prompt": "word " * 100})
    _, out, _ = lienzo(capsys, "show", "a.png")
    assert "word " * 99 in out


def test_presets_and_switches(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["create", "a fox", "--preset", "draft", "--size", "16", "--seed", "1", "--json"]

    def options(*more: str) -> dict[str, object]:
        lines = lienzo(capsys, *arguments, *more)[1].splitlines()
        return next(e["recipe"]["options"] for e in map(json.loads, lines) if e["event"] == "picture")

    assert (options()["steps"], options()["refine"]) == (Create.presets["draft"]["steps"], False)
    assert (options("--steps", "2", "--refine")["steps"], options("--refine")["refine"]) == (2, True)
    assert options("--clip", "guide", "judge")["clip"] == ["guide", "judge"]
    assert options("--clip", "guide", "--clip", "judge")["clip"] == ["guide", "judge"]
    code, *_ = lienzo(capsys, *arguments, "--no-overwrite")
    assert code == 2


def test_a_prompt_may_begin_with_a_dash_after_two(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lienzo(capsys, "create", *FAST, "--json", "--", "--a dashing fox")
    assert code == 0
    assert '"prompt": "--a dashing fox"' in out


def test_letters_that_the_output_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit) as leaving:
        cli.main(["create", "лиса", *FAST, "--out", "лиса.png", "--quiet"])
    assert leaving.value.code == 0
    assert written.getvalue().startswith(b"\\u043b\\u0438\\u0441\\u0430.png")


def test_a_closed_standard_output_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for screen in ("--json", "--quiet"):
        monkeypatch.setattr(sys, "stdout", None)
        with pytest.raises(SystemExit) as leaving:
            cli.main(["create", "a fox", *FAST, "--out", "a.png", screen])
        assert leaving.value.code == 0
    assert Path("a.png").exists()
