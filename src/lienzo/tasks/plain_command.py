"""A task as a command with nothing but the standard library and pydantic: for machines without the command line's
packages. One JSON line an event; progress and running figures only now and then."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from lienzo.core.errors import LienzoError
from lienzo.core.events import Event, Metric, Preview, Progress, to_json
from lienzo.core.options import Options
from lienzo.core.text import printable

EVERY = 5.0  # seconds between two lines about the same thing
WRONG_INPUT, CANCELLED = 2, 130
Given = TypeVar("Given", bound=Options)


def run_plainly(options: type[Given], run: Callable[[Given], Iterator[Event]], arguments: Sequence[str]) -> int:
    """Parse `arguments` as fields of `options`, run the task, print its events; returns the exit code."""
    given = vars(_parser(options).parse_args(arguments))
    try:
        made = options.make(**{name: value for name, value in given.items() if value is not None})
        with closing(run(made)) as events:  # type: ignore[type-var]
            for event in thinned(events):
                sys.stdout.write(json.dumps(to_json(event), default=str) + "\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("Cancelled.\n")
        return CANCELLED
    except LienzoError as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return WRONG_INPUT
    return 0


def thinned(events: Iterator[Event]) -> Iterator[Event]:
    """The events without previews, and with one of each progress and each running figure in `EVERY` seconds."""
    shown: dict[str, float] = {}
    for event in events:
        if isinstance(event, Preview):
            continue
        if (isinstance(event, Progress) and event.done < event.total) or isinstance(event, Metric):
            name = event.stage if isinstance(event, Progress) else event.name
            if time.monotonic() - shown.get(name, float("-inf")) < EVERY:
                continue
            shown[name] = time.monotonic()
        yield event


def _parser(options: type[Options]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=options.__doc__)
    for name, field in options.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        text = (field.description or "").replace("%", "%%")
        if extra.get("positional"):
            parser.add_argument(name, help=text)
            continue
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, help=text)
        elif getattr(field.annotation, "__origin__", None) is tuple:
            parser.add_argument(flag, dest=name, nargs="+", help=text)
        else:
            parser.add_argument(flag, dest=name, help=text)
    return parser
