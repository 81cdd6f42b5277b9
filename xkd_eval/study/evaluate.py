"""evaluate(): models x explainers x tests in one stream; and one test of one model, as a function each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xkd_eval.arguments import public
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError
from xkd_eval.escapes import csv_bytes
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.segmentation.test import SegmentationTest
from xkd_eval.explainers import Explainer, create_explainer
from xkd_eval.files import replacing, writing
from xkd_eval.study.answers import StudyAnswers
from xkd_eval.study.cells import Cell, default_directory, own_cell, own_cells, unfitting
from xkd_eval.study.choose import (
    TestLike,
    check_stored,
    core_of,
    explainers_of,
    one_or_several,
    read_options,
    tests_of,
    without_core,
)
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.inputs import Data, StudyInputs, offered, open_data, open_masks, sets_for, unlabelled
from xkd_eval.study.models import Model, Models, name_models
from xkd_eval.study.result import EvaluationResult, Study
from xkd_eval.study.run import run_study
from xkd_eval.study.stream import Progress
from xkd_eval.study.work import KeptMaps


@public(model="models", explainer="explainers")
def evaluate(
    models: Models,
    data: Data = "embedded",
    *,
    explainers: str | Explainer | Sequence[str | Explainer] = ("cam",),
    tests: TestLike | Sequence[TestLike] = (PerturbationTest.name,),
    masks: Data | None = None,
    runs: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Study:
    """Evaluate models side by side: every photograph is read, classified and explained once, however many tests there
    are.

    Args:
        models: one, several, or a mapping from names: what `load_classifier` takes, the reference first.
        data: what `open_dataset` takes, or an ImageDataset.
        explainers: names that `xkd-eval explainers` lists, with options where wanted
            ("integrated_gradients:steps=200"), or Explainers.
        tests: names that `xkd-eval tests` lists, with options where wanted ("perturbation:fill=blur"); "core" stands
            for those that a paper's table needs, as far as models and data have what they need.
        masks: images with masks, for the tests that need them; by default `data`.
        runs: where the runs of single cells lie; studies that name the same folder share what is finished. By default
            OUTPUT/runs.
        progress: called with what is under way, the rows done and the rows in all.
        options: those of RunOptions, and of the tests: fractions, fill, direction, ...; `output` gets scores.csv and
            report.html.

    Returns:
        The results; `.scores` is a data frame with columns model, maps, test, score, value, low, high.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> options = {"tests": "perturbation:fill=mean", "limit": 8}
        >>> study = xkd_eval.evaluate("embedded/kd", explainers=["cam", "random"], **options)
        >>> sorted(set(study.scores["maps"]))
        ['cam', 'random']
    """
    kinds = one_or_several("tests", tests, (str, type, Evaluation))
    run, chosen = read_options(options, kinds, ("explainers", "tests", "masks", "runs", "progress"))
    if run.save_maps is not None:
        raise XkdError("save_maps: keeps one model's maps; use perturbation_test or segmentation_test")
    named = name_models(models)
    inputs = StudyInputs.load(named, run)
    dataset, masked = open_data(data, run, run.labels, run.boxes), open_masks(masks, run)
    inputs.suit(dataset, masked)
    there = offered(len(named), dataset, masked)
    known, left_out = without_core(kinds, there, stored=run.maps is not None)
    made = tests_of(known, inputs.rules, chosen)
    optional = core_of(kinds, made)
    unfit = unfitting(inputs, made, optional)
    left_out += [f"{test} of {model} is left out: {why}" for (test, model), why in unfit.items()]
    output = None if run.output is None else Path(run.output)
    root = Path(runs) if runs is not None else None if output is None else output / "runs"
    chosen_maps = explainers_of(one_or_several("explainers", explainers, (str, type, Explainer)), inputs.rules, run)
    check_stored(made, chosen_maps)
    answering = partial(StudyAnswers, inputs, root, progress)
    sets, refused = sets_for(made, dataset, masked, answering, run.boxes, optional)
    left_out += refused + unlabelled(dataset)
    cells = own_cells(inputs, {name: made[name] for name in sets}, sets, chosen_maps, unfit)
    if not cells:
        raise XkdError(f"models: {', '.join(made)} holds models against a reference; give at least two")
    distinct = list(dict.fromkeys(cells.values()))
    found = run_study(
        distinct, inputs, lambda described: root and default_directory(described, root), progress=progress
    )
    results = dict(zip(distinct, found, strict=True))
    labelled = [
        replace(results[cell], model=model, maps=maps, test_name=test) for (model, maps, test), cell in cells.items()
    ]
    study = Study(tuple(inputs.classifiers), tuple(labelled), output, tuple(left_out))
    if output is not None and process_state(run.device).is_main_process:
        _write_scores(study, output)
    return study


@public(models="model", explainers="explainer")
def perturbation_test(
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    floors: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """Positive and negative perturbation test (Chefer et al., CVPR 2021).

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have labels.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        floors: score random, centre, edge and fake-CAM maps as well, and the oracle where there are masks; the result's
            `floors` has them.
        progress: called with what is under way, the images done and the images in all.
        options: fractions, fill ("black", "mean" or "blur"), direction ("both", "positive" or "negative"), and those of
            RunOptions; `output` is the run's directory, which gets report.html.

    Returns:
        The scores as fractions of 1 with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> xkd_eval.perturbation_test("embedded/kd", limit=8, direction="positive").summary["fractions"][:3]
        [0.0, 0.1, 0.2]
    """
    return evaluate_one(PerturbationTest, model, data, explainer=explainer, floors=floors, progress=progress, **options)


@public(models="model", explainers="explainer")
def segmentation_test(
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    floors: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """Segmentation test (Chefer et al., CVPR 2021) on images with one object mask each.

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have masks.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        floors: score random, centre, edge and fake-CAM maps as well, and the oracle where there are masks; the result's
            `floors` has them.
        progress: called with what is under way, the images done and the images in all.
        options: those of RunOptions; `output` is the run's directory, which gets report.html.

    Returns:
        The scores as fractions of 1 with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> xkd_eval.segmentation_test("embedded/kd", explainer="oracle", limit=4).summary["pointing_game"]["value"]
        1.0
    """
    return evaluate_one(SegmentationTest, model, data, explainer=explainer, floors=floors, progress=progress, **options)


def evaluate_one(
    test: TestLike,
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    floors: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """One test of one model, in a directory of its own; see `perturbation_test`.

    Args:
        test: by name, class, or made.
        model, data, explainer, floors, progress: as for `perturbation_test`.
        options: the test's, and those of RunOptions; `output` is the run's directory, "auto" one under runs/. The
            floors' runs lie beside it in the latter case, and else within, in floors/.
    """
    run, chosen = read_options({"figures": True, **options}, [test], ("explainer", "floors", "progress"))
    inputs = StudyInputs.load(name_models(model), run)
    dataset = open_data(data, run, run.labels, run.boxes)
    inputs.suit(dataset)
    made = tests_of([test], inputs.rules, chosen)
    chosen_maps = explainers_of([explainer], inputs.rules, run)
    check_stored(made, chosen_maps)
    answering = partial(StudyAnswers, inputs, Path("runs") if str(run.output) == "auto" else None, progress)
    sets, _ = sets_for(made, dataset, None, answering, run.boxes)
    cells = own_cells(inputs, made, sets, chosen_maps)
    if not cells:
        raise XkdError(f"tests: {next(iter(made))} holds models against a reference; use evaluate with at least two")
    (cell,) = cells.values()
    beside = _floors_of(cell, inputs) if floors else {}

    def place(described: dict[str, Any]) -> Path | None:
        if run.output is None:
            return None
        if str(run.output) == "auto":
            return default_directory(described)
        maps = described["explainer"]["name"]
        return Path(run.output) / "floors" / maps if maps in beside else Path(run.output)

    kept = []
    if run.save_maps is not None and cell.source is not None:
        kept = [KeptMaps(cell.source, cell.dataset, Path(run.save_maps))]
    undrawn = list(beside.values())
    result, *others = run_study([cell, *undrawn], inputs, place, kept=kept, undrawn=undrawn, progress=progress)
    return replace(result, floors=dict(zip(beside, others, strict=True)))


def _floors_of(cell: Cell, inputs: StudyInputs) -> dict[str, Cell]:
    """The same test of maps that know nothing of the model, and of the masks where there are any."""
    if cell.source is None:
        return {}
    known = (*FLOORS, ORACLE) if cell.dataset.has_masks else FLOORS
    made = {
        name: create_explainer(name).seeded(inputs.options.seed) for name in known if name != cell.source.explainer.name
    }
    return {name: own_cell(inputs, cell.test, cell.dataset, cell.model, floor) for name, floor in made.items()}


def _write_scores(study: Study, output: Path) -> None:
    content = csv_bytes(study.scores)
    with writing(f"output: {str(output)!r}"):
        output.mkdir(parents=True, exist_ok=True)
        with replacing(output / "scores.csv") as file:
            file.write(content)
