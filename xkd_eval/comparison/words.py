"""The comparison in words: never a claim that the interval does not carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from xkd_eval.comparison.maps import REFERENCES
from xkd_eval.comparison.result import Comparison

_BETTER = {
    "clean_accuracy": (1, "Accuracy"),
    "positive.auc_common": (-1, "Positive AUC where all models are right"),
    "negative.auc_common": (1, "Negative AUC where all models are right"),
    "miou": (1, "mIoU"),
    "pointing_game": (1, "Pointing game"),
}
"""Score -> which sign is better, and its name."""

_AGAINST_FLOORS = {
    "positive.auc": (-1, "Positive AUC beside floors and ceiling"),
    "negative.auc": (1, "Negative AUC beside floors and ceiling"),
}

_LEVEL = 0.05


@dataclass(frozen=True)
class Finding:
    """What is said of one score or measure.

    Attributes:
        title: its name.
        against_reference: sentences on each other model and the reference.
        others: on the other pairs.
    """

    title: str
    against_reference: list[str]
    others: list[str]


def findings(result: Comparison) -> Iterator[Finding]:
    """Score by score, then each model's maps against the floors, then agreement with the reference."""
    rows = result.differences.to_dict("records")
    common = common_images(result)
    for score, (sign, title) in _BETTER.items():
        title = f"{title} ({common:,} images)" if score.endswith("_common") and common is not None else title
        pairs = [row for row in rows if row["score"] == score and row["model"] != row["other"]]
        said: dict[bool, list[str]] = {True: [], False: []}
        for row in pairs:
            said[row["other"] == result.models[0]].append(_difference(row, sign))
        if pairs:
            yield Finding(title, said[True], said[False])
    for score, (sign, title) in _AGAINST_FLOORS.items():
        beside = [row for row in rows if row["score"] == score and row["model"] == row["other"]]
        if beside:
            yield Finding(title, [_against_floors(model, beside, sign) for model in result.models], [])
    if len(result.agreement):
        yield Finding(f"Maps beside those of {result.models[0]}", list(_agreement(result)), [])


def sentences(result: Comparison) -> Iterator[str]:
    """All findings, each sentence with its score."""
    for finding in findings(result):
        for sentence in (*finding.against_reference, *finding.others):
            yield f"{finding.title}: {sentence}"


def common_images(result: Comparison) -> int | None:
    """How many images all models classify correctly."""
    rows = result.scores
    rows = rows[rows["score"].str.endswith("_common")]
    return int(rows["n_images"].iloc[0]) if len(rows) else None


def is_carried(row: Mapping[Any, Any]) -> bool:
    """Whether a row of Comparison.differences carries the claim of a difference.

    Its interval must exclude zero and, where there is a test, its p corrected for several pairs must stay below 5 %.
    """
    if pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]:
        return False
    return bool(pd.isna(row["p_holm"]) or row["p_holm"] < _LEVEL)


def _difference(row: dict[Any, Any], sign: int) -> str:
    model, other, value, low, high = (row[key] for key in ("model", "other", "value", "low", "high"))
    if pd.isna(value) or pd.isna(low):
        return f"undefined for {model} or {other}."
    if low == high == 0:
        return f"{model} and {other} give the same result on these images."
    span = f"{100 * value:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    tested = "" if pd.isna(row["p_holm"]) else f", corrected p {row['p_holm']:.2g}"
    verdict = _verdict(row, sign)
    if verdict == 0:
        return f"{model} and {other} are not told apart ({span}{tested})."
    return f"{model} is {'better' if verdict > 0 else 'worse'} than {other} ({span}{tested})."


def _verdict(row: dict[Any, Any], sign: int) -> int:
    """1 better, -1 worse, 0 not carried."""
    if not is_carried(row):
        return 0
    return sign if row["value"] > 0 else -sign


def _against_floors(model: str, rows: list[dict[Any, Any]], sign: int) -> str:
    verdicts = {row["other_maps"]: _verdict(row, sign) for row in rows if row["model"] == model}
    said = {1: "better than {}", -1: "worse than {}", 0: "not told apart from {}"}
    parts = [
        text.format(_joined([maps for maps, found in verdicts.items() if found == verdict]))
        for verdict, text in said.items()
        if verdict in verdicts.values()
    ]
    return f"the maps of {model} are {', '.join(parts)} maps."


def _agreement(result: Comparison) -> Iterator[str]:
    chosen = result.agreement
    chosen = chosen[(chosen["measure"] == "spearman") & (chosen["outcome"] == "all")]
    chosen = chosen[chosen["of_class"] != REFERENCES]
    for row in result.own(chosen).to_dict("records"):
        weak = "; one of the maps is too coarse for the figure to say much" if row["uninformative"] else ""
        span = "" if pd.isna(row["low"]) else f" (95 % interval {row['low']:.2f} to {row['high']:.2f})"
        yield f"those of {row['model']} have a rank correlation of {row['value']:.2f}{span}{weak}."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
