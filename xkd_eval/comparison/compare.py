"""Models side by side: floors and oracle, paired differences, agreement and transfer of their maps, as tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xkd_eval.comparison.found import Found, tables_of
from xkd_eval.comparison.plan import PlannedCell, plan_cells
from xkd_eval.comparison.result import Comparison, Pictured
from xkd_eval.datasets import ImageDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import NEEDS, Evaluation
from xkd_eval.explainers import Explainer
from xkd_eval.study.answers import StudyAnswers
from xkd_eval.study.cells import MapSource, default_directory, maps_folder, unfitting
from xkd_eval.study.choose import (
    TestLike,
    check_stored,
    compared_kinds,
    core_of,
    explainers_of,
    one_or_several,
    read_options,
    tests_of,
    without_core,
)
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.inputs import Data, StudyInputs, offered, open_data, open_masks, sets_for, unlabelled
from xkd_eval.study.models import Models, NamedModel, name_models
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.run import run_study
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
    given = None if tests is None else one_or_several("tests", tests, (str, type, Evaluation))
    own = ("masks", "explainer", "floors", "tests", "output", "runs", "gallery", "command", "progress")
    run, chosen = read_options(options, _tests(given, NEEDS)[0], own)
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
    inputs.suit(dataset, masked)
    made, left_out = _made(given, offered(len(named), dataset, masked), inputs, chosen)
    optional = core_of(given or (), made)
    (method,) = explainers_of([explainer], inputs.rules, run).values()
    unfit = unfitting(inputs, made, made if given is None else optional)
    left_out += [f"{test} of {model} is left out: {why}" for (test, model), why in unfit.items()]
    check_stored(made, {method.name: method})
    answering = partial(StudyAnswers, inputs, runs, progress)
    sets, refused = sets_for(made, dataset, masked, answering, run.boxes, optional)
    left_out += refused + unlabelled(dataset)
    made = {name: made[name] for name in sets}
    planned = plan_cells(inputs, made, sets, method, floors=floors, without=unfit)
    folders = _maps_folders(planned, dataset, inputs, runs)
    kept = [KeptMaps(source, dataset, folder) for source, folder in dict.fromkeys(folders.values())]
    cells = list(dict.fromkeys(entry.cell for entry in planned))

    def place(described: dict[str, Any]) -> Path | None:
        return None if runs is None else default_directory(described, runs)

    results = dict(zip(cells, run_study(cells, inputs, place, kept=kept, progress=progress), strict=True))
    found = Found({entry.name: entry.group for entry in named}, {})
    for entry in planned:
        found.add(entry, replace(results[entry.cell], model=entry.model))
    tables = tables_of(found, method.name, run.seed, inputs)
    if not folders:
        return replace(tables, left_out=tuple(left_out))
    seen = {model: inputs.preprocess(model) for model in inputs.classifiers}
    pictured = Pictured(dataset, {model: folder for model, (_, folder) in folders.items()}, seen)
    return replace(tables, left_out=tuple(left_out), pictured=pictured)


def _of_runs(named: Sequence[NamedModel], seed: int) -> Comparison:
    """The comparison of finished run directories."""
    own = [EvaluationResult.read(Path(str(entry.model)), entry.name) for entry in named]
    _check_one_test(own)
    _check_one_kind_of_maps(own, named)
    return tables_of(Found({entry.name: entry.group for entry in named}, {"own": own}), None, seed)


def _made(
    given: Sequence[TestLike] | None, there: Collection[str], inputs: StudyInputs, options: Mapping[str, Any]
) -> tuple[dict[str, Evaluation], list[str]]:
    """The tests by name, under their options, and what is left out; see `_tests`.

    Raises:
        XkdError: an option that none of them takes, two of one kind, or none that says something of a model alone.
    """
    chosen, left_out = _tests(given, there)
    _, taken = read_options(options, chosen)  # once more: a default test may have no masks to read them for
    made = tests_of(chosen, inputs.rules, taken)
    if twice := [name for name, test in made.items() if name != test.name]:
        raise XkdError(f"tests: a comparison has one of a kind, and {twice[0]} is one more; `evaluate` takes several")
    if all(test.is_of_pairs() for test in made.values()):
        raise XkdError(f"tests: {', '.join(made)} says nothing of a model alone; give a test that does beside it")
    return made, left_out


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


def _tests(given: Sequence[TestLike] | None, there: Collection[str]) -> tuple[list[TestLike], list[str]]:
    """Those that are named, and a sentence for each of the core that is left out.

    By default all that stand in comparisons and find what they need, labels apart.
    """
    if given is not None:
        return without_core(given, there)
    # Without labels there is no default comparison, and the first test that needs them says so.
    there = {*there, "labels"}
    return [*compared_kinds(there)], []


def _check(named: Sequence[NamedModel]) -> None:
    if len(named) < 2:
        raise XkdError(f"models: {len(named)} model given; expected at least two, the teacher first")
    runs = [entry.name for entry in named if entry.is_run]
    if runs and len(runs) < len(named):
        other = next(entry.name for entry in named if not entry.is_run)
        raise XkdError(f"models: {runs[0]} is a run directory and {other} is none; give one kind")
    floor = next((model.group for model in named if model.group in (*FLOORS, ORACLE) and not runs), None)
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
