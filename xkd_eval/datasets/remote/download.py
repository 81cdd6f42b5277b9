"""One file's bytes onto this disk: resumed where it broke off, tried again, and there whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from xkd_eval.datasets.remote.cache import Kept
from xkd_eval.datasets.remote.origin import Origin, RemoteFile, UnreachableError

PAUSES = (0.5, 2.0, 5.0)
"""Seconds to wait after a try that brought nothing; after the last one there is no other."""


def download(origin: Origin, file: RemoteFile, kept: Kept, came: Callable[[int], None], stop: threading.Event) -> None:
    """Bring a file into the cache, to be called while its part of the cache is held.

    What came before a break is taken up again, by this process or a later one. Tries that bring the file further are
    not counted.

    Args:
        origin: that has it.
        file: which one.
        kept: its part of the cache.
        came: is told how many bytes are there more than before.
        stop: ends it.

    Raises:
        UnreachableError: no answer, or fewer bytes than the file has, the last time as well; or `stop` was set.
        XkdError: as Origin.read; or the disk cannot be written.
    """
    target = kept.file(file)
    part = target.with_name(f"{target.name}.part")
    furthest, tries = _size(part), 0
    came(furthest)
    while True:
        try:
            _append(origin, file, part, kept, came, stop)
            break
        except UnreachableError:
            reached = _size(part)
            tries = 0 if reached > furthest else tries + 1
            furthest = max(furthest, reached)
            if tries > len(PAUSES) or stop.is_set():
                raise
        stop.wait(PAUSES[max(tries - 1, 0)])
    with kept.writing():
        try:
            part.replace(target)
        except FileNotFoundError:  # on a network disk that knows no locks another process was faster
            if not target.is_file():
                raise


def _append(
    origin: Origin, file: RemoteFile, part: Path, kept: Kept, came: Callable[[int], None], stop: threading.Event
) -> None:
    """Whatever of a file is not there yet."""
    with kept.writing():
        part.parent.mkdir(parents=True, exist_ok=True)
        # Where nobody says how large the file is, what is there may be all of it or not.
        if file.size is None or _size(part) > file.size:
            part.unlink(missing_ok=True)
        there = _size(part)
    if there == file.size:
        return
    with origin.read(file, there) as (start, blocks):
        with kept.writing():
            written = part.open("r+b" if there else "wb")
        with written:
            written.seek(start)
            for block in blocks:
                if stop.is_set():
                    raise UnreachableError("stopped")
                before = written.tell()
                with kept.writing():
                    written.write(block)
                came(max(before + len(block) - max(before, there), 0))
            with kept.writing():
                written.flush()
                os.fsync(written.fileno())
            end = written.tell()
    if file.size is not None and end != file.size:
        raise UnreachableError(f"it ends after {end:,} of {file.size:,} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
