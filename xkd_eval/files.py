"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
