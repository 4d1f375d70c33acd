"""Work in a thread as an iterator: turns, results, errors, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from lienzo.core.handoff import reports


def threads() -> int:
    return sum(thread.name == "lienzo-work" for thread in threading.enumerate())


def test_reports_come_in_turns_and_the_result_last() -> None:
    seen: list[str] = []

    def work(report: Callable[[int], None]) -> str:
        for i in range(3):
            seen.append(f"made {i}")
            report(i)
        return "done"

    counting = reports(work)
    assert seen == []
    for i in range(3):
        assert next(counting) == i
        seen.append(f"took {i}")
    with pytest.raises(StopIteration) as end:
        next(counting)
    assert end.value.value == "done"
    assert seen == ["made 0", "took 0", "made 1", "took 1", "made 2", "took 2"]
    assert threads() == 0


def test_closing_unwinds_the_work() -> None:
    state: list[str] = []

    def work(report: Callable[[int], None]) -> None:
        try:
            for i in range(100):
                try:
                    report(i)
                except Exception:
                    state.append("swallowed")
                state.append(f"step {i}")
        finally:
            state.append("cleaned")

    counting = reports(work)
    assert [next(counting), next(counting)] == [0, 1]
    assert threads() == 1
    counting.close()
    assert state == ["step 0", "cleaned"]
    assert threads() == 0


def test_errors_are_raised_to_the_caller() -> None:
    def work(report: Callable[[int], None]) -> None:
        report(1)
        raise KeyError("lost")

    counting = reports(work)
    assert next(counting) == 1
    with pytest.raises(KeyError, match="lost"):
        next(counting)
    assert threads() == 0


def test_what_is_never_begun_starts_no_work() -> None:
    begun: list[int] = []
    reports(lambda report: begun.append(1)).close()
    assert begun == []
    assert threads() == 0
