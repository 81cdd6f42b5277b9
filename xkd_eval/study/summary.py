"""What stands in summary.json after a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.returned import named
from xkd_eval.evaluations.scores import to_columns
from xkd_eval.study.records import SUMMARY_SCHEMA, Summary

RESERVED = (*(field.alias or name for name, field in Summary.model_fields.items()), "digest")
"""What a summary calls its own facts, beside a test's scores and extras."""

SUMMARY_AGAIN = "delete it and run its test again, which makes it anew of the rows"

_REPEATED = ("test", "model", "explainer", "reference", "precision", "engine", "data", "stopping")
_BOUND = (*_REPEATED, "protocol", "rows")


def summarise(
    test: Evaluation,
    description: dict[str, Any],
    rows: pa.Table,
    images_per_second: float | None,
    chunks: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The scores of a finished run with what they were measured on, as summary.json holds them.

    Args:
        test: that scored it.
        description: as protocol.json holds it.
        rows: of all images, skipped ones included.
        images_per_second: of the last sitting; None where nothing was left to score.
        chunks: images a forward, where the memory did not suffice for as many as the description says.

    Raises:
        XkdError: a score or an extra of the test has the name of one of the summary's own facts.
    """
    scored = scored_rows(rows)
    columns = to_columns(scored)
    skipped = skipped_rows(rows)
    found = test.summarise(columns)
    if taken := [name for name in found if name in RESERVED]:
        raise XkdError(f"{named(test)}: {taken[0]!r} is what a summary calls a fact of its own; choose another name")
    return {
        "schema": SUMMARY_SCHEMA,
        **_described(description),
        "rows": rows_digest(rows),
        **({"stopped_after": rows.num_rows} if "stopping" in description else {}),
        "n_images": scored.num_rows,
        "degenerate_maps": int(columns["degenerate"].sum()) if "degenerate" in columns else 0,
        "skipped": {"count": len(skipped), "images": skipped},
        **found,
        "images_per_second": images_per_second,
        "smaller_chunks": None if chunks is None else dict(chunks),
    }


def check_summary(summary: dict[str, Any], description: dict[str, Any], rows: pa.Table, what: str) -> None:
    """A summary is one of these rows, under this description, and of no others.

    Args:
        summary: as summary.json holds it.
        description: as protocol.json holds it.
        rows: of all images.
        what: begins the message: the argument and the file.

    Raises:
        XkdError: it is of another run.
    """
    expected = {**_described(description), "rows": rows_digest(rows)}
    differing = [part for part in _BOUND if summary.get(part) != expected.get(part)]
    if differing:
        raise XkdError(f"{what} is of another run; these differ: {', '.join(differing)}; {SUMMARY_AGAIN}")


def rows_digest(rows: pa.Table) -> str:
    """sha256 over which images there are, which were skipped and why, and all that is known of the others."""
    columns = to_columns(scored_rows(rows)).items()
    values = {name: found.tolist() if found.dtype == object else _digest_of_numbers(found) for name, found in columns}
    images = {name: rows[name].to_pylist() for name in ("position", "id", "content_hash", "skipped")}
    return digest_of({"images": images, "scored": values})


def scored_rows(rows: pa.Table) -> pa.Table:
    """The rows of images that were not skipped."""
    return rows.filter(rows["skipped"].is_null())


def skipped_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """[{"id", "reason"}] of the images that were skipped."""
    skipped = rows.filter(rows["skipped"].is_valid())
    reasons = zip(skipped["id"].to_pylist(), skipped["skipped"].to_pylist(), strict=True)
    return [{"id": identifier, "reason": reason} for identifier, reason in reasons]


def _described(description: dict[str, Any]) -> dict[str, Any]:
    """What a summary repeats of its run's description."""
    protocol = {key: description["protocol"][key] for key in ("name", "hash")}
    return {**{part: description[part] for part in _REPEATED if part in description}, "protocol": protocol}


def _digest_of_numbers(values: np.ndarray) -> str:
    return f"{values.dtype.str}{values.shape} {hashlib.sha256(values.tobytes()).hexdigest()}"
