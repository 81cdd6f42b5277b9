"""Struct arrays of MATLAB v5 files: as much of the format as the ImageNet devkit's meta.mat has.

SciPy's reader is in C and crashes on damaged files, which no error handling survives.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR = 2, 4
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_LARGEST = 2**26


def read_structs(content: bytes, name: str) -> list[dict[str, Any]]:
    """The elements of a struct array, in the file's order.

    Args:
        content: of the file; may be compressed.
        name: of the variable.

    Returns:
        Field -> a number or a text; None for what is neither.

    Raises:
        ValueError, KeyError, struct.error, zlib.error, ...: anything; to be called within `foreign.reading`.
    """
    order = {b"IM": "<", b"MI": ">"}[content[_HEADER - 2 : _HEADER]]
    for kind, data in _elements(content[_HEADER:], order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(data, _LARGEST)
            if not unpacker.eof:
                raise ValueError("a compressed variable that is cut, or beyond 64 MB")
            ((kind, data),) = _elements(data, order)
        if kind != _MATRIX:
            raise ValueError(f"an element of kind {kind}, not a variable")
        parts = [part for _, part in _elements(data, order)]
        if parts[2].decode() == name:
            return _structs(parts, order)
    raise KeyError(name)


def _structs(parts: list[bytes], order: str) -> list[dict[str, Any]]:
    """Flags, dimensions, name, length of a field's name, field names, and for each element each field's matrix."""
    flags, dimensions, _, size, names, *values = parts
    if _class_of(flags, order) != _STRUCT:
        raise ValueError("no struct array")
    (length,) = struct.unpack(f"{order}i", size)
    if length < 1:
        raise ValueError(f"field names of {length} bytes")
    fields = [names[k : k + length].rstrip(b"\0").decode() for k in range(0, len(names), length)]
    count = math.prod(np.frombuffer(dimensions, f"{order}i4").tolist())
    if not fields or len(values) != count * len(fields):
        raise ValueError(f"{len(values)} values of {count} elements with {len(fields)} fields")
    matrices = [_value(value, order) for value in values]
    return [dict(zip(fields, matrices[k : k + len(fields)], strict=True)) for k in range(0, len(matrices), len(fields))]


def _value(matrix: bytes, order: str) -> Any:
    parts = list(_elements(matrix, order))
    if len(parts) < 4:
        return None
    (_, flags), (kind, data) = parts[0], parts[3]
    if _class_of(flags, order) == _CHAR:
        codec = _TEXTS[kind]
        return data.decode(f"{codec}-{'le' if order == '<' else 'be'}" if codec == "utf-16" else codec)
    numbers = np.frombuffer(data, order + _NUMBERS[kind]) if kind in _NUMBERS else np.zeros(0)
    return numbers[0].item() if numbers.size == 1 else None


def _class_of(flags: bytes, order: str) -> int:
    return int(struct.unpack(f"{order}II", flags)[0] & 0xFF)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(kind, bytes) of each element; one of up to four bytes may lie in its own tag."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start, step = place + 8, size if kind == _COMPRESSED else -(-size // 8) * 8
        if kind >> 16:
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 0
        if start + size > len(data) or (step == 0 and size > 4):
            raise ValueError(f"an element of {size} bytes that goes beyond the end")
        yield kind, data[start : start + size]
        place = place + 8 + step
