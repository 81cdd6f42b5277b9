"""Annotation XML as VOC and ILSVRC write it: one file an image, `annotation/object/bndbox/xmin`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.parsers.expat import ParserCreate

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FARTHEST = 2**31


def objects_of(content: bytes) -> list[tuple[str | None, tuple[int, int, int, int]]]:
    """The objects of one annotation, to be called within `reading`.

    VOC's own files, whose database or folder is called so, count pixels from 1, all others from 0. Fractions of a pixel
    are cut off. Parts of an object are none.

    Args:
        content: of the file.

    Returns:
        Class and x0, y0, x1, y1, counted from 0, ends inclusive, of each.

    Raises:
        ExpatError, ValueError: no XML, with a document type (whose entities may be endless), without an annotation, or
            with an object without a box.
    """
    annotation = _Annotation()
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = annotation.start
    parser.EndElementHandler = annotation.end
    parser.CharacterDataHandler = annotation.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(content, True)
    if not annotation.is_there:
        raise ValueError("no annotation in it")
    first = 1 if "VOC" in annotation.origin else 0
    return [(found.get("name"), _corners(found, first)) for found in annotation.objects]


@dataclass
class _Annotation:
    """What is read of one file, element by element."""

    path: list[str] = field(default_factory=list)
    objects: list[dict[str, str]] = field(default_factory=list)
    origin: str = ""
    is_there: bool = False

    def start(self, name: str, attributes: Any) -> None:
        self.path.append(name)
        if self.path == ["annotation"]:
            self.is_there = True
        elif self.path == ["annotation", "object"]:
            self.objects.append({})

    def end(self, name: str) -> None:
        self.path.pop()

    def text(self, text: str) -> None:
        match self.path:
            case ["annotation", "folder"] | ["annotation", "source", "database"]:
                self.origin += f" {text.upper()}"
            case ["annotation", "object", "name"]:
                self._add("name", text.strip())
            case ["annotation", "object", "bndbox", corner] if corner in _CORNERS:
                self._add(corner, text)

    def _add(self, name: str, text: str) -> None:
        known = self.objects[-1]
        known[name] = known.get(name, "") + text


def _corners(found: dict[str, str], first: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (_pixel(found[name]) - first for name in _CORNERS)
    return x0, y0, x1, y1


def _pixel(text: str) -> int:
    number = float(text)
    if not abs(number) < _FARTHEST:
        raise ValueError(f"{number} is no pixel")
    return math.floor(number)


def _refuse_doctype(*declared: Any) -> NoReturn:
    raise ValueError("a document type, whose entities are not read")
