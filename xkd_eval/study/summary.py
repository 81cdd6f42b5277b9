"""What stands in summary.json after a run."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.returned import named
from xkd_eval.evaluations.scores import to_columns
from xkd_eval.study.records import SUMMARY_SCHEMA, Summary

RESERVED = (*(field.alias or name for name, field in Summary.model_fields.items()), "digest")
"""What a summary calls its own facts, beside a test's scores and extras."""


def summarise(
    test: Evaluation, description: dict[str, Any], rows: pa.Table, images_per_second: float | None
) -> dict[str, Any]:
    """The scores of a finished run with what they were measured on, as summary.json holds them.

    Args:
        test: that scored it.
        description: as protocol.json holds it.
        rows: of all images, skipped ones included.
        images_per_second: of the last sitting; None where nothing was left to score.

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
        "test": test.name,
        "protocol": {key: description["protocol"][key] for key in ("name", "hash")},
        **{
            key: description[key]
            for key in ("model", "explainer", "reference", "precision", "data")
            if key in description
        },
        "n_images": scored.num_rows,
        "degenerate_maps": int(columns["degenerate"].sum()) if "degenerate" in columns else 0,
        "skipped": {"count": len(skipped), "images": skipped},
        **found,
        "images_per_second": images_per_second,
    }


def scored_rows(rows: pa.Table) -> pa.Table:
    """The rows of images that were not skipped."""
    return rows.filter(rows["skipped"].is_null())


def skipped_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """[{"id", "reason"}] of the images that were skipped."""
    skipped = rows.filter(rows["skipped"].is_valid())
    reasons = zip(skipped["id"].to_pylist(), skipped["skipped"].to_pylist(), strict=True)
    return [{"id": identifier, "reason": reason} for identifier, reason in reasons]
