"""Parquet as data hubs write it: a column of encoded images, one of labels, in one or more shards."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xkd_eval.datasets.base import ImageDataset, Label, Sample, content_hash
from xkd_eval.datasets.decode import decode_image
from xkd_eval.datasets.handles import PerProcess, SameFile
from xkd_eval.datasets.identifiers import identifier_of
from xkd_eval.datasets.label_texts import typed_labels
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import check_regular, reading, short

_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
_LABEL_COLUMNS = ("fine_label", "label", "labels", "cls")
_EXPECTED = "expected a column image or img of {bytes, path}, and label or fine_label"
_BYTES_AT_ONCE = 8 * 2**20  # of which decoding holds some three times as much for a moment


class ParquetImages(ImageDataset):
    """Rows of one or more Parquet files. Memory holds ids and labels, and in each process one piece of a
    row group: 8 MB of encoded images, or a page where the writer made larger ones.

    Class names come from the schema's metadata (`huggingface` ClassLabel, or `<column>_names`, one a line). Ids are the
    images' paths where they are there and unique; otherwise shard, row and label. Pages are checked against their
    checksums where the writer left any.

    Args:
        paths: shards in order, of one schema.
        name: of the set.

    Raises:
        XkdError: not Parquet, truncated, without an image column, of other columns than the first, or with labels of
            several kinds.
    """

    def __init__(self, paths: list[Path], name: str) -> None:
        self.name = name
        self.labels: list[Label] = []
        self._groups: list[_Group] = []
        self._starts: list[int] = []
        names: list[str | None] = []
        starts: list[tuple[str, int]] = []
        columns: _Columns | None = None
        for path in paths:
            starts.append((path.stem, len(self.labels)))
            columns = self._add(path, names, columns)
        assert columns is not None
        labels = self.labels
        self.classes = columns.classes
        self.label_kind = "index" if columns.label else "none"
        if any(isinstance(label, str) for label in self.labels):
            texts = [None if label is None else str(label) for label in self.labels]
            self.labels, self.label_kind = typed_labels(texts, lambda row: f"row {row} of {name}")
        ids = _unique(names) or _of_rows(starts, labels)
        self.ids = list(map(identifier_of, ids))
        self._reader: PerProcess[_Reader] = PerProcess(partial(_Reader, columns.image))

    def load(self, position: int) -> Sample:
        """The image of that row; raises UnreadableImageError where its bytes are no image."""
        content = self._content(position)
        return Sample(decode_image(content, self.ids[position]), content_hash=content_hash(content))

    def content_hash(self, position: int) -> str:
        """Of the row's bytes."""
        return content_hash(self._content(position))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the row group that a row is in, as its writer says: single images are not known without reading."""
        wanted = range(len(self)) if positions is None else positions
        return [self._groups[bisect_right(self._starts, position) - 1].size for position in wanted]

    def _content(self, position: int) -> bytes:
        identifier = self.ids[position]
        index = bisect_right(self._starts, position) - 1
        group, reader = self._groups[index], self._reader.get()
        group.shard.check()
        try:
            with reading(f"{identifier}: damaged in {group.shard.path.name!r}", "fetch it again", UnreadableImageError):
                content = reader.read(group, position - self._starts[index])
        except UnreadableImageError:
            reader.forget()
            raise
        if content is None:
            raise UnreadableImageError(f"{identifier}: the row holds no bytes")
        return content

    def _add(self, path: Path, names: list[str | None], columns: _Columns | None) -> _Columns:
        with reading(f"data: {str(path)!r} cannot be read as Parquet", _EXPECTED), _open(path) as file:
            shard = SameFile.of(path)
            found = _find_columns(path, file.schema_arrow)
            if columns not in (None, found):
                raise XkdError(f"data: {str(path)!r} has {found.said()}, and the shards before it {columns.said()}")
            wanted = [name for name in (f"{found.image}.path", found.label) if name]
            table = file.read(columns=wanted)
            groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            count = sum(group.num_rows for group in groups)
            labels = [_label(path, value) for value in _column(table, found.label, count)]
            paths = [_path_of(value) for value in _paths(table, found.image, count)]
            if not len(labels) == len(paths) == count:
                raise ValueError(f"{len(labels)} labels and {len(paths)} paths of {count} rows")
        self._starts += [len(self.labels) + sum(group.num_rows for group in groups[:k]) for k in range(len(groups))]
        self._groups += [
            _Group(shard, k, _rows_at_once(group), group.total_byte_size) for k, group in enumerate(groups)
        ]
        self.labels += labels
        names += paths
        return found


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str | None
    classes: tuple[str, ...] | None

    def said(self) -> str:
        classes = f"{len(self.classes)} class names" if self.classes else "no class names"
        return f"the columns {self.image} and {self.label} with {classes}"


@dataclass(frozen=True)
class _Group:
    shard: SameFile
    number: int
    rows_at_once: int
    size: int


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
            self._piece = ()  # before the next one is decoded
            self._piece = next(self._pieces).column(0)
        value = self._piece[row - self._first].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if not isinstance(content, bytes | None):
            raise TypeError(f"{type(content).__name__} where bytes belong")
        return content

    def forget(self) -> None:
        """Start afresh at the next row, after an error."""
        self._group = None

    def _rewind(self, group: _Group) -> None:
        file = _open(group.shard.path, pre_buffer=False, buffer_size=2**20)
        leaf = _image_leaf(file, self._column)
        self._pieces = file.iter_batches(group.rows_at_once, [group.number], [leaf], use_threads=False)
        self._group, self._piece, self._first = group, (), 0


def _open(path: Path, **options: Any) -> Any:
    import pyarrow.parquet as pq

    check_regular(path)
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def _leaf_names(file: Any) -> list[str]:
    return [file.schema.column(index).path for index in range(len(file.schema))]


def _image_leaf(file: Any, column: str) -> str:
    """The name of what holds the bytes: the column, or a field of it."""
    return f"{column}.bytes" if f"{column}.bytes" in _leaf_names(file) else column


def _rows_at_once(group: Any) -> int:
    bytes_a_row = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return max(_BYTES_AT_ONCE // bytes_a_row, 1)


def _find_columns(path: Path, schema: Any) -> _Columns:
    images = [name for name in _IMAGE_COLUMNS if name in schema.names]
    if not images:
        raise XkdError(f"data: {str(path)!r} has the columns {', '.join(schema.names)}; {_EXPECTED}")
    kind = schema.field(images[0]).type
    if not _holds_bytes(kind):
        raise XkdError(f"data: {str(path)!r} has {images[0]} of {short(str(kind))}; {_EXPECTED}")
    label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
    return _Columns(images[0], label, label and _class_names(schema.metadata or {}, label))  # type: ignore[arg-type]


def holds_images(schema: Any) -> bool:
    """Whether an Arrow schema has a column of encoded images."""
    return any(name in schema.names and _holds_bytes(schema.field(name).type) for name in _IMAGE_COLUMNS)


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    plain = metadata.get(f"{column}_names".encode())
    if plain is not None:
        return tuple(plain.decode().splitlines())
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    names = features.get(column, {}).get("names")
    if not isinstance(names, list | None) or not all(isinstance(name, str) for name in names or ()):
        raise TypeError(f"the class names of {column} are {short(names)}")
    return tuple(names) if names else None


def _column(table: Any, name: str | None, rows: int) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * rows


def _paths(table: Any, column: str, rows: int) -> list[Any]:
    """The images' paths: as a column of their own, since a dict a row takes several times their memory."""
    if column not in table.column_names:
        return [None] * rows
    return [path for chunk in table[column].chunks for path in chunk.field("path").to_pylist()]


def _label(path: Path, value: Any) -> Label:
    if value is None or value == -1:
        # Hubs mark the rows of an unlabelled test split with -1.
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise XkdError(f"data: {str(path)!r} has the label {short(value)}; expected one class index or name a row")
    return value


def _path_of(path: str | None) -> str | None:
    # Some hub files hold the repr of a bytes object, b'name.png'.
    return path.removeprefix("b'").removesuffix("'") if path else None


def _unique(names: list[str | None]) -> list[str]:
    """The images' paths where each has one of its own; else none."""
    unique = set(names)
    return [] if None in unique or len(unique) != len(names) else [name for name in names if name is not None]


def _of_rows(starts: list[tuple[str, int]], labels: list[Label]) -> Iterator[str]:
    """Shard, row and label of each row; `starts` has each shard's name and first row."""
    ends = [start for _, start in starts[1:]] + [len(labels)]
    for (stem, start), end in zip(starts, ends, strict=True):
        yield from (f"{stem}/{row - start:05d}-{labels[row]}" for row in range(start, end))
