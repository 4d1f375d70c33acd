"""One command's flags, made from its `Options`: names, help, bounds and defaults come from the model's fields."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, CycloptsError, Group, Parameter, UnknownOptionError, UnusedCliTokensError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lienzo.core.errors import BadInput
from lienzo.core.options import Options
from lienzo.core.text import printable

Screen = dict[str, Any]

GROUPS = ("Data and run", "Parameters", "Training", "Screen")
"""Headings of the help, in this order; `Options` may name others, which come after them."""


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    default = field.get_default(call_default_factory=True)
    bounds = [
        f"{word} {getattr(m, name)}"
        for m in field.metadata
        for name, word in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        if hasattr(m, name)
    ]
    notes = []
    if default not in (PydanticUndefined, None, "", (), []):
        notes.append(f"default: {' '.join(map(str, default)) if isinstance(default, tuple) else default}")
    notes += bounds
    return text + (f" [{', '.join(notes)}]" if notes else "")


def _group(options: type[Options], name: str) -> Group:
    """The heading of a flag in the help: the `group` of the class that first has the field."""
    first = next(each for each in reversed(options.__mro__) if name in getattr(each, "__annotations__", {}))
    return _heading(first.__dict__.get("group", "Parameters"))


@cache
def _heading(name: str) -> Group:
    return Group(name, sort_key=GROUPS.index(name) if name in GROUPS else len(GROUPS))


def _parameters(options: type[Options]) -> Iterator[inspect.Parameter]:
    for name, field in options.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("hidden"):
            continue
        positional = isinstance(extra, dict) and bool(extra.get("positional"))
        kind = inspect.Parameter.POSITIONAL_ONLY if positional else inspect.Parameter.KEYWORD_ONLY
        many = positional and getattr(field.annotation, "__origin__", None) is tuple
        parameter = Parameter(
            name=f"--{extra['flag']}" if isinstance(extra, dict) and "flag" in extra else None,
            alias=str(extra["short"]) if isinstance(extra, dict) and "short" in extra else None,
            help=_help(field),
            show_default=False,
            negative=None,
            negative_iterable=(),
            consume_multiple=True,
            required=field.is_required(),
            group=_group(options, name),
        )
        if many:
            element = _unbounded(field.annotation.__args__[0])  # type: ignore[union-attr]
            yield inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL, annotation=Annotated[element, parameter])
            continue
        optional = _unbounded(field.annotation) | None
        yield inspect.Parameter(name, kind, default=None, annotation=Annotated[optional, parameter])


def _unbounded(annotation: Any) -> Any:
    """A type without the bounds of its elements: the options check them too, and say so in a sentence."""
    if get_origin(annotation) is Annotated:
        return _unbounded(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return tuple[tuple(map(_unbounded, get_args(annotation)))]  # type: ignore[misc]
    return annotation


def _flag(name: str, annotation: Any, default: Any, text: str, group: str) -> inspect.Parameter:
    """A keyword flag of the command line itself."""
    shown = Parameter(help=text, negative="", group=_heading(group), show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, shown]
    )


SCREEN = (
    _flag("json", bool, False, "Print one JSON line an event instead of bars.", "Screen"),
    _flag("quiet", bool, False, "Print results only.", "Screen"),
)


def build_app(name: str, line: str, options: type[Options], then: Callable[[Options, Screen], int]) -> App:
    """The command's own app: parses flags, validates them as `options`, calls `then(options, screen flags)`."""

    def command(*positional: Any, **flags: Any) -> int:
        screen = {key: flags.pop(key, False) for key in ("json", "quiet")}
        preset = flags.pop("preset", None)
        bound = command.__signature__.bind(*positional, **flags)  # type: ignore[attr-defined]
        given = {key: value for key, value in bound.arguments.items() if value is not None and value != ()}
        return then(options.make(preset, **given), screen)

    parameters = list(_parameters(options))
    order: dict[Any, int] = {inspect.Parameter.POSITIONAL_ONLY: 0, inspect.Parameter.VAR_POSITIONAL: 1}
    if options.presets:
        choices = Literal[tuple(options.presets)]  # type: ignore[valid-type]
        text = "A named set of options; single options win over it."
        parameters.insert(0, _flag("preset", choices | None, None, text, "Parameters"))
    parameters = sorted([*parameters, *SCREEN], key=lambda p: order.get(p.kind, 2))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(options) or line)
    app = App(
        name=f"lienzo {name}",
        help_format="plaintext",
        group_parameters=_heading("Parameters"),
        version_flags=[],
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app["--help"].group = _heading("Screen")
    app.default(command)
    return app


def _joined(app: App, arguments: list[str]) -> list[str]:
    """`--filter -x` as `--filter=-x` where the option takes one text and `-x` is no option, which only then is its
    value."""
    options = list(app.assemble_argument_collection())
    known = {name for option in options for name in option.names} | {*app.help_flags, "--"}
    texts = {
        name for option in options if option.hint in (str, str | None) for name in option.names if name.startswith("--")
    }
    joined: list[str] = []
    for place, given in enumerate(arguments):
        if given == "--":
            return [*joined, *arguments[place:]]
        value = given.startswith("-") and given.partition("=")[0] not in known
        if value and joined and joined[-1] in texts:
            joined[-1] += f"={given}"
        else:
            joined.append(given)
    return joined


def parse_and_run(app: App, arguments: list[str]) -> int:
    """Run the app; a wrong flag or value becomes one `BadInput` sentence."""
    try:
        result = app(_joined(app, arguments), exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        stray = " ".join(error.unused_tokens or ())
        raise BadInput(f"There is no place for '{stray}'; put a sentence in quotes.") from error
    except CycloptsError as error:
        text = " ".join(str(error).split())
        given = error.token.value or error.token.keyword or "" if isinstance(error, UnknownOptionError) else ""
        if " " in given:  # no option has a space in it
            shown = printable(given, 100)
            text = f"'{shown}' begins as options do; put it last, after --, or write --option='{shown}'"
        raise BadInput(text if text.endswith((".", "?")) else f"{text}.") from error
    return int(result or 0)
