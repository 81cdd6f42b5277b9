"""Rows of the tables that follow from tests: scores, differences, curves, transfer, health."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from xkd_eval.comparison.groups import SeedGroup, interval_cells, rightly_classified
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.statistics.significance import holm, mcnemar_p, rank_biserial, signed_rank_p
from xkd_eval.study.floors import FLOORS, better_floors
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.stopping import stopping_note

Row = dict[str, Any]

_LEVEL = 0.05

WHERE_RIGHT = "_common"
"""Ends the name of a score on the images that every model classifies correctly."""

SCORES = ("model", "maps", "test", "score", "value", "low", "high", "n_images", "seeds", "beaten_by")
"""The columns of Comparison.scores."""


def score_rows(group: SeedGroup, suffix: str = "") -> list[Row]:
    """A row a score that is a number; with a suffix, only those that are computed where all are right."""
    return [
        {
            "model": group.name,
            "maps": group.maps,
            "test": group.test.name,
            "score": f"{spec.name}{suffix}",
            **interval_cells(group.interval(spec)),
            "n_images": len(group.results[0].ids),
            "seeds": len(group.results),
        }
        for spec in _numbers(group, suffix)
    ]


def flagged(rows: Sequence[Row], own: Sequence[SeedGroup], floors: Sequence[SeedGroup]) -> list[Row]:
    """Score rows, those of models' own maps with the floors that score better: "beaten_by", joined by commas."""
    owners, known = {(group.name, group.maps) for group in own}, {group.maps for group in floors} & set(FLOORS)
    beside: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in rows:
        if row["maps"] in known:
            beside.setdefault((row["model"], row["score"]), {})[row["maps"]] = row["value"]
    specs = {spec.name: spec for group in own for spec in group.test.specs()}

    def beaten(row: Row) -> str:
        if (row["model"], row["maps"]) not in owners:
            return ""
        spec = specs[row["score"].removesuffix(WHERE_RIGHT)]
        return ", ".join(better_floors(spec, row["value"], beside.get((row["model"], row["score"]), {})))

    return [row | {"beaten_by": beaten(row)} for row in rows]


def difference_rows(models: Sequence[SeedGroup], suffix: str = "") -> list[Row]:
    """Every pair: later models less earlier ones, a student less its teacher."""
    pairs = list(combinations(models, 2))
    return [row for first, second in pairs for row in _differences(second, first, len(pairs), suffix)]


def floor_rows(models: Sequence[SeedGroup], floors: Sequence[SeedGroup]) -> list[Row]:
    """Each model's own maps less each floor of the same model; of the scores that depend on maps."""
    pairs = [(model, floor) for model in models for floor in floors if floor.name == model.name]
    return [row for model, floor in pairs for row in _differences(model, floor, len(pairs), of_maps=True)]


def right_rows(models: Sequence[SeedGroup], floors: Sequence[SeedGroup]) -> tuple[list[Row], list[Row]]:
    """Scores and differences on the images that all models classify correctly; none where there is no such image."""
    if not any(spec.where_right for spec in models[0].test.specs()):
        return [], []
    right = rightly_classified([result for model in models for result in model.results])
    if not right:
        return [], []
    chosen, beside = ([group.restricted(right) for group in groups] for groups in (models, floors))
    rows = [row for group in (*chosen, *beside) for row in score_rows(group, WHERE_RIGHT)]
    return rows, difference_rows(chosen, WHERE_RIGHT)


def corrected(rows: Sequence[Row]) -> list[Row]:
    """With Holm's correction over the pairs of models, and over the floors, of each score."""
    families: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        if row["p"] is not None:
            families.setdefault((row["test"], row["score"], row["model"] == row["other"]), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
            if p >= _LEVEL:
                row.update(_with_zero(row))
    order = (
        *("test", "score", "model", "maps", "other", "other_maps"),
        *("value", "low", "high", "low_corrected", "high_corrected", "p", "p_holm", "effect", "seeds"),
    )
    return [{name: row.get(name) for name in order} for row in rows]


def _with_zero(row: Row) -> Row:
    """The bounds of a claim, zero among them: the exact test does not reject it, so it is no value to be excluded."""
    low, high = row["low_corrected"], row["high_corrected"]
    return {} if low is None else {"low_corrected": min(low, 0.0), "high_corrected": max(high, 0.0)}


def curve_rows(group: SeedGroup) -> Iterator[Row]:
    """A row a point of each curve."""
    for spec in group.specs():
        for point, x in enumerate(spec.x or ()):
            yield {
                "model": group.name,
                "maps": group.maps,
                "test": group.test.name,
                "score": spec.name,
                "x": x,
                **interval_cells(group.interval(spec, point)),
            }


def transfer_rows(source: str, group: SeedGroup) -> list[Row]:
    """The headline scores of one model on another's maps, and those that they are made of."""
    return [
        {
            "maps_of": source,
            "measured_on": group.name,
            "test": group.test.name,
            "score": spec.name,
            **interval_cells(group.interval(spec)),
        }
        for spec in _numbers(group)
        if spec.of_maps and (spec.is_at_least("headline") or spec.where_right)
    ]


def health_row(result: EvaluationResult) -> Row:
    """What went wrong, or might have."""
    summary = result.summary
    return {
        "model": result.model,
        "test": result.test.name,
        "maps": result.maps,
        "protocol": f"{summary['protocol']['name']} ({summary['protocol']['hash']})",
        "n_images": summary["n_images"],
        "skipped": summary["skipped"]["count"],
        "degenerate_maps": summary["degenerate_maps"],
        "notes": "; ".join([*stopping_note(summary), *result.test.notes(summary)]),
    }


def _numbers(group: SeedGroup, suffix: str = "") -> list[ScoreSpec]:
    return [spec for spec in group.specs() if spec.x is None and (spec.where_right or not suffix)]


def _differences(
    model: SeedGroup, other: SeedGroup, comparisons: int, suffix: str = "", *, of_maps: bool = False
) -> Iterator[Row]:
    theirs = {spec.name for spec in other.specs()}
    for spec in _numbers(model, suffix):
        if spec.name not in theirs or (of_maps and not spec.of_maps):
            continue
        plain, wide = model.difference(other, spec, comparisons)
        yield {
            "test": model.test.name,
            "score": f"{spec.name}{suffix}",
            "model": model.name,
            "maps": model.maps,
            "other": other.name,
            "other_maps": other.maps,
            **interval_cells(plain),
            "low_corrected": wide.low,
            "high_corrected": wide.high,
            **_tested(model, other, spec),
            "seeds": min(len(model.results), len(other.results)),
        }


def _tested(model: SeedGroup, other: SeedGroup, spec: ScoreSpec) -> dict[str, float | None]:
    """Tests over images alone: they say nothing about seeds, so with several there is none, nor without an image."""
    ours, theirs = model.per_image(spec), other.per_image(spec)
    if ours is None or theirs is None:
        return {"p": None, "effect": None}
    if ours.dtype == bool:
        return {"p": mcnemar_p(ours, theirs), "effect": rank_biserial(ours, theirs)}
    # A score may be undefined for an image, as foreground AP is without an object.
    defined = np.isfinite(ours) & np.isfinite(theirs)
    if not defined.any():
        return {"p": None, "effect": None}
    pair = ours[defined], theirs[defined]
    return {"p": signed_rank_p(*pair), "effect": rank_biserial(*pair)}
