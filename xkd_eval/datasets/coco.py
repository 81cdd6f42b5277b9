"""COCO's JSON: images, the objects in them, and the categories that these are of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkd_eval.errors import XkdError
from xkd_eval.foreign import json_value, parsed, reading

LARGEST = 2**29
"""Bytes of a file of objects; those of COCO's training images have 450 MB."""

_FARTHEST = 2**31


@dataclass
class CocoImage:
    """An image: its name, and its size where the file says it."""

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


@dataclass
class CocoObject:
    """An object, or with `iscrowd` a region of many: x, y, width and height of its box, and its outline."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    segmentation: Any = None
    iscrowd: int = 0


@dataclass
class CocoCategory:
    """A class."""

    id: int
    name: str


@dataclass
class _File:
    images: list[CocoImage]
    annotations: list[CocoObject]
    categories: list[CocoCategory]


@dataclass(frozen=True)
class Coco:
    """What a file holds.

    Attributes:
        images, categories: by id, in the order of the file.
        objects: in the order of the file, in which messages count them from 1.
    """

    images: Mapping[int, CocoImage]
    categories: Mapping[int, CocoCategory]
    objects: list[CocoObject]


def coco_of(text: str, path: Path, argument: str, expected: str) -> Coco:
    """What a file's text says.

    Args:
        text: of the file.
        path: of the file.
        argument: that named it, for messages.
        expected: for the message, where it is none.

    Raises:
        XkdError: no JSON, or JSON of another kind.
    """
    what = f"{argument}: {str(path)!r}"
    with reading(f"{what} is no JSON", expected):
        values = json_value(text)
    try:
        file = parsed(_File, values, what)
    except XkdError as error:
        raise XkdError(f"{error}; {expected}") from None
    images, categories = ({entry.id: entry for entry in entries} for entries in (file.images, file.categories))
    if len(images) < len(file.images) or len(categories) < len(file.categories):
        raise XkdError(f"{what} has two images or two categories of one id; mend it")
    return Coco(images, categories, file.annotations)  # type: ignore[arg-type]


def touched_pixels(x: float, y: float, width: float, height: float) -> tuple[int, int, int, int]:
    """A box in fractions of a pixel -> x0, y0, x1, y1 of the pixels that it touches, ends inclusive.

    Raises:
        ValueError: a side that is no length.
    """
    if not all(abs(value) < _FARTHEST for value in (x, y, width, height)) or width <= 0 or height <= 0:
        raise ValueError("a side that is no length")
    # What arithmetic in decimal fractions leaves behind is no pixel more.
    low = [math.floor(round(value, 6)) for value in (x, y)]
    high = [math.ceil(round(value, 6)) - 1 for value in (x + width, y + height)]
    return (*low, *high)  # type: ignore[return-value]
