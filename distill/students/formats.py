"""The files that an evaluation writes, known by their suffixes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xkd_eval.errors import XkdError

SCORES = (".json", ".csv", ".md")
FIGURES = (".png", ".pdf", ".svg")
CONFUSION = (".csv", *FIGURES)
PREDICTIONS = (".parquet",)


def check_suffix(argument: str, path: Path, expected: Sequence[str]) -> None:
    """Raise XkdError where a file to be written has none of the suffixes that say its format."""
    if path.suffix not in expected:
        raise XkdError(f"{argument}: {str(path)!r} found; expected a file that ends in {', '.join(expected)}")
