"""Models side by side: floors and ceiling, paired differences, agreement and transfer of their maps, as tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from xkd_eval.comparison.agreement import agreement_rows, image_rows
from xkd_eval.comparison.groups import SeedGroup, check_comparable, common_ids
from xkd_eval.comparison.plan import Kind, PlannedCell, plan_cells
from xkd_eval.comparison.result import Comparison, Pictured
from xkd_eval.comparison.tables import (
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
from xkd_eval.datasets import ImageDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.base import NEEDS, Evaluation
from xkd_eval.explainers import Explainer
from xkd_eval.study.answers import StudyAnswers
from xkd_eval.study.cells import MapSource, default_directory, maps_folder, unfitting
from xkd_eval.study.choose import (
    CORE,
    TestLike,
    check_stored,
    explainers_of,
    one_or_several,
    read_options,
    tests_of,
    without_core,
)
from xkd_eval.study.floors import CEILING, FLOORS
from xkd_eval.study.inputs import Data, StudyInputs, offered, open_data, open_masks, sets_for
from xkd_eval.study.models import Models, NamedModel, name_models
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.run import run_study
from xkd_eval.study.score_agreement import COLUMNS, score_agreement
from xkd_eval.study.stream import Progress
from xkd_eval.study.work import KeptMaps

# Options of a study that have no meaning here: a report has its own figures, of each model's own maps.
_OWN = ("maps", "save_maps", "figures")
# Those that a comparison of run directories reads.
_OF_TABLES = ("seed", "device")


def compare_models(
    models: Models,
    data: Data = "embedded",
    *,
    masks: Data | None = None,
    explainer: str | Explainer = "cam",
    floors: bool = True,
    tests: TestLike | Sequence[TestLike] | None = None,
    runs: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """The tables of a comparison; see `xkd_eval.compare`, which also writes its report.

    Args:
        models, data, masks, explainer, floors, tests, progress, options: as for `xkd_eval.compare`.
        runs: where the runs of single cells lie; None keeps everything in memory.
    """
    if unread := [name for name in _OWN if name in options]:
        raise XkdError(f"{unread[0]}: a comparison makes its own; leave it out")
    kinds = _tests(tests, NEEDS)
    own = ("masks", "explainer", "floors", "tests", "output", "runs", "pictured", "command", "progress")
    run, chosen = read_options(options, kinds, own)
    named = name_models(models)
    _check(named)
    if named[0].is_run:
        computed = {"data": data != "embedded", "masks": masks, "explainer": explainer != "cam", "tests": tests}
        computed |= {"floors": not floors}
        unread = [name for name, value in computed.items() if value]
        unread += [name for name in options if name not in _OF_TABLES]
        if unread:
            raise XkdError(f"{unread[0]}: nothing is computed again of run directories; leave it out")
        return _of_runs(named, run.seed)
    inputs = StudyInputs.load(named, replace(run, figures=False))  # a report has its own, of all models together
    dataset, masked = open_data(data, run, run.labels, run.boxes), open_masks(masks, run)
    made = _made(tests, offered(len(named), dataset, masked), inputs, chosen)
    (method,) = explainers_of([explainer], inputs.rules, run).values()
    unfit = unfitting(inputs, made, refused=tests is not None and CORE not in _given(tests))
    check_stored(made, {method.name: method})
    sets = sets_for(made, dataset, masked, partial(StudyAnswers, inputs, runs, progress), run.boxes)
    planned = plan_cells(inputs, made, sets, method, floors=floors, without=unfit)
    folders = _maps_folders(planned, dataset, inputs, runs)
    kept = [KeptMaps(source, dataset, folder) for source, folder in dict.fromkeys(folders.values())]
    cells = list(dict.fromkeys(entry.cell for entry in planned))

    def place(described: dict[str, Any]) -> Path | None:
        return None if runs is None else default_directory(described, runs)

    results = dict(zip(cells, run_study(cells, inputs, place, kept=kept, progress=progress), strict=True))
    found = _Found({entry.name: entry.group for entry in named}, {})
    for entry in planned:
        found.add(entry, replace(results[entry.cell], model=entry.model))
    tables = _tables(found, method.name, run.seed, inputs)
    left_out = tuple(f"{test} of {model} is left out: {why}" for (test, model), why in unfit.items())
    if not folders:
        return replace(tables, left_out=left_out)
    seen = {model: inputs.preprocess(model) for model in inputs.classifiers}
    pictured = Pictured(dataset, {model: folder for model, (_, folder) in folders.items()}, seen)
    return replace(tables, left_out=left_out, pictured=pictured)


def _of_runs(named: Sequence[NamedModel], seed: int) -> Comparison:
    """The comparison of finished run directories."""
    own = [EvaluationResult.read(Path(str(entry.model)), entry.name) for entry in named]
    _check_one_test(own)
    _check_one_kind_of_maps(own, named)
    return _tables(_Found({entry.name: entry.group for entry in named}, {"own": own}), None, seed)


def _made(
    tests: TestLike | Sequence[TestLike] | None, there: Collection[str], inputs: StudyInputs, options: Mapping[str, Any]
) -> dict[str, Evaluation]:
    """The tests by name, under their options; see `_tests`.

    Raises:
        XkdError: an option that none of them takes, two of one kind, or none that says something of a model alone.
    """
    chosen = _tests(tests, there)
    _, taken = read_options(options, chosen)  # once more: a default test may have no masks to read them for
    made = tests_of(chosen, inputs.rules, taken)
    if twice := [name for name, test in made.items() if name != test.name]:
        raise XkdError(f"tests: a comparison has one of a kind, and {twice[0]} is one more; `evaluate` takes several")
    if all(test.is_of_pairs() for test in made.values()):
        raise XkdError(f"tests: {', '.join(made)} says nothing of a model alone; give a test that does beside it")
    return made


def _maps_folders(
    planned: Sequence[PlannedCell], dataset: ImageDataset, inputs: StudyInputs, runs: Path | None
) -> dict[str, tuple[MapSource, Path]]:
    """Model -> its own maps of the photographs and where they are kept, for the report's pictures."""
    if runs is None:
        return {}
    own = {
        entry.model: entry.cell.source
        for entry in planned
        if entry.kind == "own" and entry.cell.dataset is dataset and entry.cell.source is not None
    }
    return {model: (maps, runs / "maps" / maps_folder(inputs, maps, dataset)) for model, maps in own.items()}


def _tests(tests: TestLike | Sequence[TestLike] | None, there: Collection[str]) -> list[TestLike]:
    """Those that are named; by default all that stand in comparisons and find what they need, labels apart."""
    if tests is not None:
        return without_core(_given(tests), there)[0]
    # Without labels there is no default comparison, and the first test that needs them says so.
    return [kind for _, kind in TESTS.items() if kind.in_comparisons and kind.suited({*there, "labels"}) is not None]


def _given(tests: TestLike | Sequence[TestLike]) -> list[TestLike]:
    """As they were asked for, the core by that name."""
    return one_or_several("tests", tests, (str, type, Evaluation))


def _check(named: Sequence[NamedModel]) -> None:
    if len(named) < 2:
        raise XkdError(f"models: {len(named)} model given; expected at least two, the teacher first")
    runs = [entry.name for entry in named if entry.is_run]
    if runs and len(runs) < len(named):
        other = next(entry.name for entry in named if not entry.is_run)
        raise XkdError(f"models: {runs[0]} is a run directory and {other} is none; give one kind")
    floor = next((model.group for model in named if model.group in (*FLOORS, CEILING) and not runs), None)
    if floor is not None:
        raise XkdError(f"models: one is called {floor!r}, as a floor is; give it another NAME=MODEL")
    if named[0].name != named[0].group:
        raise XkdError(
            f"models: {named[0].group} is the reference and has several seeds; expected one model as the reference"
        )


def _check_one_test(results: Sequence[EvaluationResult]) -> None:
    if len({result.test.name for result in results}) > 1:
        listed = ", ".join(f"{result.model} ({result.test.name})" for result in results)
        raise XkdError(f"models: run directories of one test expected; found {listed}")


def _check_one_kind_of_maps(results: Sequence[EvaluationResult], named: Sequence[NamedModel]) -> None:
    maps: dict[str, str] = {}
    for entry, result in zip(named, results, strict=True):
        if maps.setdefault(entry.group, result.maps) != result.maps:
            raise XkdError(
                f"models: the runs called {entry.group} have maps of {maps[entry.group]} and {result.maps}; "
                "runs of one name are training seeds: give one another NAME="
            )


@dataclass
class _Found:
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


def _tables(
    found: _Found,
    explainer: str | None,
    seed: int,
    inputs: StudyInputs | None = None,
) -> Comparison:
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
    agreements, images = _agreements(found, inputs, seed)
    members = {model: [result for result in found.of("own") if result.model == model] for model in found.groups}
    return Comparison(
        models=tuple(dict.fromkeys(found.groups.values())),
        explainer=explainer,
        scores=pd.DataFrame(scores),
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


def _agreements(found: _Found, inputs: StudyInputs | None, seed: int) -> tuple[list[Row], list[Row]]:
    """Of the images that all models score: see `agreement_rows` and `image_rows`."""
    pairs, floors = found.of("agreement"), found.of("floor's agreement")
    if not pairs or inputs is None:
        return [], []
    digest = pairs[0].summary["data"]["digest"]
    beside = [result for result in found.of("own") if result.summary["data"]["digest"] == digest]
    alone = [result for result in beside if not result.test.needs_reference]
    # A test of the answers alone has no maps; the images' rows are of those that are held against the reference's.
    first = [replace(result, maps=pairs[0].maps) for result in alone if result.test.name == alone[0].test.name]
    ids = common_ids([*first, *pairs])
    pairs, floors = ([result.restricted(ids) for result in group] for group in (pairs, floors))
    rows = agreement_rows(pairs, floors, found.groups, seed)
    if not first:  # no test of these images tells the models' answers
        return rows, []
    return rows, image_rows(first, pairs, floors, inputs.classifiers, ids)


def _pooled(
    results: Sequence[EvaluationResult], groups: Mapping[str, str], ids: Sequence[str], seed: int
) -> list[SeedGroup]:
    """Seeds of one student under one kind of maps together, in order of appearance."""
    members: dict[tuple[str, str], list[EvaluationResult]] = {}
    for result in results:
        members.setdefault((groups[result.model], result.maps), []).append(result.restricted(ids))
    return [SeedGroup.of(name, pooled, seed) for (name, _), pooled in members.items()]


def _transfer(found: _Found, test: str, floors: Sequence[SeedGroup], ids: Sequence[str], seed: int) -> list[Row]:
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
        rule["columns"][result.model] = {name: described[name] for name in ("model", "explainer", "precision")}
    return rules
