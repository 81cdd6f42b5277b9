"""Run directories by the folder that they lie in: a tree of runs, or what `evaluate` and `compare` leave."""

from __future__ import annotations

import os
from pathlib import Path

from xkd_eval.foreign import reading

_RECORDS = {"protocol.json", "summary.json"}


def run_directories(root: Path, argument: str = "runs") -> list[Path]:
    """Every directory at or below `root` that holds the records of a run, finished or not, sorted by path.

    Nothing is looked for within a run, and no link is followed.

    Args:
        root: a directory.
        argument: that named it, for the message.

    Raises:
        XkdError: a directory that cannot be read.
    """
    found = []
    with reading(f"{argument}: {str(root)!r} cannot be read", "allow reading it, or give another"):
        for folder, inner, files in os.walk(root, onerror=_raise):
            inner.sort()
            if _RECORDS & set(files):
                found.append(Path(folder))
                inner.clear()
    return found


def _raise(error: OSError) -> None:
    raise error
