"""Lists of images: a CSV, TSV or Parquet file with a row an image, its path, its label and the part that it is of."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkd_eval.datasets.base import Label, LabelKind
from xkd_eval.datasets.folder import FolderOfImages, indices_of
from xkd_eval.datasets.label_texts import typed_labels, whole_number
from xkd_eval.datasets.parquet import holds_images
from xkd_eval.datasets.splits import PART_NAMES, part_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import LARGEST_LIST, check_regular, read_bytes, reading, short

COLUMNS = "path, label and, where it is divided, split"
_NAMES = {
    "path": ("path", "file", "filename", "file_name", "image"),
    "label": ("label", "class", "target"),
    "split": ("split", "set", "subset"),
}
_DELIMITERS = ",\t;"
_TEXT = (".csv", ".tsv")
_PADDED = re.compile(r"-?0[0-9]")


@dataclass(frozen=True)
class Row:
    """An image of a list.

    Attributes:
        path: as it stands there, without detours.
        label: a class index, a WordNet id or a name.
        place: "line 7" of a text file, whose header is line 1; "row 6" of Parquet.
    """

    path: str
    label: Label
    place: str


@dataclass(frozen=True)
class ImageList:
    """What a list holds.

    Attributes:
        parts: "train", "val" and "test", in that order, -> their rows; all of them as "" without a split column.
        kind: of the labels, the same in all parts.
    """

    parts: dict[str, list[Row]]
    kind: LabelKind


class ListedImages(FolderOfImages):
    """The images of some rows. Ids are the paths.

    Args:
        path: of the list, which paths are relative to.
        rows: of a part of `read_list`.
        kind: of their labels.
        name: of the set.

    Raises:
        XkdError: a row's file is not there; the message names row and column.
    """

    def __init__(self, path: Path, rows: list[Row], kind: LabelKind, name: str) -> None:
        super().__init__(path.parent, [row.path for row in rows], name)
        for row in rows:
            if not os.path.isfile(path.parent / row.path):  # noqa: PTH113 - a third of the time, 50,000 times over
                raise _fault(path, row.place, "path", row.path, f"a file, found from {str(path.parent)!r}")
        self.labels, self.label_kind = [row.label for row in rows], kind
        if self.label_kind == "name":
            self.classes = tuple(sorted({str(label) for label in self.labels}))


def is_list(path: Path) -> bool:
    """Whether a file is read as a list: by its suffix, and where that is Parquet's by its columns, none of bytes."""
    name = path.name.lower()
    if not name.endswith(".parquet"):
        return name.endswith(_TEXT)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except Exception:  # whatever it is, the reader of images says what is wrong with it
        return False
    kinds = {field.name.strip().lower(): field.type for field in schema}
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    has_paths = not holds_images(schema) and any(
        name in kinds and any(is_text(kinds[name]) for is_text in texts) for name in _NAMES["path"]
    )
    return has_paths and any(name in kinds for name in _NAMES["label"])


def read_list(path: Path) -> ImageList:
    """The rows of a list.

    Labels are whole numbers, which are class indices, WordNet ids or names, all of one kind. 7.0, as a table's program
    writes numbers of a column with gaps, is 7. With 007 among them numbers are names, unless they are 0 to K - 1.

    Raises:
        XkdError: no such file, a column is missing or there twice, a field is empty or no text, an unknown part, a
            label unlike the others, an image that is listed twice. The message names row and column.
    """
    header, rows = (_parquet if path.name.lower().endswith(".parquet") else _text)(path)
    file, label, split = _columns(path, header)
    listed: list[tuple[str, str, str]] = []
    texts: list[str] = []
    seen: dict[str, tuple[str, str]] = {}
    folder = os.path.abspath(path.parent)  # noqa: PTH100 - Path joins a third as fast
    for place, fields in rows:
        part = _part_of_row(path, place, fields[file], fields[label], None if split is None else fields[split])
        image = os.path.normpath(fields[file])
        former, where = seen.setdefault(os.path.normpath(os.path.join(folder, image)), (part, place))  # noqa: PTH118
        if where != place:
            both = f"{where} too" if former == part else f"{part}, and in {where} in {former}"
            raise _fault(path, place, "path", image, f"each image once, and this one is in {both}: remove one")
        listed.append((part, image, place))
        texts.append(fields[label])
    if not listed:
        raise XkdError(f"data: {str(path)!r} lists no image; expected a row an image below the header")
    labels, kind = _typed(texts, lambda k: f"{listed[k][2]} of {str(path)!r}")
    parts: dict[str, list[Row]] = {}
    for (part, image, place), typed in zip(listed, labels, strict=True):
        parts.setdefault(part, []).append(Row(image, typed, place))
    return ImageList({part: parts[part] for part in ("", *PART_NAMES) if part in parts}, kind)


def _typed(texts: list[str], where: Callable[[int], str]) -> tuple[list[Label], LabelKind]:
    numbers = [number for text in texts if (number := whole_number(text)) is not None]
    if len(numbers) < len(texts):
        return typed_labels(texts, where)
    if any(map(_PADDED.match, numbers)) and indices_of(set(numbers)) is None:
        return list(numbers), "name"
    return typed_labels(numbers, where)


def _part_of_row(path: Path, place: str, file: str, label: str, split: str | None) -> str:
    """The part that a row says, "" where none do."""
    for column, value in (("path", file), ("label", label)):
        if not value:
            raise _fault(path, place, column, value, f"a {column}")
    part = "" if split is None else part_of(split)
    if part is None:
        known = ", ".join(name for names in PART_NAMES.values() for name in names)
        raise _fault(path, place, "split", split, f"one of {known}")
    return part


def _columns(path: Path, header: list[str]) -> tuple[int, int, int | None]:
    """Where path, label and split stand."""
    plain = [name.strip().lower() for name in header]
    found: dict[str, int | None] = {}
    for column, names in _NAMES.items():
        places = [place for place, name in enumerate(plain) if name in names]
        if len(places) > 1:
            both = " and ".join(short(header[place]) for place in places[:2])
            raise XkdError(f"data: {str(path)!r} has the columns {both}, which both say the {column}; keep one")
        found[column] = places[0] if places else None
    for column in ("path", "label"):
        if found[column] is None:
            listed = ", ".join(map(short, header[:8]))
            raise XkdError(
                f"data: {str(path)!r} has the columns {listed} and no {column}; expected a header that names "
                f"{COLUMNS} ({column} may be called {', '.join(_NAMES[column][1:])})"
            )
    assert found["path"] is not None and found["label"] is not None
    return found["path"], found["label"], found["split"]


def _text(path: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The header, and the fields of each row below it with its line; empty lines are left out."""
    content = read_bytes(path, "data", LARGEST_LIST)
    with reading(f"data: {str(path)!r} cannot be read as a list", f"expected text in UTF-8 with {COLUMNS}"):
        text = content.decode("utf-8-sig")
    first = text.partition("\n")[0]
    delimiter = "\t" if path.name.lower().endswith(".tsv") else next((one for one in _DELIMITERS if one in first), ",")
    lines = _lines(path, text, delimiter)
    _, header = next(lines, ("", []))
    return header, _of_width(path, lines, len(header))


def _lines(path: Path, text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        number = reader.line_num + 1
        with reading(f"data: line {number} of {str(path)!r} cannot be read", "mend or remove it"):
            fields = next(reader, None)
        if fields is None:
            return
        if fields:
            yield f"line {number}", [field.strip() for field in fields]


def _of_width(path: Path, lines: Iterator[tuple[str, list[str]]], width: int) -> Iterator[tuple[str, list[str]]]:
    for place, fields in lines:
        if len(fields) != width:
            raise XkdError(
                f"data: {place} of {str(path)!r} has {len(fields)} fields, and its header {width}; mend it, and quote "
                "what holds the delimiter"
            )
        yield place, fields


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The same of Parquet, whose rows are counted from 1."""
    import pyarrow.parquet as pq

    with reading(f"data: {str(path)!r} cannot be read as a list", f"expected Parquet with {COLUMNS}"):
        check_regular(path)
        file = pq.ParquetFile(path, page_checksum_verification=True)
        known = {name for names in _NAMES.values() for name in names}
        table = file.read(columns=[name for name in file.schema_arrow.names if name.strip().lower() in known])
        columns = [column.to_pylist() for column in table.columns]
    names = table.column_names
    rows = enumerate(zip(*columns, strict=True), start=1)
    return names, (
        (f"row {number}", [_plain(path, number, name, value) for name, value in zip(names, row, strict=True)])
        for number, row in rows
    )


def _plain(path: Path, number: int, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _fault(path, f"row {number}", column, value, "a text or a whole number")
    return str(value).strip()


def _fault(path: Path, place: str, column: str, found: Any, expected: str) -> XkdError:
    return XkdError(f"data: {place} of {str(path)!r}: {column}: {short(found)} found; expected {expected}")
