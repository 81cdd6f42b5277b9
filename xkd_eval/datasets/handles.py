"""Files that hold many images: opened once a process, never shared across a fork, and the same all along."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading

T = TypeVar("T")

RESTORE = "restore it and run the same command, which continues"
"""What to do where data change while they are read."""


@dataclass(frozen=True)
class SameFile:
    """A file as it was when its data set was opened, in this process or another.

    Attributes:
        path: of the file.
        state: its size and when it was written.
    """

    path: Path
    state: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> SameFile:
        """The file as it is now.

        Raises:
            XkdError: it is gone.
        """
        return cls(path, _state(path))

    def check(self) -> None:
        """Before an image of it is read: of a file that went away all would be skipped, of another all be mixed up.

        Raises:
            XkdError: it is gone, or was written anew.
        """
        if _state(self.path) != self.state:
            raise XkdError(f"data: {str(self.path)!r} was changed while it was read; {RESTORE}")


def _state(path: Path) -> tuple[int, int]:
    with reading(f"data: {str(path)!r} went away", RESTORE):
        found = path.stat()
    return found.st_size, found.st_mtime_ns


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
