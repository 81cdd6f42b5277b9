"""The comparison in words: never a claim that the interval does not carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from xkd_eval.comparison.result import Comparison

_BETTER = {
    "clean_accuracy": (1, "accuracy"),
    "positive.auc_common": (-1, "positive AUC on the images that all classify correctly"),
    "negative.auc_common": (1, "negative AUC on the images that all classify correctly"),
    "miou": (1, "mIoU"),
    "pointing_game": (1, "pointing game"),
}
"""Score -> which sign is better, and its name."""

_LEVEL = 0.05


def sentences(result: Comparison) -> Iterator[str]:
    """A sentence a score and pair of models, then how far each model's maps agree with the reference's."""
    for score, (sign, name) in _BETTER.items():
        for row in result.differences[result.differences["score"] == score].to_dict("records"):
            yield _difference(row, sign, name)
    if not len(result.agreement):
        return
    chosen = result.agreement
    chosen = chosen[(chosen["measure"] == "spearman") & (chosen["outcome"] == "all")]
    for row in chosen[chosen["of_class"] == "predicted"].to_dict("records"):
        weak = "; one of the maps is too coarse for the figure to say much" if row["uninformative"] else ""
        yield (
            f"Maps of {row['model']} and {result.models[0]} have a rank correlation of {row['value']:.2f} "
            f"(95 % interval {row['low']:.2f} to {row['high']:.2f}){weak}."
        )


def _difference(row: dict[Any, Any], sign: int, name: str) -> str:
    model, other, value, low, high = (row[key] for key in ("model", "other", "value", "low", "high"))
    if pd.isna(value) or pd.isna(low):
        return f"{name}: undefined for {model} or {other}."
    if low == high == 0:
        return f"{name}: {model} and {other} are equal."
    span = f"{100 * value:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    tested = "" if pd.isna(row["p_holm"]) else f", corrected p {row['p_holm']:.2g}"
    # Both the interval and the test that is corrected for several pairs must carry it.
    if low <= 0 <= high or row["p_holm"] >= _LEVEL:
        return f"{name}: no difference between {model} and {other} is carried ({span}{tested})."
    return f"{name}: {model} is {'better' if sign * value > 0 else 'worse'} than {other} ({span}{tested})."
