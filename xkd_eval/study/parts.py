"""Rows on disk: Parquet parts, each written whole or not at all, named by its content and verified when it is read."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.scores import Columns
from xkd_eval.files import replacing
from xkd_eval.foreign import read_bytes, reading, short

PARTS = "part-*.parquet"

COMMON = pa.schema({"position": pa.int64(), "id": pa.string(), "content_hash": pa.string(), "skipped": pa.string()})
"""What every row has; a test's own columns are null where the image was skipped."""

_SECONDS_PER_PART = 20.0
_ROWS_PER_PART = 2048
_AHEAD = 8
_NAME = re.compile(r"part-\d{9}-([0-9a-f]{16})\.parquet")
_RUN = b"xkd-run"
_AGAIN = "delete it and run the same command: its images are scored again"


def write_part(folder: Path, rows: pa.Table, run: str) -> None:
    """Add a part. The file appears whole or not at all.

    Args:
        folder: of the parts.
        rows: of any images, with the columns that every row has.
        run: digest of the description that they belong to.

    Raises:
        OSError: the disk.
    """
    buffer = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({_RUN: run}), buffer, write_page_checksum=True)
    content = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"part-{rows['position'][0].as_py():09d}-{_digest(content)}.parquet") as file:
        file.write(content)


def stream_parts(folder: Path, run: str, n_images: int, argument: str = "output") -> Iterator[pa.Table]:
    """All rows in the data set's order, each image once, in tables of a few thousand; none before the first part.

    In memory are, beside one part, those whose images lie between its own, or twice as many: as many as processes wrote
    them, and almost all where the images came in an order of their own, as `until` has them.

    Args:
        folder: of the parts.
        run: digest of the description that they must belong to.
        n_images: of the data set.
        argument: that named the directory, for the messages.

    Raises:
        XkdError: a part that is not what was written, belongs to another run or has other columns; it is named.
    """
    firsts = {part: _first_position(part) for part in folder.glob(PARTS)}
    parts = sorted(firsts, key=lambda part: (firsts[part], part))
    first: tuple[Path, pa.Schema] | None = None
    begun: list[pa.Table] = []
    n_begun, n_held = 0, 0
    tables = _read_ahead(parts, lambda part: _read_part(part, run, n_images, argument))
    for place, (part, table) in enumerate(zip(parts, tables, strict=True)):
        if len(table.schema) > len(COMMON):  # a row was scored
            first = first or (part, table.schema)
            _check_columns(part, table.schema, first, argument)
        begun.append(table)
        if place + 1 == len(parts):
            yield in_order(concatenated(begun))
            return
        n_begun += table.num_rows
        if n_begun < 2 * n_held:  # sorted again each time, rows in an order of their own would take time by the square
            continue
        rows, end = in_order(concatenated(begun)), firsts[parts[place + 1]]
        count = int(np.searchsorted(rows["position"].to_numpy(), end))
        begun = [rows.slice(count)] if count < rows.num_rows else []
        n_begun = n_held = rows.num_rows - count
        if count:
            yield rows.slice(0, count)


def drop_rows(folder: Path, positions: Collection[int], run: str, n_images: int) -> None:
    """Write the parts that hold rows of some images anew, without these.

    Args:
        folder: of the parts.
        positions: of the images.
        run: as for `stream_parts`.
        n_images: of the data set.

    Raises:
        XkdError: a part that is not what was written.
        OSError: the disk.
    """
    for part in sorted(folder.glob(PARTS)):
        rows = _read_part(part, run, n_images, "output")
        kept = rows.filter(pa.array([position not in positions for position in rows["position"].to_pylist()]))
        if kept.num_rows < rows.num_rows:
            if kept.num_rows:
                write_part(folder, kept, run)
            part.unlink()


class PartWriter:
    """Writes the rows it is given as parts, every 20 seconds or 2,048 rows, and what is left even after a failure."""

    def __init__(self, write: Callable[[pa.Table], None]) -> None:
        self._write = write
        self._pending: list[pa.Table] = []
        self._last = time.monotonic()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self._flush()

    def add(self, rows: pa.Table) -> None:
        """Keep rows until a part is due."""
        self._pending.append(rows)
        n_rows = sum(part.num_rows for part in self._pending)
        if n_rows >= _ROWS_PER_PART or time.monotonic() - self._last > _SECONDS_PER_PART:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._write(concatenated(self._pending))
        self._pending, self._last = [], time.monotonic()


def concatenated(tables: list[pa.Table]) -> pa.Table:
    """One table of all rows; a column that one of them lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")


def in_order(table: pa.Table) -> pa.Table:
    """Rows sorted by position; of an image that two processes scored, the first."""
    positions = table["position"].to_numpy()
    if (positions[1:] > positions[:-1]).all():
        return table
    return table.take(np.unique(positions, return_index=True)[1])


def to_table(columns: Columns) -> pa.Table:
    """Columns of one batch as Arrow: (B,) arrays become scalars, (B, n) lists of n, masked float arrays nulls."""
    return pa.table({name: _arrow(values) for name, values in columns.items()})


def identity_table(
    positions: list[int], ids: list[str], content_hashes: list[str | None], skipped: list[str | None]
) -> pa.Table:
    """The columns that every row has: which image, of which content, and why it has no score."""
    return pa.table([positions, ids, content_hashes, skipped], schema=COMMON)


def _read_ahead(parts: Sequence[Path], read: Callable[[Path], pa.Table]) -> Iterator[pa.Table]:
    """Each part's rows, in order; the next ones are read and verified while these are worked on."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(read, part) for part in parts[:_AHEAD])
        for place in range(len(parts)):
            table = coming.popleft().result()
            if place + _AHEAD < len(parts):
                coming.append(pool.submit(read, parts[place + _AHEAD]))
            yield table


def _read_part(part: Path, run: str, n_images: int, argument: str) -> pa.Table:
    what = f"{argument}: {str(part)!r}"
    named = _NAME.fullmatch(part.name)
    if named is None:
        raise XkdError(f"{what} is no part that this tool wrote; move it elsewhere")
    content = read_bytes(part, argument)
    if _digest(content) != named[1]:
        raise XkdError(f"{what} is damaged: its content is not what was written; {_AGAIN}")
    with reading(f"{what} is damaged", _AGAIN):
        table = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read()
    if (table.schema.metadata or {}).get(_RUN) != run.encode():
        raise XkdError(f"{what} holds rows of another run; move it elsewhere")
    lacking = [field.name for field in COMMON if field not in list(table.schema)]
    if lacking or not table.num_rows:
        raise XkdError(f"{what} lacks {', '.join(lacking) or 'rows'}; {_AGAIN}")
    positions = table["position"].to_numpy()
    if positions.min() < 0 or positions.max() >= n_images:
        raise XkdError(f"{what} has rows of more than {n_images} images; {_AGAIN}")
    return table


def _check_columns(part: Path, schema: pa.Schema, first: tuple[Path, pa.Schema], argument: str) -> None:
    """Rows that were scored have the same columns in all parts."""
    if schema != first[1]:
        odd = sorted({field.name for field in schema} ^ {field.name for field in first[1]})
        raise XkdError(
            f"{argument}: {str(part)!r} and {first[0].name!r} have other columns ({short(odd)}); delete the one "
            "that is not of this run and run the same command: its images are scored again"
        )


def _first_position(part: Path) -> int:
    """The least position of a part, by what Parquet says of it: names have that of the first row."""
    try:
        about = pq.read_metadata(part)
        column = about.schema.names.index("position")
        return min(int(about.row_group(place).column(column).statistics.min) for place in range(about.num_row_groups))
    except Exception:  # one that is not what was written is refused when it is read
        return 0


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _arrow(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.array(list(values), type=pa.list_(pa.from_numpy_dtype(values.dtype), values.shape[1]))
