"""What stands in summary.json after a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.returned import named
from xkd_eval.study.records import SUMMARY_SCHEMA, Summary, without_url
from xkd_eval.study.tally import Tally

RESERVED = (*(field.alias or name for name, field in Summary.model_fields.items()), "digest")
"""What a summary calls its own facts, beside a test's scores and extras."""

SUMMARY_AGAIN = "delete it and run its test again, which makes it anew of the rows"

_REPEATED = ("test", "model", "explainer", "reference", "precision", "engine", "data", "stopping")
_BOUND = (*_REPEATED, "protocol", "rows")


def summarise(
    tally: Tally,
    test: Evaluation,
    description: dict[str, Any],
    images_per_second: float | None,
    chunks: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The scores of a finished run with what they were measured on, as summary.json holds them.

    Args:
        tally: of its rows, by the test.
        test: that scored it.
        description: as protocol.json holds it.
        images_per_second: of the last sitting; None where nothing was left to score.
        chunks: images a forward, where the memory did not suffice for as many as the description says.

    Raises:
        XkdError: a score or an extra of the test has the name of one of the summary's own facts.
    """
    found = tally.summarise()
    if taken := [name for name in found if name in RESERVED]:
        raise XkdError(f"{named(test)}: {taken[0]!r} is what a summary calls a fact of its own; choose another name")
    return {
        "schema": SUMMARY_SCHEMA,
        **_described(description),
        "rows": tally.digest,
        **({"stopped_after": tally.count} if "stopping" in description else {}),
        "n_images": tally.scored,
        "degenerate_maps": tally.degenerate,
        "skipped": {"count": len(tally.skipped), "images": tally.skipped},
        **found,
        "images_per_second": images_per_second,
        "smaller_chunks": None if chunks is None else dict(chunks),
    }


def check_summary(summary: dict[str, Any], description: dict[str, Any], rows: str, what: str) -> None:
    """A summary is one of these rows, under this description, and of no others.

    Args:
        summary: as summary.json holds it.
        description: as protocol.json holds it.
        rows: their digest.
        what: begins the message: the argument and the file.

    Raises:
        XkdError: it is of another run.
    """
    expected = {**_described(description), "rows": rows}
    differing = [part for part in _BOUND if summary.get(part) != expected.get(part)]
    if differing:
        raise XkdError(f"{what} is of another run; these differ: {', '.join(differing)}; {SUMMARY_AGAIN}")


def _described(description: dict[str, Any]) -> dict[str, Any]:
    """What a summary repeats of its run's description."""
    protocol = {key: description["protocol"][key] for key in ("name", "hash")}
    repeated = {part: description[part] for part in _REPEATED if part in description}
    return {**repeated, "data": without_url(description["data"]), "protocol": protocol}
