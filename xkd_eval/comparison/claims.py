"""What the images carry of a difference: better, worse, or neither is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from xkd_eval.evaluations.scores import ScoreSpec

SYMBOLS = {1: "▲", -1: "▼", 0: "○"}
"""Better, worse, and not told apart."""


def is_claimed(row: Mapping[Any, Any]) -> bool:
    """Whether a row of Comparison.differences carries the claim of a difference.

    The interval that holds together with those of all pairs of the score excludes zero. (It does not where there is a
    test whose p, corrected for them, is 5 % or more: see `xkd_eval.comparison.tables`.)
    """
    return not pd.isna(row["low_corrected"]) and not row["low_corrected"] <= 0 <= row["high_corrected"]


def claim(row: Mapping[Any, Any], spec: ScoreSpec) -> int:
    """1 where the row's model is better than the other, -1 where it is worse, 0 where that is not told.

    Args:
        row: of Comparison.differences.
        spec: of its score.
    """
    if not is_claimed(row):
        return 0
    return spec.sign if row["value"] > 0 else -spec.sign
