"""Files that appear whole or not at all, what to do where they cannot be written, and directories that are held."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from xkd_eval.errors import XkdError
from xkd_eval.foreign import check_regular, is_there, reason

LOCK = ".lock"
"""The file in a directory that the process that writes there holds; it stays behind, and means nothing then."""

_NAMED = 50

# Open files whose lock this process holds: a forked one has to let go of them.
_HELD: set[IO[str]] = set()

_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "choose a disk that holds files of that size",
    errno.EACCES: "choose another directory, or allow writing there",
    errno.EPERM: "choose another directory, or allow writing there",
    errno.EROFS: "choose a directory on a disk that can be written",
    errno.EINVAL: "choose another name",
    errno.EBUSY: "choose another name",
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
        first = f"{kept}; " if kept else ""
        raise XkdError(f"{what} cannot be written ({reason(error)}); {first}{advice(error)}") from None


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Write beside `path` and rename over it at the end: readers see the former file or the new one.

    An exception within leaves the former file, and nothing else. The folder must exist. Of a link what it leads to is
    replaced.

    Args:
        path: of the file.
        durable: wait until the disk has it, so that a crash of the machine costs it neither.

    Raises:
        OSError: a folder, a pipe or a device is there, or what this process prints goes there; or as the system says.
    """
    target = _target(path)
    # Not by the process alone: on a shared disk two machines may have one of the same number.
    # Of the name the beginning: one that is as long as a disk takes leaves no room.
    temporary = target.with_name(f".{target.name[:_NAMED]}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, inputs: Iterable[str | Path] = (), what: str = "output") -> None:
    """Refuse, before the work for it, a file to be written that cannot be, or that is an input.

    Args:
        path: of the file.
        inputs: what the work reads; those that name no file are passed over.
        what: the argument that named it.

    Raises:
        XkdError: a folder, a pipe or a device is there, or one of `inputs`.
    """
    with writing(f"{what}: {str(path)!r}"):
        _target(path)
        for given in inputs:
            if is_there(path) and is_there(given) and path.samefile(given):
                raise XkdError(f"{what}: {str(path)!r} is one of the inputs; choose another name")


def _target(path: Path) -> Path:
    """The file that a path leads to, be it there or not."""
    with suppress(FileNotFoundError):
        check_regular(path)
        if any(_is_stream(path, number) for number in (1, 2)):
            raise OSError(errno.EBUSY, "what is printed goes there", str(path))
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_stream(path: Path, number: int) -> bool:
    """Whether a file is this process's stdout (1) or stderr (2): what is printed would go where nobody finds it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except OSError:  # closed
        return False


@contextmanager
def locked(directory: Path, what: str = "output") -> Iterator[None]:
    """Hold a directory for this process, so that no other one writes there at the same time.

    The operating system gives it back when the process ends, however it ends: nothing stale is left to remove. The
    directory is created where absent; it may be removed within.

    Args:
        directory: to hold.
        what: the argument that named it, which begins the message.

    Raises:
        XkdError: another process holds it, or this one in another place; the message names it where it is known.
        OSError: the directory cannot be created or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Python opens files so that programs that this one starts do not inherit them, and with them the lock.
    with (directory / LOCK).open("a+") as file:
        if not _taken(file):
            file.seek(0)
            raise XkdError(
                f"{what}: {str(directory)!r} is in use by another process ({_holder(file.read(100))}), which writes "
                "there; wait until it has ended, or choose another directory"
            )
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        _HELD.add(file)
        try:
            yield
        finally:
            _HELD.discard(file)


def _taken(file: IO[str]) -> bool:
    """Take the lock, or return False where another holds it."""
    import fcntl  # of Linux and macOS alone, while `replacing` works everywhere

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk that knows no locks: unguarded rather than unusable
        pass
    return True


def _leave_to_parent() -> None:
    """In a forked process, as those that decode are: it must not keep a lock after its parent was killed."""
    for file in _HELD:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _holder(written: str) -> str:
    """Who holds a lock, by what it left in the file."""
    number, _, host = written.partition(" ")
    if not (number.isascii() and number.isdecimal()):
        return "which one is not known"
    return f"number {number}" + (f" on {host}" if host != socket.gethostname() else "")
