"""What a caller may have set for torch, and what nothing that is computed here may depend on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_torch() -> Iterator[None]:
    """Within it torch is as it was when it was imported: no autocast, float32 and the CPU where nothing else is said.

    The caller's settings come back, also after an error. All of them belong to the thread but the default dtype, which
    the process has: while calls of any thread are within, it is float32 for all.
    """
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        _FLOAT32.enter()
        stack.callback(_FLOAT32.leave)
        yield


class _DefaultDtype:
    """Float32 for as long as anybody needs it; the last one who leaves restores what was found."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._found = torch.float32
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release
        )

    def enter(self) -> None:
        with self._lock:
            if (dtype := torch.get_default_dtype()) != torch.float32:
                self._found = dtype
                torch.set_default_dtype(torch.float32)
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0 and self._found != torch.float32:
                torch.set_default_dtype(self._found)
                self._found = torch.float32


_FLOAT32 = _DefaultDtype()
