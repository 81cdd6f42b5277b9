"""Files of object boxes, recognised by what is in them: ILSVRC's and other CSV, annotation XML, COCO's JSON."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from xkd_eval.datasets.annotation_xml import objects_of
from xkd_eval.datasets.archive import StrictHeader
from xkd_eval.datasets.coco import LARGEST, coco_of, touched_pixels
from xkd_eval.datasets.folder import files_below
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.errors import XkdError
from xkd_eval.foreign import (
    is_there,
    open_file,
    read_bytes,
    reading,
    reason,
    short,
)

EXPECTED = (
    "expected LOC_val_solution.csv, a folder or tar of annotation XML, COCO's JSON, or lines of "
    "image,x0,y0,x1,y1 with or without a class"
)
LARGEST_XML = 2**20
LARGEST_TAR = 2**30
_BLOCK = 512
_FARTHEST = 2**31
_DELIMITERS = ",\t; "
_CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))
_IMAGE = ("image", "path", "file", "filename", "file_name")
_CLASS = ("class", "label", "name")


class Box(NamedTuple):
    """One object's box.

    Attributes:
        image: as the file names it.
        corners: x0, y0, x1, y1 in the image's pixels, counted from 0, ends inclusive.
        kind: the object's class, as the file names it; None where it does not.
        place: where it stands, for messages: "line 7".
    """

    image: str
    corners: tuple[int, int, int, int]
    kind: str | None
    place: str


def read_boxes(path: Path) -> list[Box]:
    """All boxes of a file, or of the XML files of a folder.

    Raises:
        XkdError: missing, damaged, too large, of no known form, without a box, or with one that is none; the message
            names the line or file.
    """
    found = list(_boxes_of(path))
    if not found:
        raise XkdError(f"boxes: {str(path)!r} has no boxes; {EXPECTED}")
    for box in found:
        x0, y0, x1, y1 = box.corners
        if not (0 <= x0 <= x1 and 0 <= y0 <= y1):
            raise XkdError(
                f"boxes: {box.place} of {str(path)!r}: the box {x0} {y0} {x1} {y1} found; expected x0 y0 x1 y1, none "
                "below 0, the second pair not before the first"
            )
    return found


def _boxes_of(path: Path) -> Iterator[Box]:
    if is_there(path, Path.is_dir):
        yield from _of_folder(path)
        return
    with reading(f"boxes: {str(path)!r} cannot be read", EXPECTED):
        with _unpacked(path) as file:
            head = file.read(_BLOCK)
        is_tar = head[257:262] == b"ustar"
        content = b"" if is_tar else _content(path)
        text = content.decode("utf-8-sig")
    if is_tar:
        yield from _of_tar(path)
        return
    start = text.lstrip()[:1]
    if start == "<":
        yield from _of_xml(content, path.name, path)
    elif start in ("{", "["):
        yield from _of_coco(text, path)
    else:
        yield from _of_lines(text, path)


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with open_file(path) as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file


def _content(path: Path) -> bytes:
    with _unpacked(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    return content


def _of_folder(folder: Path) -> Iterator[Box]:
    with reading(f"boxes: {str(folder)!r} cannot be listed", EXPECTED):
        names = [name.removeprefix("/") for name in files_below(folder, "") if name.lower().endswith(".xml")]
    for name in names:
        yield from _of_xml(read_bytes(folder / name, "boxes", LARGEST_XML), name, folder)


def _of_tar(path: Path) -> Iterator[Box]:
    """Of the XML files of a tar, packed or not, read as a stream."""
    read = 0
    with (
        reading(f"boxes: {str(path)!r} cannot be read as a tar of annotation XML", "fetch it again"),
        _unpacked(path) as file,
        tarfile.open(fileobj=file, mode="r|", tarinfo=StrictHeader, encoding="utf-8") as archive,
    ):
        for member in archive:
            read += member.size
            if read > LARGEST_TAR:
                raise ValueError(f"more than {LARGEST_TAR:,} bytes")
            if not member.isfile() or not member.name.lower().endswith(".xml"):
                continue
            if member.size > LARGEST_XML:
                raise ValueError(f"{short(member.name)} has {member.size:,} bytes, more than {LARGEST_XML:,}")
            content = cast(IO[bytes], archive.extractfile(member)).read()
            yield from _of_xml(content, member.name, path)


def _of_xml(content: bytes, name: str, path: Path) -> Iterator[Box]:
    """The objects of one image, which is called as the file is."""
    place = f"{short(name)}" if name != path.name else "the annotation"
    with reading(f"boxes: {place} of {str(path)!r} is no annotation", "expected XML with object, bndbox and xmin"):
        found = objects_of(content)
    for kind, corners in found:
        yield Box(name, corners, kind, place)


def _of_coco(text: str, path: Path) -> Iterator[Box]:
    """x, y, width and height in fractions of a pixel -> the pixels that they touch; crowds are no object."""
    coco = coco_of(text, path, "boxes", EXPECTED)
    for number, entry in enumerate(coco.objects, 1):
        place = f"annotation {number}"
        if entry.iscrowd:
            continue
        with reading(f"boxes: {place} of {str(path)!r} is {short(entry)}", "expected an image, a category and a box"):
            image, kind = coco.images[entry.image_id], coco.categories[entry.category_id]
            corners = touched_pixels(*cast(Any, entry.bbox))
        yield Box(image.file_name, corners, kind.name, place)


def _of_lines(text: str, path: Path) -> Iterator[Box]:
    first = text.lstrip().partition("\n")[0]
    delimiter = next((one for one in _DELIMITERS if one in first), ",")
    rows = _rows(text, delimiter, path)
    place, header = next(rows, ("", []))
    if not header:
        return
    if "PredictionString" in header:
        for place, row in rows:
            yield from _of_prediction(row, place, path)
        return
    columns = _columns(header, path)
    if columns is None:
        columns = (0, 1, 2, 3, 4, 5 if len(header) == 6 else None)
        yield _of_row(header, columns, len(header), place, path)
    for place, row in rows:
        yield _of_row(row, columns, len(header), place, path)


def _rows(text: str, delimiter: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        number = reader.line_num + 1
        with reading(f"boxes: line {number} of {str(path)!r} cannot be read", "mend or remove it"):
            fields = next(reader, None)
        if fields is None:
            return
        if any(fields):
            yield f"line {number}", [field.strip() for field in fields]


def _of_prediction(row: list[str], place: str, path: Path) -> Iterator[Box]:
    """`ImageId,n01440764 x0 y0 x1 y1 n01440764 ...`."""
    try:
        image, prediction = row
        words = prediction.split()
        if not words or len(words) % 5 or not all(map(is_wordnet_id, words[::5])):
            raise ValueError("not five words a box")
        found = [(words[at], _corners(words[at + 1 : at + 5])) for at in range(0, len(words), 5)]
    except ValueError as error:
        raise _fault(path, place, row, error, "ImageId,n01440764 x0 y0 x1 y1 ...") from None
    for kind, corners in found:
        yield Box(image, corners, kind, place)


_Columns = tuple[int, int, int, int, int, int | None]
"""Places of image, x0, y0, x1, y1 and, where there is one, class."""


def _columns(header: list[str], path: Path) -> _Columns | None:
    """Where image, corners and class stand; None where the first line is no header."""
    if len(header) in (5, 6) and any(re.fullmatch(r"[+-]?[0-9.]+", field) for field in header[1:5]):
        return None
    plain = [name.lower() for name in header]
    corners = next((names for names in _CORNERS if set(names) <= set(plain)), None)
    images, kinds = ([at for at, name in enumerate(plain) if name in known] for known in (_IMAGE, _CLASS))
    if corners is None or len(images) != 1 or len(kinds) > 1 or any(plain.count(name) > 1 for name in corners):
        raise XkdError(f"boxes: {str(path)!r} begins with {short(','.join(header))}; {EXPECTED}")
    return (images[0], *(plain.index(name) for name in corners), kinds[0] if kinds else None)  # type: ignore[return-value]


def _of_row(row: list[str], columns: _Columns, width: int, place: str, path: Path) -> Box:
    image, x0, y0, x1, y1, kind = columns
    try:
        if len(row) != width:
            raise ValueError(f"{len(row)} fields where the first line has {width}")
        corners = _corners([row[x0], row[y0], row[x1], row[y1]])
    except ValueError as error:
        raise _fault(path, place, row, error, "image,x0,y0,x1,y1 in whole pixels") from None
    return Box(row[image], corners, row[kind] if kind is not None else None, place)


def _fault(path: Path, place: str, row: list[str], why: Exception, expected: str) -> XkdError:
    return XkdError(f"boxes: {place} of {str(path)!r} is {short(','.join(row))} ({reason(why)}); expected {expected}")


def _corners(words: list[str]) -> tuple[int, int, int, int]:
    found = [_pixel(word) for word in words]
    return found[0], found[1], found[2], found[3]


def _pixel(text: str) -> int:
    """A whole number, which tables' programs write as 12.0 too."""
    number = float(text)
    if not number.is_integer() or abs(number) >= _FARTHEST:
        raise ValueError(f"{short(text)} is no pixel")
    return int(number)
