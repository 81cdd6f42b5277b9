"""The comparison in words: never a claim that the interval does not carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from xkd_eval.comparison.agreement import ALL
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.study.floors import FLOORS
from xkd_eval.wording import counted

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
    """By headline score; then each model's maps against the floors; then agreement with the reference."""
    rows = result.differences.to_dict("records")
    common = common_images(result)
    headlines = [
        (name, spec)
        for name, test in result.tests.items()
        if not test.is_of_pairs()
        for spec in test.specs()
        if spec.x is None and spec.is_at_least("headline")
    ]
    for test, spec in headlines:
        # What grows with accuracy is compared where all models are right.
        score = f"{spec.name}{WHERE_RIGHT}" if spec.where_right else spec.name
        title = spec.heading
        if spec.where_right:
            of = "" if common is None else f" ({counted(common, 'image')})"
            title += f" where all models are right{of}"
        said: dict[bool, list[str]] = {True: list(_to_reference(result, test, spec)), False: []}
        for row in rows:
            if (row["test"], row["score"]) == (test, score) and row["model"] != row["other"]:
                said[row["other"] == result.models[0]].append(_difference(row, spec))
        if any(said.values()):
            yield Finding(title, said[True], said[False])
    for test, spec in headlines:
        beside = [
            row for row in rows if (row["test"], row["score"]) == (test, spec.name) and row["model"] == row["other"]
        ]
        if spec.where_right and beside:
            sentences = [_against_floors(model, beside, spec) for model in result.models]
            yield Finding(f"{spec.heading} beside floors and ceiling", sentences, [])
    if wins := list(_winning_floors(result)):
        yield Finding("Where maps that know nothing of the model score better", wins, [])
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
    rows = rows[rows["score"].str.endswith(WHERE_RIGHT)]
    return int(rows["n_images"].iloc[0]) if len(rows) else None


def is_carried(row: Mapping[Any, Any]) -> bool:
    """Whether a row of Comparison.differences carries the claim of a difference.

    Its interval must exclude zero and, where there is a test, its p corrected for several pairs must stay below 5 %.
    """
    if pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]:
        return False
    return bool(pd.isna(row["p_holm"]) or row["p_holm"] < _LEVEL)


def _difference(row: dict[Any, Any], spec: ScoreSpec) -> str:
    model, other, value, low, high = (row[key] for key in ("model", "other", "value", "low", "high"))
    if pd.isna(value):
        return f"undefined for {model} or {other}."
    digits, unit = (1, " points") if spec.unit == "%" else (3, "")
    if pd.isna(low):
        return f"{model} less {other} is {spec.scale * value:+.{digits}f}{unit}, without an interval: too few images."
    if low == high == 0:
        return f"{model} and {other} give the same result on these images."
    value, low, high = (spec.scale * number for number in (value, low, high))
    span = f"{value:+.{digits}f}{unit}, 95 % interval {low:+.{digits}f} to {high:+.{digits}f}"
    tested = "" if pd.isna(row["p_holm"]) else f", corrected p {row['p_holm']:.2g}"
    verdict = _verdict(row, spec)
    if verdict == 0 and spec.sign == 0 and is_carried(row):
        return f"{model} and {other} differ ({span}{tested})."
    if verdict == 0:
        return f"{model} and {other} are not told apart ({span}{tested})."
    return f"{model} is {'better' if verdict > 0 else 'worse'} than {other} ({span}{tested})."


def _to_reference(result: Comparison, test: str, spec: ScoreSpec) -> Iterator[str]:
    """What each model scores, where the score holds it against the reference, which then has none."""
    if not result.tests[test].needs_reference:
        return
    rows = result.own(result.scores)
    digits, unit = (1, " %") if spec.unit == "%" else (3, "")
    for row in rows[(rows["test"] == test) & (rows["score"] == spec.name)].to_dict("records"):
        value, low, high = (None if pd.isna(row[key]) else spec.scale * row[key] for key in ("value", "low", "high"))
        span = "" if low is None else f" (95 % interval {low:.{digits}f} to {high:.{digits}f})"
        yield f"{row['model']}: {'undefined' if value is None else f'{value:.{digits}f}{unit}'}{span}."


def _verdict(row: dict[Any, Any], spec: ScoreSpec) -> int:
    """1 better, -1 worse, 0 not carried."""
    if not is_carried(row):
        return 0
    return spec.sign if row["value"] > 0 else -spec.sign


def _against_floors(model: str, rows: list[dict[Any, Any]], spec: ScoreSpec) -> str:
    verdicts = {row["other_maps"]: _verdict(row, spec) for row in rows if row["model"] == model}
    said = {1: "better than {}", -1: "worse than {}", 0: "not told apart from {}"}
    parts = [
        text.format(_joined([maps for maps, found in verdicts.items() if found == verdict]))
        for verdict, text in said.items()
        if verdict in verdicts.values()
    ]
    return f"the maps of {model} are {', '.join(parts)} maps."


def _winning_floors(result: Comparison) -> Iterator[str]:
    """A sentence a score and floor, of those that the intervals carry: the score says little of maps, then."""
    losers: dict[tuple[str, str, str], list[str]] = {}
    for row in result.differences.to_dict("records"):
        spec = result.spec(row["score"], row["test"])
        if row["model"] != row["other"] or row["other_maps"] not in FLOORS or spec is None:
            continue
        if spec.is_at_least("shown") and _verdict(row, spec) < 0:
            losers.setdefault((row["test"], spec.heading, row["other_maps"]), []).append(row["model"])
    for (_, heading, floor), models in losers.items():
        yield f"{heading}: {floor} maps score better than those of {_joined(models)}."


def _agreement(result: Comparison) -> Iterator[str]:
    table = result.agreement
    table = table[(table["outcome"] == ALL) & (table["target"] != "reference")]
    for row in result.own(table).to_dict("records"):
        spec = result.spec(row["measure"], row["test"])
        if spec is None or not spec.is_at_least("headline"):
            continue
        weak = "; one of the maps is too coarse for the figure to say much" if row["uninformative"] else ""
        span = "" if pd.isna(row["low"]) else f" (95 % interval {row['low']:.2f} to {row['high']:.2f})"
        value = "undefined" if pd.isna(row["value"]) else f"{row['value']:.2f}"
        yield f"those of {row['model']} have a {spec.title} of {value}{span}{weak}."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
