"""File and member names -> ids: any name a disk or an archive holds, as text that can be printed and written."""

from __future__ import annotations

import os
import re

# Control characters, line separators, what stands for a byte that is no UTF-8; and the backslash that begins an escape.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def identifier_of(name: str) -> str:
    r"""A name with each byte of what cannot be printed as \xNN; two names never become one id.

    Args:
        name: as Python decodes file names, bytes that are no UTF-8 as surrogates.

    Example:
        >>> identifier_of(os.fsdecode(b"caf\xe9/new\nline.jpg"))
        'caf\\xe9/new\\x0aline.jpg'
    """
    return _ESCAPED.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in _bytes(found[0])), name)


def name_of(identifier: str) -> str:
    """The inverse of identifier_of."""
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(identifier)))


def stem_of(name: str) -> str:
    """The name without folder and suffix."""
    file = name.rpartition("/")[2]
    return file.rpartition(".")[0] or file


def _bytes(character: str) -> bytes:
    on_disk = not "\ud800" <= character < "\udc80"
    return os.fsencode(character) if on_disk else character.encode("utf-8", "surrogatepass")
