"""Ctrl-C, and SIGTERM as batch systems and container hosts send it, ask a training to save and stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

HASTE = 1.0  # seconds: torchrun passes on a Ctrl-C that its processes have had already, which is not a second one


@dataclass
class Stop:
    """What has been asked for.

    Attributes:
        asked: whether to save and stop.
        interrupted: when Ctrl-C was pressed (`time.monotonic`), or None.
    """

    asked: bool = False
    interrupted: float | None = None

    def terminate(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """The first Ctrl-C asks; another one, a second later, interrupts at once."""
        now = time.monotonic()
        if self.interrupted is not None and now - self.interrupted > HASTE:
            raise KeyboardInterrupt
        self.asked, self.interrupted = True, self.interrupted or now


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """While inside, SIGTERM and a first Ctrl-C are only noted.

    Nothing is changed outside the main thread, nor for a signal that this process ignores, as jobs of a shell in the
    background do.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {signal.SIGTERM: stop.terminate, signal.SIGINT: stop.interrupt}
    heeded = [number for number in handlers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handlers[number]) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
