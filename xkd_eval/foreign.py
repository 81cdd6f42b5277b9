"""Where bytes from outside become typed values: whatever a library raises on them becomes one line.

Each reader of a format has one place that does this, with what stands here; inside, values are trusted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, Any, TypeVar, cast

from xkd_eval.errors import XkdError
from xkd_eval.escapes import visible

if TYPE_CHECKING:
    from io import BufferedReader

    from pydantic import TypeAdapter

T = TypeVar("T")

LARGEST_LIST = 2**26
"""Bytes of a file of names, labels or facts; what is larger was not meant."""

_LONGEST_REASON = 200
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80


def short(value: object) -> str:
    """A value as an error shows it: its repr, cut where it is long, nested or endless."""
    try:
        return " ".join(_SHORT.repr(value).split())  # arrays' take several lines
    except Exception:  # a repr from outside may raise anything
        return f"<{type(value).__name__}>"


def reason(error: BaseException) -> str:
    """Why a library failed, in one line: its message's first line, or the operating system's word, or its kind."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    text = lines[0] if lines and not isinstance(error, KeyError) else f"{type(error).__name__} {error}".strip()
    return printable(text)


def printable(text: str, longest: int = _LONGEST_REASON) -> str:
    """A text from outside as it may stand in a line: `visible`, and cut where it is long."""
    shown = visible(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


@contextmanager
def reading(what: str, remedy: str, kind: type[XkdError] = XkdError) -> Iterator[None]:
    """Turn every failure within into one line: "WHAT (why); REMEDY".

    Only calls of a library on foreign bytes belong within: a mistake of ours would look like damage.

    Args:
        what: the argument, the file and what is wrong with it: "data: 'val.tar' cannot be read as a tar shard".
        remedy: what to do, or what was expected.
        kind: of the error.

    Raises:
        XkdError: whatever was raised within; errors of this project pass as they are.
    """
    try:
        yield
    except XkdError:
        raise
    # Damage makes a parser raise anything: KeyError, AssertionError, RecursionError, a library's own kinds.
    except BaseException as error:
        # Libraries in Rust panic by an exception that is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"{what} ({reason(error)}); {remedy}") from error


def check_regular(path: Path) -> None:
    """Refuse what a path leads to where that is no regular file; links are followed.

    Whoever opens a pipe waits for its other end, and a device may have no end.

    Raises:
        OSError: missing, a folder, a pipe, a device; `reason` says which.
        ValueError: a name that no file can have.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or a device", str(path))


def open_file(path: Path) -> BufferedReader:
    """A file from outside, open for reading: all of them are opened here, or by a library after `check_regular`.

    Raises:
        OSError, ValueError: as `check_regular`; or not allowed.
    """
    check_regular(path)
    return path.open("rb")


def bytes_of(path: Path, most: int) -> bytes:
    """The bytes of a file from outside, to be called where its errors become one line.

    Raises:
        OSError, ValueError: as `open_file`; or more than `most`, which a sparse file has for nothing.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{size:,} bytes, more than {most:,}")
        return file.read()


def file_digest(path: Path) -> str:
    """sha256, in hexadecimal, of the bytes of a file from outside.

    Raises:
        OSError, ValueError: as `open_file`.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path, what: str, most: int = sys.maxsize) -> bytes:
    """A file's bytes.

    Args:
        path: of the file.
        what: the argument that named it.
        most: bytes that are read.

    Raises:
        XkdError: missing, a directory, a pipe, a device, not allowed, on a broken disk, larger than `most`.
    """
    try:
        return bytes_of(path, most)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise XkdError(f"{what}: {str(path)!r} cannot be read ({reason(error)})") from None


def read_json(path: Path, what: str, remedy: str = "restore it, or make it again") -> Any:
    """A JSON file's value; a key that stands twice in one object is an error.

    Args:
        path: of the file.
        what: the argument that named it.
        remedy: what to do where it is none.

    Raises:
        XkdError: unreadable, of more than `LARGEST_LIST`, not UTF-8, no JSON, nested beyond reason.
    """
    content = read_bytes(path, what, LARGEST_LIST)
    with reading(f"{what}: {str(path)!r} is no JSON", remedy):
        return json_value(content)


def json_value(content: bytes | str) -> Any:
    """JSON's value, to be called within `reading`; a key that stands twice in one object is an error, and so is NaN."""
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    return json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse_constant)


def parsed(kind: type[T], values: Any, where: str) -> T:
    """Plain values as a typed object, by pydantic.

    Args:
        kind: a pydantic model, or a dataclass.
        values: nested, as JSON or YAML has them.
        where: begins the message: the argument, the file.

    Raises:
        XkdError: the first fault: an unknown key with the nearest known one, a missing key, a value out of range.
    """
    from pydantic import ValidationError

    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(printable(str(part), 60) for part in _place(first["loc"], values)[:8])
        raise XkdError(f"{where}: {place + ': ' if place else ''}{_explained(first, kind)}") from None
    except RecursionError:
        raise XkdError(f"{where}: nested too deeply; expected plain values") from None


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON schema of what `parsed` takes for a kind."""
    return _adapter(kind).json_schema()


def is_there(path: str | Path, kind: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether a path names something; a name that no disk takes (too long, with a zero byte) names nothing."""
    try:
        return kind(Path(path))
    except (OSError, ValueError):
        return False


def is_writable_name(name: str) -> bool:
    """Whether a name from outside can be that of a file: none of `.`, `..`, a path, or 200 bytes and more."""
    return (
        name not in ("", ".", "..")
        and not set(name) & {"/", "\\", "\0"}
        and len(name.encode(errors="surrogatepass")) < 200
    )


def is_writable_text(text: str) -> bool:
    """Whether a text can be written as UTF-8, which the surrogates in the names of odd files cannot."""
    return text == text.encode(errors="replace").decode()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(other == key for other, _ in pairs) > 1)
        raise ValueError(f"the key {short(twice)} stands twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _place(location: tuple[int | str, ...], values: Any) -> list[int | str]:
    """The keys that lead to a fault, without the tags that pydantic adds for unions."""
    place = []
    for part in location:
        if isinstance(values, Mapping) and part not in values and part in (values.get("name"), values.get("loader")):
            continue
        place.append(part)
        try:
            values = cast(Any, values)[part] if isinstance(values, Mapping | list | tuple) else None
        except (KeyError, IndexError, TypeError):
            values = None
    return place


def _explained(fault: Any, kind: type) -> str:
    from xkd_eval.registry import nearest

    message = fault["msg"].removeprefix("Value error, ")
    message = message.partition(" or instance of ")[0].partition(" or object to ")[0]
    if fault["type"] == "missing":
        return "missing; add it"
    if fault["type"] == "value_error":
        return message
    if fault["type"] == "union_tag_not_found":
        return f"the key {fault['ctx']['discriminator']} is missing"
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = [field.name for field in fields(kind)] if is_dataclass(kind) else list(json_schema(kind)["properties"])
        return f"nothing reads it; {nearest(str(fault['loc'][-1]), known)}" if len(fault["loc"]) == 1 else "unknown"
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        expected = context["expected_tags"].replace("'", "")
        return f"{context['discriminator'].strip(chr(39))}: {short(context['tag'])} found; expected one of {expected}"
    return f"{short(fault['input'])} found; " + message[0].lower() + message[1:]
