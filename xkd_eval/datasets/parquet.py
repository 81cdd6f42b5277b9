"""Parquet as data hubs write it: a column of encoded images, one of labels, in one or more shards."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xkd_eval.datasets.base import ImageDataset, Label, LabelKind, Sample
from xkd_eval.datasets.decode import decode_image
from xkd_eval.datasets.handles import PerProcess
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.errors import UnreadableImageError, XkdError

_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
_LABEL_COLUMNS = ("fine_label", "label", "labels", "cls")
_EXPECTED = "expected a column image or img of {bytes, path}, and label or fine_label"
_BYTES_AT_ONCE = 32 * 2**20


class ParquetImages(ImageDataset):
    """Rows of one or more Parquet files. Memory holds ids and labels, and in each process one piece of a
    row group: 32 MB of encoded images, or a page where the writer made larger ones.

    Class names come from the schema's metadata (`huggingface` ClassLabel, or `<column>_names`, one a line). Ids are the
    images' paths where they are there and unique; otherwise shard, row and label.

    Args:
        paths: shards in order, of one schema.
        name: of the set.

    Raises:
        XkdError: not Parquet, truncated, or without an image column.
    """

    def __init__(self, paths: list[Path], name: str) -> None:
        self.name = name
        self.ids: list[str] = []
        self.labels: list[Label] = []
        self._groups: list[_Group] = []
        self._starts: list[int] = []
        names: list[str | None] = []
        columns: _Columns | None = None
        for path in paths:
            columns = self._add(path, names, columns)
        assert columns is not None
        self.classes = columns.classes
        self.label_kind = "none" if columns.label is None else _kind_of(self.labels)
        self.ids = _unique_ids(names, self.ids)
        self._reader: PerProcess[_Reader] = PerProcess(partial(_Reader, columns.image))

    def load(self, position: int) -> Sample:
        """The image of that row; raises UnreadableImageError where its bytes are no image."""
        import pyarrow as pa

        index = bisect_right(self._starts, position) - 1
        group, reader = self._groups[index], self._reader.get()
        try:
            content = reader.read(group, position - self._starts[index])
        except (pa.ArrowException, OSError) as error:
            reader.forget()
            raise UnreadableImageError(f"{self.ids[position]}: damaged in '{group.path.name}' ({error})") from error
        if content is None:
            raise UnreadableImageError(f"{self.ids[position]}: the row holds no bytes")
        return Sample(decode_image(content, self.ids[position]))

    def _add(self, path: Path, names: list[str | None], columns: _Columns | None) -> _Columns:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                columns = columns or _find_columns(path, file.schema_arrow)
                wanted = [name for name in (f"{columns.image}.path", columns.label) if name]
                table = file.read(columns=wanted)
                groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise XkdError(f"data: '{path}' cannot be read as Parquet ({reason}); {_EXPECTED}") from error
        rows = sum(group.num_rows for group in groups)
        labels = [_label(path, value) for value in _column(table, columns.label, rows)]
        self.ids += [f"{path.stem}/{row:05d}-{label}" for row, label in enumerate(labels)]
        self._starts += [len(self.labels) + sum(group.num_rows for group in groups[:k]) for k in range(len(groups))]
        self._groups += [_Group(path, k, _rows_at_once(group)) for k, group in enumerate(groups)]
        self.labels += labels
        names += [_path_of(value) for value in _column(table, columns.image, rows)]
        return columns


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str | None
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class _Group:
    path: Path
    number: int
    rows_at_once: int


class _Reader:
    """Moves forward through a row group a piece at a time; back to its start only when asked for an earlier row."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._group: _Group | None = None
        self._pieces: Iterator[Any] = iter(())
        self._piece: Any = ()
        self._first = 0

    def read(self, group: _Group, row: int) -> bytes | None:
        """The encoded image in a row of the group; None where the row is null."""
        if group != self._group or row < self._first:
            self._rewind(group)
        while row >= self._first + len(self._piece):
            self._first += len(self._piece)
            self._piece = next(self._pieces).column(0)
        value = self._piece[row - self._first].as_py()
        return value["bytes"] if isinstance(value, dict) else value

    def forget(self) -> None:
        """Start afresh at the next row, after an error."""
        self._group = None

    def _rewind(self, group: _Group) -> None:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(group.path, pre_buffer=False, buffer_size=2**20)
        nested = any(name.startswith(f"{self._column}.") for name in _leaf_names(file))
        leaf = f"{self._column}.bytes" if nested else self._column
        self._pieces = file.iter_batches(group.rows_at_once, [group.number], [leaf], use_threads=False)
        self._group, self._piece, self._first = group, (), 0


def _leaf_names(file: Any) -> list[str]:
    return [file.schema.column(index).path for index in range(len(file.schema))]


def _rows_at_once(group: Any) -> int:
    bytes_a_row = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return max(_BYTES_AT_ONCE // bytes_a_row, 1)


def _find_columns(path: Path, schema: Any) -> _Columns:
    images = [name for name in _IMAGE_COLUMNS if name in schema.names]
    if not images:
        raise XkdError(f"data: '{path}' has the columns {', '.join(schema.names)}; {_EXPECTED}")
    label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
    return _Columns(images[0], label, label and _class_names(schema.metadata or {}, label))  # type: ignore[arg-type]


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    plain = metadata.get(f"{column}_names".encode())
    if plain is not None:
        return tuple(plain.decode().splitlines())
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = features.get(column, {}).get("names")
    return tuple(names) if names else None


def _column(table: Any, name: str | None, rows: int) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * rows


def _label(path: Path, value: Any) -> Label:
    if value is None or value == -1:
        # Hubs mark the rows of an unlabelled test split with -1.
        return None
    if not isinstance(value, int | str):
        raise XkdError(f"data: '{path}' has the label {value!r}; expected one class index or name a row")
    return value


def _kind_of(labels: list[Label]) -> LabelKind:
    texts = [label for label in labels if isinstance(label, str)]
    if not texts:
        return "index"
    return "wordnet" if all(is_wordnet_id(text) for text in texts) else "name"


def _path_of(value: Any) -> str | None:
    path = value.get("path") if isinstance(value, dict) else None
    # Some hub files hold the repr of a bytes object, b'name.png'.
    return path.removeprefix("b'").removesuffix("'") if path else None


def _unique_ids(names: list[str | None], rows: list[str]) -> list[str]:
    unique = set(names)
    if None in unique or len(unique) != len(names):
        return rows
    return [name for name in names if name is not None]
