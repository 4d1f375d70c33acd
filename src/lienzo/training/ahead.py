"""Batches prepared ahead of time: while the network learns, threads decode and augment what comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prepared(make: Callable[[int], T], starts: Iterable[int], ahead: int) -> Iterator[T]:
    """`make(start)` for each start, in order, up to `ahead` of them computed early in threads (0: none are).

    `make` must be a pure function: what it returns may not depend on when it is called.
    """
    if not ahead:
        yield from map(make, starts)
        return
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="batch")
    waiting: deque[Future[T]] = deque()
    try:
        for start in starts:
            waiting.append(pool.submit(make, start))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
