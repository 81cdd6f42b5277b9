"""The run directory: what was run (protocol.json), one row an image (rows/*.parquet), the scores (summary.json).

Parts are written as rows are made and each appears whole or not at all, so a killed run continues where it stopped.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.protocol import differing_fields
from xkd_eval.evaluations.scores import Columns
from xkd_eval.files import replacing
from xkd_eval.study.summary import SUMMARY_SCHEMA

PROTOCOL_SCHEMA = "xkd-eval/protocol/2"

_SECONDS_PER_PART = 20.0
_ROWS_PER_PART = 2048
_PARTS = ("protocol", "model", "explainer", "precision", "settings", "data")
_IDENTITY = ("test", "reference", *_PARTS)


class RunDirectory:
    """One evaluation of one model on one data set.

    Args:
        path: created where absent.
        description: what is run: "protocol", "model", "explainer", "precision", "settings" and "data", plain values.
        overwrite: start afresh, whatever is there.
        figures: file names that a former run may have left beside its rows, for `overwrite`.

    Raises:
        XkdError: the directory cannot be written, holds another run (the differing fields are named) or foreign files.
    """

    def __init__(
        self, path: Path, description: dict[str, Any], *, overwrite: bool = False, figures: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._description = json.loads(json.dumps(description))
        self._figures = tuple(figures)
        self._rows = path / "rows"
        try:
            self._open(overwrite)
        except OSError as error:
            raise XkdError(
                f"output {path}: cannot be written ({error.strerror or error}); choose another directory"
            ) from None

    @property
    def summary(self) -> dict[str, Any] | None:
        """The finished run's summary; None while it is unfinished, or where another release summarised its rows."""
        file = self.path / "summary.json"
        found = self._read_json(file) if file.is_file() else {}
        return found if found.get("schema") == SUMMARY_SCHEMA else None

    def write_part(self, rows: pa.Table) -> None:
        """Add rows. The file appears whole or not at all."""
        name = f"part-{rows['position'][0].as_py():09d}-{uuid.uuid4().hex[:8]}.parquet"
        with self._describing_failures():
            self._rows.mkdir(parents=True, exist_ok=True)
            with replacing(self._rows / name) as file:
                pq.write_table(rows, file)

    def read_rows(self) -> pa.Table | None:
        """All rows in the data set's order, each image once; None before the first part."""
        parts = sorted(self._rows.glob("part-*.parquet"))
        if not parts:
            return None
        return in_order(concatenated([self._read_part(part) for part in parts]))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary, which says that the run is finished."""
        with self._describing_failures():
            write_json(self.path / "summary.json", summary)

    def _open(self, overwrite: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise XkdError(f"output {self.path}: is a file; expected a directory")
        file = self.path / "protocol.json"
        if overwrite:
            self._clear()
        if file.is_file():
            self._check_same_run(file)
        elif not overwrite and self._holds_other_files():
            raise XkdError(f"output {self.path}: holds files that are no run of this tool; choose an empty directory")
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(file, self._description)

    def _holds_other_files(self) -> bool:
        # What a kill leaves of the first write begins with a dot.
        return self.path.is_dir() and not all(file.name.startswith(".") for file in self.path.iterdir())

    def _clear(self) -> None:
        # The summary first and the protocol last, so that what a kill leaves is an unfinished run of the old protocol.
        # A row that cannot be removed is an error: it would be taken for one of the new run.
        for pattern in ("summary.json", "rows/part-*.parquet", "rows/.part-*", *self._figures, "protocol.json"):
            for file in list(self.path.glob(pattern)):
                file.unlink()

    def _read_json(self, file: Path) -> dict[str, Any]:
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise XkdError(f"output {self.path}: {file.name} is damaged; `overwrite` starts afresh")
        return values

    def _check_same_run(self, file: Path) -> None:
        found = self._read_json(file)
        schema, expected = found.get("schema"), self._description.get("schema")
        if schema != expected:
            raise XkdError(
                f"output {self.path}: holds a run of another release ({schema}; this one writes {expected}); "
                "choose another directory, or `overwrite`"
            )
        differing = [
            f"{part}.{field}"
            for part in _IDENTITY
            for field in differing_fields(_as_dict(self._description.get(part)), _as_dict(found.get(part)))
        ]
        if differing:
            raise XkdError(
                f"output {self.path}: holds another run; these differ: {', '.join(differing)}; "
                "choose another directory, or `overwrite`"
            )

    def _read_part(self, part: Path) -> pa.Table:
        try:
            return pq.read_table(part)
        except (pa.ArrowInvalid, OSError) as error:
            raise XkdError(f"output {self.path}: {part.name} is damaged ({error}); delete it and run again") from None

    def _describing_failures(self) -> _DescribedFailures:
        return _DescribedFailures(self.path)


class RunInMemory:
    """A run that leaves nothing behind: the same as a RunDirectory, in this process."""

    path: Path | None = None

    def __init__(self) -> None:
        self.summary: dict[str, Any] | None = None
        self._parts: list[pa.Table] = []

    def write_part(self, rows: pa.Table) -> None:
        """Keep more rows, of any images."""
        self._parts.append(rows)

    def read_rows(self) -> pa.Table | None:
        """All rows in the data set's order, those of other processes too; None before the first part."""
        from accelerate.utils import gather_object

        parts = gather_object(self._parts)
        return in_order(concatenated(parts)) if parts else None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary, which says that the run is finished."""
        self.summary = summary


class _DescribedFailures:
    """Turns a full or vanished disk into one line, instead of a traceback after hours of work."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise XkdError(
                f"output {self._path}: writing failed ({error.strerror or error}); what was written before is kept: "
                "mend it and run the same command to continue"
            ) from error


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


def read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any], pa.Table]:
    """A finished run: its description (protocol.json), its summary, and its rows in the data set's order.

    Raises:
        XkdError: no finished run lies there.
    """
    files, parts = (path / "protocol.json", path / "summary.json"), sorted((path / "rows").glob("part-*.parquet"))
    if not all(file.is_file() for file in files) or not parts:
        raise XkdError(f"{path}: holds no finished run; expected protocol.json, summary.json and rows/")
    try:
        description, summary = (json.loads(file.read_text()) for file in files)
        if not (isinstance(description, dict) and isinstance(summary, dict)):
            raise ValueError("protocol.json or summary.json is damaged")
        schemas = (description.get("schema"), summary.get("schema"))
        if schemas != (PROTOCOL_SCHEMA, SUMMARY_SCHEMA):
            raise XkdError(f"{path}: holds a run of another release ({', '.join(map(str, schemas))}); run it again")
        if lacking := [part for part in _PARTS if part not in description]:
            raise ValueError(f"protocol.json is damaged: it lacks {', '.join(lacking)}")
        return description, summary, in_order(concatenated([pq.read_table(part) for part in parts]))
    except (OSError, ValueError) as error:
        raise XkdError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def concatenated(tables: list[pa.Table]) -> pa.Table:
    """One table of all rows; a column that one of them lacks is null there."""
    return pa.concat_tables(tables, promote_options="default")


def to_table(columns: Columns) -> pa.Table:
    """Columns of one batch as Arrow: (B,) arrays become scalars, (B, n) lists, masked float arrays nulls."""
    return pa.table({name: _arrow(values) for name, values in columns.items()})


def in_order(table: pa.Table) -> pa.Table:
    """Rows sorted by position; of an image that two processes scored, the first."""
    positions = table["position"].to_numpy()
    return table.take(np.unique(positions, return_index=True)[1])


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write atomically: readers see the former file or the new one. NaN is refused; null says undefined."""
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def _arrow(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.array(list(values), type=pa.list_(pa.from_numpy_dtype(values.dtype)))


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}
