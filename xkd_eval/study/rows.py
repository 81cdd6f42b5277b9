"""The rows of a run: in memory where they are few, otherwise read from its parts whenever somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa

from xkd_eval.evaluations.scores import to_columns
from xkd_eval.study.parts import COMMON, concatenated

HELD = 200_000
"""Rows up to which a table is kept: some 80 MB of a perturbation test."""

_BLOCK = 32_768


class Rows:
    """Rows in the data set's order, one an image, skipped ones included.

    Args:
        stream: gives them anew, as tables one after the other; None where they are in memory, or where there are none.
        table: all of them, where they are in memory.
    """

    def __init__(self, stream: Callable[[], Iterable[pa.Table]] | None, table: pa.Table | None = None) -> None:
        self._stream = stream
        if table is not None:
            self.__dict__["table"] = table

    @classmethod
    def of(cls, table: pa.Table) -> Rows:
        """Rows that are in memory."""
        return cls(None, table)

    @cached_property
    def table(self) -> pa.Table:
        """All of them at once."""
        return concatenated(list(self.stream()))

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Of the images that were scored, as arrays, each read when it is asked for."""
        return _Columns(self)

    def stream(self) -> Iterable[pa.Table]:
        """All of them in tables, one after the other."""
        if "table" in self.__dict__:
            return [self.table]
        return self._stream() if self._stream is not None else []

    def blocks(self) -> Iterator[pa.Table]:
        """The same in tables of some ten thousand rows, for work that has its price a table."""
        held: list[pa.Table] = []
        for table in self.stream():
            held.append(table)
            if sum(part.num_rows for part in held) >= _BLOCK:
                yield concatenated(held)
                held = []
        if held:
            yield concatenated(held)

    def scored_blocks(self) -> Iterator[pa.Table]:
        """The same of the images that were scored."""
        return (scored for block in self.blocks() if (scored := scored_rows(block)).num_rows)


class _Columns(Mapping[str, np.ndarray]):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        parts = [block.select([name]) for block in self._rows.scored_blocks()]
        return to_columns(concatenated(parts))[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _names(self) -> list[str]:
        """Those with a value, as `to_columns` has them."""
        has_value: dict[str, bool] = {}
        for block in self._rows.scored_blocks():
            for name in block.column_names:
                has_value[name] = has_value.get(name, False) or block[name].null_count < block.num_rows
        return [name for name, has in has_value.items() if has]


def lacks_values(block: pa.Table, columns: Collection[str]) -> bool:
    """Whether a test's column has no value in a block, and so is not among its columns as arrays."""
    return any(name not in columns and name not in COMMON.names for name in block.column_names)


def scored_rows(rows: pa.Table) -> pa.Table:
    """The rows of images that were not skipped."""
    return rows.filter(rows["skipped"].is_null())
