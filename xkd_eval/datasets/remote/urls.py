"""URLs as they are written: which text is one, the ranges within, and what of it may be told."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?|([A-Za-z])\.\.([A-Za-z])")
_MOST = 100_000


def is_url(given: object) -> bool:
    """Whether an argument is a URL rather than a path or a name."""
    return isinstance(given, str) and _URL.match(given) is not None


def scheme_of(url: str) -> str:
    """ "https" of "https://host/val.tar", in small letters."""
    found = _URL.match(url)
    return found[1].lower() if found else ""


def shown(url: str) -> str:
    """A URL without what may be a secret: a password in front of the host, and what stands behind "?"."""
    parts = urlsplit(url)
    query = "..." if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def told(data: str) -> str:
    """What was given as data, as it may be told and kept: a URL as `shown`, a path or name as it is."""
    return shown(data) if is_url(data) else data


def place_in(url: str) -> list[str]:
    """Host and path of a URL as names of folders, the last one of what it names; a glob's name stays as it is.

    Raises:
        XkdError: it names nothing.
    """
    parts = urlsplit(url)
    path = [unquote(part) for part in PurePosixPath(parts.path).parts]
    names = [name for name in (parts.netloc.rpartition("@")[2], *path) if is_writable_name(name)]
    if not names:
        raise XkdError(f"data: {shown(url)!r} names no file and no folder; give the whole address")
    return names


def expanded(url: str) -> list[str]:
    """The URLs that braces stand for, in order: {000..099} counts, with as many digits, and {a,b} lists.

    "val-{00..02}.tar" -> "val-00.tar", "val-01.tar", "val-02.tar"; {00..10..5} counts by fives. Braces around anything
    else stay as they are.

    Raises:
        XkdError: more than a hundred thousand.
    """
    return _expanded(url)


def _expanded(text: str) -> list[str]:
    for start, sign in enumerate(text):
        if sign != "{":
            continue
        end = _closing(text, start)
        choices = None if end is None else _choices(text[start + 1 : end])
        if end is not None and choices is not None:
            rest = _expanded(text[end + 1 :])
            _check_count(len(choices) * len(rest))
            return [text[:start] + choice + tail for choice in choices for tail in rest]
    return [text]


def _check_count(count: int) -> None:
    """Before they are written out: a slip in a range must not fill the memory."""
    if count > _MOST:
        raise XkdError(f"data: its braces stand for {count:,} files or more; expected {_MOST:,} at most")


def _closing(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` is closed."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def _choices(within: str) -> list[str] | None:
    """What stands between braces, each of it; None where that is neither a range nor a list."""
    found = _RANGE.fullmatch(within)
    if found:
        return _letters(found[4], found[5]) if found[4] else _numbers(found[1], found[2], found[3])
    parts, depth = [""], 0
    for sign in within:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return list(chain.from_iterable(map(_expanded, parts))) if len(parts) > 1 else None


def _letters(first: str, last: str) -> list[str]:
    step = 1 if first <= last else -1
    return [chr(code) for code in range(ord(first), ord(last) + step, step)]


def _numbers(first: str, last: str, by: str | None) -> list[str]:
    low, high = int(first), int(last)
    step = abs(int(by or 1)) or 1
    _check_count(abs(high - low) // step + 1)
    padded = any(number.lstrip("-").startswith("0") and len(number.lstrip("-")) > 1 for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    counted = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
    return [f"{number:0{width}d}" if width else str(number) for number in counted]
