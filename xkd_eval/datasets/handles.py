"""A file opened once a process: neither pickled nor shared across a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Calls `opener` at first use in each process; pickles as the opener alone.

    Args:
        opener: picklable (a functools.partial of a module's function).
    """

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._opened: T | None = None
        self._process = -1

    def get(self) -> T:
        """The opened object of this process."""
        if self._opened is None or self._process != os.getpid():
            self._opened, self._process = self._opener(), os.getpid()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {"_opener": self._opener, "_opened": None, "_process": -1}
