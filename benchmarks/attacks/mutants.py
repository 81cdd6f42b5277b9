"""Damage to bytes: flipped bits, cuts, chunks that are swapped, doubled or zeroed, bytes inserted, removed or odd."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping

Files = Mapping[str, bytes]
"""Relative path -> content: one file, or the tree of a folder."""

_EDGE = 512
_ODD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)


def mutated(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One mutation of a file's bytes as a rule, two to five of them in a third of the cases.

    Returns:
        Other bytes, and what was done.
    """
    told = []
    for _ in range(1 if draw.random() < 0.67 else draw.randint(2, 5)):
        if not content:
            break
        change = draw.choice(_CHANGES)
        content, what = change(content, draw)
        told.append(what)
    return content, ", ".join(told)


def mutated_files(files: Files, draw: random.Random, rarely: frozenset[str]) -> tuple[Files, str]:
    """One file of several with other bytes; in one of ten cases a file is removed, emptied, doubled or swapped instead.

    Args:
        files: of a folder.
        draw: where randomness comes from.
        rarely: files that are chosen once where others are fifty times.
    """
    names = sorted(files)
    name = draw.choices(names, [0.02 if name in rarely else 1.0 for name in names])[0]
    if len(names) > 1 and draw.random() < 0.1:
        return _rearranged(dict(files), name, draw)
    content, what = mutated(files[name], draw)
    return {**files, name: content}, f"{name}: {what}"


def _rearranged(files: dict[str, bytes], name: str, draw: random.Random) -> tuple[Files, str]:
    other = draw.choice([found for found in sorted(files) if found != name])
    match draw.choice(("remove", "empty", "copy", "swap", "double")):
        case "remove":
            del files[name]
            return files, f"{name} removed"
        case "empty":
            return {**files, name: b""}, f"{name} emptied"
        case "copy":
            return {**files, name: files[other]}, f"{name} replaced by {other}"
        case "swap":
            return {**files, name: files[other], other: files[name]}, f"{name} and {other} swapped"
        case _:
            stem, dot, suffix = name.rpartition(".")
            again = f"{stem}b{dot}{suffix}" if dot else f"{name}b"
            return {**files, again: files[name]}, f"{name} once more as {again}"


def _place(content: bytes, draw: random.Random) -> int:
    """Anywhere, or among the first or last bytes, where formats keep what matters most."""
    length, side = len(content), draw.random()
    if side < 0.25:
        return draw.randrange(min(length, _EDGE // 2))
    if side < 0.5:
        return length - 1 - draw.randrange(min(length, _EDGE))
    return draw.randrange(length)


def _chunk(content: bytes, draw: random.Random) -> tuple[int, int]:
    """Start and end; sizes from one byte to all, small ones as often as large ones."""
    start = _place(content, draw)
    size = int(2 ** draw.uniform(0, max(len(content) - start, 1).bit_length()))
    return start, min(start + size, len(content))


def _flip(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place, bit = _place(content, draw), draw.randrange(8)
    flipped = bytes((content[place] ^ (1 << bit),))
    return content[:place] + flipped + content[place + 1 :], f"bit {bit} of byte {place} flipped"


def _set(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place, value = _place(content, draw), draw.randrange(256)
    return content[:place] + bytes((value,)) + content[place + 1 :], f"byte {place} set to {value}"


def _odd_number(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place, width, order = _place(content, draw), draw.choice((1, 2, 4, 8)), draw.choice("<>")
    value = draw.choice([number for number in _ODD if number < 256**width])
    number = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width], value)
    return (content[:place] + number + content[place + width :])[: max(len(content), place + width)], (
        f"{value} as {width} bytes {order} at {place}"
    )


def _digit(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Another digit or letter in the place of one: text stays text."""
    places = [place for place in range(len(content)) if chr(content[place]).isalnum()] if len(content) < 4096 else []
    if not places:
        return _flip(content, draw)
    place = draw.choice(places)
    sign = draw.choice("0123456789abcxyz-.,:[]{}'\"\n\t#&*").encode()
    return content[:place] + sign + content[place + 1 :], f"{sign!r} at byte {place}"


def _cut(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place = _place(content, draw)
    return content[:place], f"cut at byte {place}"


def _zero(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    start, end = _chunk(content, draw)
    return content[:start] + bytes(end - start) + content[end:], f"bytes {start} to {end} zeroed"


def _swap(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    start, end = _chunk(content, draw)
    size = min(end - start, max(len(content) // 2, 1))
    other = draw.randrange(max(len(content) - size, 0) + 1)
    first, second = sorted((start, other))
    if first + size > second:
        return _flip(content, draw)
    parts = (content[second : second + size], content[first + size : second], content[first : first + size])
    return content[:first] + b"".join(parts) + content[second + size :], f"{size} bytes at {first} and {second} swapped"


def _double(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    start, end = _chunk(content, draw)
    return content[:end] + content[start:end] + content[end:], f"bytes {start} to {end} doubled"


def _remove(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    start, end = _chunk(content, draw)
    return content[:start] + content[end:], f"bytes {start} to {end} removed"


def _insert(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place, added = _place(content, draw), draw.randbytes(draw.choice((1, 1, 1, 2, 4, 16)))
    return content[:place] + added + content[place:], f"{len(added)} bytes inserted at {place}"


def _remove_one(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    place = _place(content, draw)
    return content[:place] + content[place + 1 :], f"byte {place} removed"


_CHANGES: tuple[Callable[[bytes, random.Random], tuple[bytes, str]], ...] = (
    *(_flip,) * 4,
    _set,
    *(_odd_number,) * 2,
    _digit,
    *(_cut,) * 2,
    _zero,
    _swap,
    _double,
    _remove,
    _insert,
    _remove_one,
)


def with_png_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now, so that a decoder looks further."""
    parts, place = [content[:8]], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        body = content[place + 4 : place + 8 + size]
        parts += [content[place : place + 4], body, struct.pack(">I", zlib.crc32(body))]
        place += 12 + size
    return b"".join(parts)


def with_tar_checksums(content: bytes) -> bytes:
    """A tar whose header blocks, where they were some, have the checksums of what they hold now."""
    blocks = bytearray(content)
    for place in range(0, len(blocks) - 511, 512):
        if blocks[place + 257 : place + 262] == b"ustar":
            blocks[place + 148 : place + 156] = b" " * 8
            blocks[place + 148 : place + 156] = b"%06o\0 " % sum(blocks[place : place + 512])
    return bytes(blocks)
