"""Ctrl-C and SIGTERM as a wish that is met between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from xkd_eval.errors import XkdError

# SIGHUP is not everywhere.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class TrainingInterruptedError(XkdError):
    """Stopped on request; what was done is saved.

    Args:
        message: one line.
        number: of the signal that asked for it.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


class StopRequest:
    """While entered, the first SIGINT, SIGTERM or SIGHUP sets `made`; a second SIGINT interrupts as usual.

    Only Ctrl-C is pressed twice by somebody who does not want to wait; others may send their signal to each process and
    to its parent, which hands it on. A SIGHUP that is ignored, as behind nohup, stays so.

    Attributes:
        made: whether the training was asked to stop.
        number: of the signal that asked for it.
    """

    def __init__(self) -> None:
        self.made = False
        self.number: int = signal.SIGINT
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            met = [number for number in _SIGNALS if not _is_ignored(number)]
            self._former = {number: signal.signal(number, self._note) for number in met}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.made:
            self.made, self.number = True, number


def _is_ignored(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
