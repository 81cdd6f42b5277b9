"""Files that appear whole or not at all, and what to do where they cannot be written."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from xkd_eval.errors import XkdError

_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "choose a disk that holds files of that size",
    errno.EACCES: "choose another directory, or allow writing there",
    errno.EPERM: "choose another directory, or allow writing there",
    errno.EROFS: "choose a directory on a disk that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of that path is a file: choose another directory",
    errno.EEXIST: "a part of that path is a file: choose another directory",
    errno.EISDIR: "that is a directory: choose another name",
    errno.ELOOP: "a link there leads to itself: choose another directory",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
    errno.ENFILE: "close other programs' files",
    errno.EIO: "the disk fails: choose another",
}


def advice(error: OSError | ValueError) -> str:
    """What to do where a file cannot be written, as fits the reason; a ValueError is a name that no file can have."""
    if isinstance(error, ValueError):
        return "choose another name"
    return _ADVICE.get(error.errno or 0, "choose another directory")


@contextmanager
def writing(what: str, kept: str = "") -> Iterator[None]:
    """Turn a failure to write within into one line: "WHAT cannot be written (why); what to do".

    Args:
        what: begins the message, the argument first: "output 'a/b.png':".
        kept: said before the advice: "the former file is kept".

    Raises:
        XkdError: the system refuses; errors of this project pass as they are.
    """
    try:
        yield
    except XkdError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero byte or a lone surrogate in the name
        why = getattr(error, "strerror", None) or error
        first = f"{kept}; " if kept else ""
        raise XkdError(f"{what} cannot be written ({why}); {first}{advice(error)}") from None


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Write beside `path` and rename over it at the end: readers see the former file or the new one.

    An exception within leaves the former file, and nothing else. The folder must exist.

    Args:
        path: of the file.
        durable: wait until the disk has it, so that a crash of the machine costs it neither.
    """
    # Not by the process alone: on a shared disk two machines may have one of the same number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
