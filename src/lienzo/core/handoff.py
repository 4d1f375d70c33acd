"""Work that reports through a callback, as an iterator: it runs in a thread that sleeps while the caller is busy."""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Report = TypeVar("Report")
Result = TypeVar("Result")


class _Cancelled(BaseException):
    """Unwinds the work from inside its callback; no `except Exception` of a library holds it up."""


def reports(work: Callable[[Callable[[Report], None]], Result]) -> Generator[Report, None, Result]:
    """The reports of `work(report)`, and as the generator's return value its result.

    The two sides take turns: the work goes on only when the next report is asked for. Closing the generator raises
    inside the work's next call of `report` and waits for its thread to end. Errors of the work are raised here.
    """
    turns: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def report(value: Report) -> None:
        answers.put(("report", value))
        if not turns.get():
            raise _Cancelled

    def body() -> None:
        try:
            if turns.get():
                answers.put(("result", work(report)))
        except _Cancelled:
            pass
        except BaseException as error:  # every error is the caller's
            answers.put(("error", error))

    thread = Thread(target=body, name="lienzo-work", daemon=True)
    thread.start()
    try:
        while True:
            turns.put(True)
            kind, value = answers.get()
            if kind == "error":
                raise value
            if kind == "result":
                return value
            yield value
    finally:
        turns.put(False)
        thread.join()
