"""One pass over a run's rows: how many, a digest of all that they say, and what their scores are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xkd_eval.digests import digest_of
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import PHOTOGRAPH, to_columns
from xkd_eval.statistics.groups import GroupSums
from xkd_eval.study.parts import COMMON, concatenated
from xkd_eval.study.rows import HELD, Rows, lacks_values, scored_rows


class Tally:
    """What the rows of a run come to.

    Args:
        rows: in the data set's order.
        test: whose scores are wanted; None where the digest is all that is.

    Attributes:
        rows: the rows, in memory where they are few.
        count, scored: how many there are, and how many of them were not skipped.
        skipped: [{"id", "reason"}] of the others.
        degenerate: maps that are constant or not finite.
    """

    def __init__(self, rows: Rows, test: Evaluation | None = None) -> None:
        self._test = test
        self._sums = GroupSums()
        # One that summarises otherwise is asked for that.
        self._is_of_all = test is not None and (test.columns_of_all or type(test).summarise is not Evaluation.summarise)
        self._images = {name: _ColumnDigest() for name in COMMON.names}
        self._values: dict[str, _ColumnDigest] = {}
        self.count = self.scored = self.degenerate = 0
        self.skipped: list[dict[str, Any]] = []
        held: list[pa.Table] | None = []
        for block in rows.blocks():
            self._add(block)
            if held is not None:
                held = [*held, block] if self.count <= HELD else None
        self.rows = Rows.of(concatenated(held)) if held else rows

    @property
    def digest(self) -> str:
        """sha256 over which images there are, which were skipped and why, and all that is known of the others."""
        images = {name: found.value for name, found in self._images.items()}
        return digest_of({"images": images, "scored": {name: found.value for name, found in self._values.items()}})

    def summarise(self) -> dict[str, Any]:
        """The test's scores and extras; see `Evaluation.summarise`."""
        assert self._test is not None
        if self._is_of_all:
            return self._test.summarise(to_columns(scored_rows(self.rows.table)))
        return self._test.scores_of(self._sums.columns(), self.rows.columns)

    def _add(self, block: pa.Table) -> None:
        scored, skipped = scored_rows(block), block.filter(block["skipped"].is_valid())
        self.count, self.scored = self.count + block.num_rows, self.scored + scored.num_rows
        reasons = zip(skipped["id"].to_pylist(), skipped["skipped"].to_pylist(), strict=True)
        self.skipped += [{"id": identifier, "reason": reason} for identifier, reason in reasons]
        for name, found in self._images.items():
            found.add(block[name])
        if not scored.num_rows:
            return
        for name in scored.column_names:
            if name not in self._images:
                self._values.setdefault(name, _ColumnDigest()).add(scored[name])
        if "degenerate" in scored.column_names:
            self.degenerate += pc.sum(scored["degenerate"]).as_py() or 0
        if self._test is not None and not self._is_of_all:
            columns = to_columns(scored)
            # Photographs that are several images are drawn whole; a column may be empty in some blocks alone.
            self._is_of_all = PHOTOGRAPH in columns or lacks_values(scored, columns)
            if not self._is_of_all:
                self._sums.add(self._test.columns(columns))


class _ColumnDigest:
    """sha256 of a column's values, whatever the tables that it comes in."""

    def __init__(self) -> None:
        self._hash = {name: hashlib.sha256() for name in ("valid", "lengths", "values")}
        self._type = ""

    @property
    def value(self) -> Mapping[str, str]:
        return {"type": self._type, **{name: found.hexdigest() for name, found in self._hash.items()}}

    def add(self, column: pa.ChunkedArray) -> None:
        values = column.combine_chunks()
        if len(values) == 0:
            return
        self._type = str(values.type)
        self._hash["valid"].update(values.is_valid().to_numpy(zero_copy_only=False).data)
        if values.null_count:
            values = values.drop_null()
        if pa.types.is_fixed_size_list(values.type):
            values = values.flatten()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            self._hash["lengths"].update(pc.binary_length(values).to_numpy().astype(np.int64))
            self._hash["values"].update("".join(values.to_pylist()).encode())
        else:
            self._hash["values"].update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)
