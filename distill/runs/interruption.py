"""Ctrl-C and SIGTERM as a wish that is met between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from xkd_eval.errors import XkdError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(XkdError):
    """Stopped on request; what was done is saved."""


class StopRequest:
    """While entered, the first SIGINT or SIGTERM sets `made`, and a second one interrupts as usual.

    Attributes:
        made: whether the training was asked to stop.
    """

    def __init__(self) -> None:
        self.made = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True
