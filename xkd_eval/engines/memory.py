"""Memory that a CPU's forwards give back is kept for the next one, and not mapped afresh; what says there is none."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
# What glibc comes to by itself, once blocks of the largest size that it adapts to have been given back.
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "could not create a memory")

_lock = Lock()
_within = 0


@contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Within it the C library keeps what is given back to it; behind it, it returns that to the system.

    A tensor of more than 32 MiB is otherwise mapped when it is made and unmapped when it is let go, and the system
    clears each of its pages at the first touch: at 224 pixels that is two fifths of the time of an EfficientNet. What
    is computed stays the same to the bit. Elsewhere than with glibc nothing is done, nor for an accelerator.

    Args:
        device: where the networks run.
    """
    library = ctypes.CDLL(None) if device.type == "cpu" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    _enter(library)
    try:
        yield
    finally:
        _leave(library)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that there is no memory.

    torch has a class of its own for an accelerator's memory; of a CPU's it raises RuntimeError, in words that differ
    between the allocator, the C++ library and oneDNN.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(found, RuntimeError) and any(words in str(found).lower() for words in _NO_MEMORY):
            return True
        found = found.__cause__
    return False


def _enter(library: ctypes.CDLL) -> None:
    global _within
    with _lock:
        _within += 1
        if _within == 1:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, _NEVER)


def _leave(library: ctypes.CDLL) -> None:
    global _within
    with _lock:
        _within -= 1
        if _within == 0:
            for parameter, value in _USUAL.items():
                library.mallopt(parameter, value)
            library.malloc_trim(0)
