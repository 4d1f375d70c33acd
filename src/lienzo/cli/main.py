"""Entry point: find the verb, read its flags, show its events, and say in one sentence what went wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module

from lienzo import __version__
from lienzo.cli.commands import COMMANDS, close_to, split_command
from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.text import printable

CANCELLED, WRONG_INPUT, BROKEN = 130, 2, 1


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with 0, 2 (wrong input, one sentence) or 130 (Ctrl-C)."""
    given = sys.argv[1:] if arguments is None else arguments
    _ready_output()
    try:
        code = dispatch(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)  # noqa: T201
        code = CANCELLED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that leaving can flush what is left
        code = BROKEN
    except LienzoError as error:
        complain(str(error))
        code = WRONG_INPUT
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        complain(f"{error.strerror or error}{where}.")
        code = WRONG_INPUT
    sys.exit(code)


def complain(sentence: str) -> None:
    """Say what is wrong; of several processes, which one says it."""
    rank = os.environ.get("RANK", "0")
    print(f"lienzo{'' if rank == '0' else f' (process {rank})'}: {printable(sentence)}", file=sys.stderr)  # noqa: T201


def _ready_output() -> None:
    """Let any text be printed: where the output is closed it goes nowhere; letters it lacks are escaped."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def dispatch(given: list[str]) -> int:
    """Find the command and run it."""
    if not given or given[0] in ("-h", "--help"):
        print_help(None)
        return 0
    if given[0] in ("-V", "--version"):
        print(__version__)  # noqa: T201
        return 0
    name, rest = split_command(given)
    if name is None:
        group = [command for command in COMMANDS if command.startswith(given[0] + " ")]
        if group and (len(given) == 1 or given[1] in ("-h", "--help")):
            print_help(given[0])
            return 0
        close = close_to(given[0])
        hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else "see lienzo --help."
        raise BadInput(f"There is no command '{' '.join(given[:2])}'; {hint}")
    return run_command(name, rest)


def run_command(name: str, rest: list[str]) -> int:
    """Parse the command's flags and run its task."""
    from lienzo.cli.flags import Screen, build_app, parse_and_run
    from lienzo.core.options import Options

    address, line = COMMANDS[name]
    module = import_module(address.partition(":")[0])
    options_class = getattr(module, address.partition(":")[2])

    def then(options: Options, screen: Screen) -> int:
        show(module.run(options), screen)
        return 0

    return parse_and_run(build_app(name, line, options_class, then), rest)


def show(events: Iterator, screen: dict) -> None:
    """Let the chosen display consume the events; closing them on Ctrl-C cancels the work."""
    from lienzo.cli.screen import Live, print_json, print_plain

    with closing(events):  # type: ignore[type-var]
        if os.environ.get("RANK", "0") != "0":  # one process of several speaks
            for _ in events:
                pass
        elif screen["json"]:
            print_json(events, sys.stdout)
        elif screen["quiet"]:
            print_plain(events, sys.stdout)
        else:
            Live()(events)


def print_help(group: str | None) -> None:
    """The verbs, a line each."""
    rows = {name: line for name, (_, line) in COMMANDS.items() if group is None or name.startswith(group + " ")}
    width = max(map(len, rows))
    lines = [
        "Lienzo: from a sentence to a picture.",
        "",
        'Usage: lienzo create "a red fox, watercolor" --out fox.png',
        "",
    ]
    lines += [f"  {name.ljust(width)}  {line}" for name, line in rows.items()]
    lines += ["", "lienzo COMMAND --help shows a command's options; lienzo --version the version."]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
