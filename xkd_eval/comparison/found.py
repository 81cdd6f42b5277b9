"""What the cells of a comparison came to, and the tables that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from xkd_eval.comparison.agreement import agreement_rows, image_rows
from xkd_eval.comparison.groups import SeedGroup, check_comparable, common_ids
from xkd_eval.comparison.plan import Kind, PlannedCell
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import (
    SCORES,
    Row,
    corrected,
    curve_rows,
    difference_rows,
    flagged,
    floor_rows,
    health_row,
    right_rows,
    score_rows,
    transfer_rows,
)
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.records import COLUMN
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.score_agreement import COLUMNS, score_agreement


@dataclass
class Found:
    """What the cells of a comparison came to.

    Attributes:
        groups: model -> group, the reference first.
        results: by what they are to the comparison.
        sources: whose maps each crossed result scored.
    """

    groups: dict[str, str]
    results: dict[Kind, list[EvaluationResult]]
    sources: list[str] = field(default_factory=list)

    def add(self, planned: PlannedCell, result: EvaluationResult) -> None:
        """What a planned cell came to."""
        self.results.setdefault(planned.kind, []).append(result)
        if planned.kind == "crossed":
            self.sources.append(planned.maps_of)

    def of(self, kind: Kind, test: str | None = None) -> list[EvaluationResult]:
        """Results of a kind, in the order in which they were planned."""
        return [result for result in self.results.get(kind, []) if test in (None, result.test.name)]


def tables_of(
    found: Found,
    explainer: str | None,
    seed: int,
    inputs: StudyInputs | None = None,
) -> Comparison:
    """The tables of a comparison.

    Args:
        found: what its cells came to.
        explainer: whose maps are scored; None of finished runs, which may be of several.
        seed: of the resampling.
        inputs: of the study; None of finished runs.
    """
    scores: list[Row] = []
    differences: list[Row] = []
    curves: list[Row] = []
    transfer: list[Row] = []
    tests = {result.test.name: result.test for result in (*found.of("own"), *found.of("agreement"))}
    for name in dict.fromkeys(result.test.name for result in found.of("own")):
        results = [*found.of("own", name), *found.of("floor", name)]
        check_comparable(results)
        ids = common_ids(results)
        own, floors = (_pooled(found.of(kind, name), found.groups, ids, seed) for kind in ("own", "floor"))
        scores += flagged([row for group in (*own, *floors) for row in score_rows(group)], own, floors)
        curves += [row for group in (*own, *floors) for row in curve_rows(group)]
        differences += difference_rows(own) + floor_rows(own, floors)
        right = right_rows(own, floors)
        scores, differences = scores + flagged(right[0], own, floors), differences + right[1]
        transfer += _transfer(found, name, floors, ids, seed)
    agreements, images, apart = _agreements(found, inputs, seed)
    differences += apart
    members = {model: [result for result in found.of("own") if result.model == model] for model in found.groups}
    return Comparison(
        models=tuple(dict.fromkeys(found.groups.values())),
        explainer=explainer,
        # With its columns where no test has a number to compare.
        scores=pd.DataFrame(scores) if scores else pd.DataFrame(columns=list(SCORES)),
        differences=pd.DataFrame(corrected(differences)),
        agreement=pd.DataFrame(agreements),
        transfer=pd.DataFrame(transfer),
        curves=pd.DataFrame(curves),
        images=pd.DataFrame(images),
        health=pd.DataFrame([health_row(result) for kind in ("own", "floor") for result in found.of(kind)]),
        score_agreement=pd.DataFrame(
            [row for results in members.values() for row in score_agreement(results, "headline")], columns=list(COLUMNS)
        ),
        rules=_rules(found.of("own")),
        tests=tests,
        members=tuple(found.groups),
    )


def _agreements(found: Found, inputs: StudyInputs | None, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Of the images that all models score: see `agreement_rows` and `image_rows`; and the differences of the students.

    Those are of the maps of the class that each explains.
    """
    pairs, floors = found.of("agreement"), found.of("floor's agreement")
    if not pairs or inputs is None:
        return [], [], []
    digest = pairs[0].summary["data"]["digest"]
    beside = [result for result in found.of("own") if result.summary["data"]["digest"] == digest]
    alone = [result for result in beside if not result.test.needs_reference]
    # A test of the answers alone has no maps; the images' rows are of those that are held against the reference's.
    first = [replace(result, maps=pairs[0].maps) for result in alone if result.test.name == alone[0].test.name]
    ids = common_ids([*first, *pairs])
    pairs, floors = ([result.restricted(ids) for result in group] for group in (pairs, floors))
    rows = agreement_rows(pairs, floors, found.groups, seed)
    of_own_class = [result for result in pairs if result.test.protocol.target != "reference"]
    apart = [
        row
        for name in dict.fromkeys(result.test.name for result in of_own_class)
        for row in difference_rows(
            _pooled([result for result in of_own_class if result.test.name == name], found.groups, ids, seed)
        )
    ]
    if not first:  # no test of these images tells the models' answers
        return rows, [], apart
    return rows, image_rows(first, alone, pairs, floors, inputs.classifiers, ids), apart


def _pooled(
    results: Sequence[EvaluationResult], groups: Mapping[str, str], ids: Sequence[str], seed: int
) -> list[SeedGroup]:
    """Seeds of one student under one kind of maps together, in order of appearance."""
    members: dict[tuple[str, str], list[EvaluationResult]] = {}
    for result in results:
        members.setdefault((groups[result.model], result.maps), []).append(result.restricted(ids))
    return [SeedGroup.of(name, pooled, seed) for (name, _), pooled in members.items()]


def _transfer(found: Found, test: str, floors: Sequence[SeedGroup], ids: Sequence[str], seed: int) -> list[Row]:
    """Whose maps are scored, the floors' too; seeds of one student together."""
    members: dict[tuple[str, str], list[EvaluationResult]] = {}
    for source, result in zip(found.sources, found.of("crossed"), strict=True):
        if result.test.name == test:
            pair, scored = (found.groups[source], found.groups[result.model]), set(result.ids)
            members.setdefault(pair, []).append(result.restricted([name for name in ids if name in scored]))
    # Where the reference answers to the maps of each seed of a student, the seeds are the student's.
    crossed = [
        row
        for (source, name), pooled in members.items()
        for row in transfer_rows(source, SeedGroup.of(name, pooled, seed))
    ]
    return crossed + [row for floor in floors for row in transfer_rows(floor.maps, floor)] if crossed else []


def _rules(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    """Test -> protocol, data, and each model's column: what is recorded beside the rules."""
    rules: dict[str, Any] = {}
    for result in results:
        described = result.description
        rule = rules.setdefault(
            result.test.name, {"protocol": described["protocol"], "data": described["data"], "columns": {}}
        )
        rule["columns"][result.model] = {name: described[name] for name in COLUMN}
    return rules
