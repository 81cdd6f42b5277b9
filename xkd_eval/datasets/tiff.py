"""TIFF files of more channels than a photograph has, by tifffile; every value must stand in the file."""

from __future__ import annotations

import io
import logging
import math
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from xkd_eval.foreign import short

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

# II or MM, and the number of TIFF or of BigTIFF.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES = 1024
# A page's purpose: a smaller version of another, or a mask.
_REDUCED_OR_MASK = 1 | 4
# White at 0, a palette, a mask, and inks.
_NO_BRIGHTNESS = (0, 3, 4, 5)
_WHOLE_VALUES = (8, 16, 32, 64)
_ORIENTATION_TAG, _SAMPLES_TAG = 274, 277
_CLASSIC, _TAG_BYTES = 42, 12
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def is_tiff(content: bytes) -> bool:
    """Whether bytes begin as TIFF does."""
    return content[:4] in _MAGIC


def first_page(content: bytes) -> tuple[int, bool] | None:
    """Samples of a pixel of the first page, and whether another page follows; None where a look does not tell."""
    order = "<" if content[:1] == b"I" else ">"
    with suppress(struct.error):
        number, start = struct.unpack_from(f"{order}HI", content, 2)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        (following,) = struct.unpack_from(f"{order}I", content, start + 2 + _TAG_BYTES * count)
        tags = [struct.unpack_from(f"{order}H6xH", content, start + 2 + _TAG_BYTES * tag) for tag in range(count)]
        return (dict(tags).get(_SAMPLES_TAG, 1), following != 0) if number == _CLASSIC else None
    return None


def form_of(content: bytes) -> tuple[int, int]:
    """What the channels of a TIFF file are, to be called within `reading`.

    Args:
        content: of the file.

    Returns:
        Pages, and samples of a pixel; one of them is 1. Pages are channels where they have one sample each, of whole
        bytes with black at 0, and are of one size and type; of others the first alone counts. Those that say that they
        are smaller versions or masks are left out.

    Raises:
        Exception: of any kind, where it is damaged.
    """
    with _opened(content) as file:
        pages = _channel_pages(file)
        return len(pages), pages[0].samplesperpixel


def channels_of(content: bytes, most: int) -> np.ndarray:
    """All channels of a TIFF file, upright, to be called within `reading`.

    Args:
        content: of the file.
        most: values that are read.

    Returns:
        (H, W, C) of its own type.

    Raises:
        Exception: of any kind, where it is damaged or cannot be read.
    """
    with _opened(content) as file:
        pages = _channel_pages(file)
        first = pages[0]
        if not _has_brightness(first):
            what = f"{first.bitspersample} bits a value, of the kind {getattr(first.photometric, 'name', 'unknown')}"
            raise ValueError(f"{what}; expected 8, 16, 32 or 64 bits with black at 0")
        values = len(pages) * math.prod(first.shape)
        if values > most:
            raise ValueError(f"{values:,} values, more than {most:,}")
        stored = np.concatenate([_pixels(page, len(content)) for page in pages], 2)
        orientation = first.tags.valueof(_ORIENTATION_TAG, 1)
    return _UPRIGHT.get(orientation, lambda values: values)(stored)


def _pages(file: TiffFile) -> list[TiffPage]:
    """The pages that are images of their own."""
    pages: list[Any] = []
    offsets = set()
    for number in range(_MOST_PAGES + 1):
        try:
            page: Any = file.pages[number]
        except IndexError:
            break
        if page.offset in offsets or number == _MOST_PAGES:
            raise ValueError("pages without an end" if page.offset in offsets else f"more than {_MOST_PAGES} pages")
        offsets.add(page.offset)
        if not page.subfiletype & _REDUCED_OR_MASK:
            pages.append(page)
    if not pages:
        raise ValueError("no page that is an image")
    return pages


def _channel_pages(file: TiffFile) -> list[TiffPage]:
    pages = _pages(file)
    alike = {(page.shape, page.dtype, page.photometric, page.bitspersample) for page in pages}
    are_channels = pages[0].samplesperpixel == 1 and len(alike) == 1 and _has_brightness(pages[0])
    return pages if are_channels else pages[:1]


def _has_brightness(page: TiffPage) -> bool:
    """Whether the values of a page, as they are stored, can be those of channels."""
    return page.photometric not in _NO_BRIGHTNESS and page.bitspersample in _WHOLE_VALUES


def _pixels(page: TiffPage, n_bytes: int) -> np.ndarray:
    """(H, W, samples) of a page, every value of which stands in the file."""
    if page.imagedepth != 1 or page.dtype is None:
        raise ValueError(f"pages of shape {short(page.shape)} without a type, or of volumes")
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > n_bytes or 0 in page.databytecounts:
        raise ValueError("pixels that are not in the file")
    made = np.empty(page.shaped, page.dtype)  # (samples by planes, 1, H, W, samples by pixel)
    filled = 0
    for segment, (plane, _, top, left, _), _ in page.segments(maxworkers=1):
        if segment is None:
            raise ValueError("pixels that are not in the file")
        part = segment[:1, : page.imagelength - top, : page.imagewidth - left]
        made[plane, :1, top : top + part.shape[1], left : left + part.shape[2]] = part
        filled += part.size
    if filled != made.size:
        raise ValueError(f"{filled:,} values of {made.size:,}")
    return made[0, 0] if page.shaped[0] == 1 else np.moveaxis(made[:, 0, :, :, 0], 0, 2)


@contextmanager
def _opened(content: bytes) -> Iterator[TiffFile]:
    """A file of which what tifffile tells a log, before it goes on with less, is an error."""
    from tifffile import TiffFile

    logging.getLogger("tifffile").addFilter(_TOLD)  # once: a filter that is there is not added again
    faults: list[str] = []
    _TOLD.faults = faults
    try:
        with TiffFile(io.BytesIO(content), _multifile=False) as file:
            yield file
    finally:
        _TOLD.faults = None
    if faults:
        raise ValueError(faults[0])


class _Told(threading.local):
    """A log's filter that keeps what is told while this thread reads a file; what others tell passes.

    Attributes:
        faults: of the file; None while there is none.
    """

    faults: list[str] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.faults is not None and record.levelno >= logging.ERROR:
            self.faults.append(record.getMessage())
        return self.faults is None


_TOLD = _Told()
