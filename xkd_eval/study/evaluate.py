"""evaluate(): models x explainers x tests in one stream; and one test of one model, as a function each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xkd_eval.devices import process_state, resolve_device
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS, option_names
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.segmentation.test import SegmentationTest
from xkd_eval.explainers import Explainer, as_explainer, create_explainer
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.files import replacing
from xkd_eval.registry import name_and_rest
from xkd_eval.study.cells import Cell, default_directory, describe, maps_folder, own_cells
from xkd_eval.study.directory import RunDirectory, RunInMemory
from xkd_eval.study.inputs import Data, StudyInputs, open_data, sets_for
from xkd_eval.study.models import Model, Models, name_models
from xkd_eval.study.options import RunOptions, split_options
from xkd_eval.study.result import EvaluationResult, Study
from xkd_eval.study.stream import UNLABELLED, CellRun, KeptMaps, Maps, Progress, run_cells
from xkd_eval.study.summary import skipped_rows, summarise
from xkd_eval.written import written_options

Place = Callable[[dict[str, Any]], Path | None]
"""Description of a cell -> its directory, or None to keep it in memory."""

TestLike = str | type[Evaluation] | Evaluation
"""A test by name, with options where wanted ("perturbation:fill=blur"); as a class; or as it is to be run."""


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
        models: one, several, or a mapping from labels: what `load_classifier` takes, the reference first.
        data: what `open_dataset` takes, or an ImageDataset.
        explainers: names that `xkd-eval explainers` lists, with options where wanted
            ("integrated_gradients:steps=200"), or Explainers.
        tests: names that `xkd-eval tests` lists, with options where wanted ("perturbation:fill=blur").
        masks: images with masks, for the tests that need them; by default `data`.
        runs: where the runs of single cells lie; studies that name the same folder share what is finished. By default
            OUTPUT/runs.
        progress: called with what is under way, the rows done and the rows in all.
        options: those of RunOptions, and of the tests: fractions, fill, direction, ...

    Returns:
        The results; `.scores` is a data frame with columns model, maps, test, score, value, low, high.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> study = xkd_eval.evaluate("embedded/kd", explainers=["cam", "random"], tests="perturbation:fill=mean")
        >>> sorted(set(study.scores["maps"]))
        ['cam', 'random']
    """
    kinds = [tests] if isinstance(tests, str | type | Evaluation) else list(tests)
    run, chosen = split_options(options, [name for kind in kinds for name in _options_of(kind)])
    named = name_models(models)
    inputs = StudyInputs.load(named, run)
    made = _tests(kinds, inputs.rules, chosen)
    dataset = open_data(data, run, run.labels)
    sets = sets_for(made, dataset, None if masks is None else open_data(masks, run))
    methods = [explainers] if isinstance(explainers, str | Explainer) else list(explainers)
    cells = own_cells(inputs, made, sets, explainers_of(methods, inputs.rules, run))
    if not cells:
        raise XkdError(f"models: {', '.join(made)} holds models against a reference; give at least two")
    output = None if run.output is None else Path(run.output)
    root = None if runs is None and output is None else Path(runs) if runs is not None else _below(output)
    results = run_study(cells, inputs, lambda described: root and default_directory(described, root), progress=progress)
    study = Study(tuple(inputs.classifiers), tuple(results), output)
    if output is not None and process_state(run.device).is_main_process:
        _write_scores(study, output)
    return study


def perturbation_test(
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """Positive and negative perturbation test (Chefer et al., CVPR 2021).

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have labels.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        progress: called with what is under way, the images done and the images in all.
        options: fractions, fill ("black", "mean" or "blur"), direction ("both", "positive" or "negative"), and those of
            RunOptions; `output` is the run's directory.

    Returns:
        The scores as fractions of 1 with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> xkd_eval.perturbation_test("embedded/kd", limit=8, direction="positive").summary["fractions"][:3]
        [0.0, 0.1, 0.2]
    """
    return evaluate_one(PerturbationTest, model, data, explainer=explainer, progress=progress, **options)


def segmentation_test(
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """Segmentation test (Chefer et al., CVPR 2021) on images with one object mask each.

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have masks.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        progress: called with what is under way, the images done and the images in all.
        options: those of RunOptions; `output` is the run's directory.

    Returns:
        The scores as fractions of 1 with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.

    Example:
        >>> import xkd_eval
        >>> xkd_eval.segmentation_test("embedded/kd", explainer="oracle", limit=4).summary["pointing_game"]["value"]
        1.0
    """
    return evaluate_one(SegmentationTest, model, data, explainer=explainer, progress=progress, **options)


def evaluate_one(
    test: TestLike,
    model: Model,
    data: Data = "embedded",
    *,
    explainer: str | Explainer = "cam",
    progress: Progress | None = None,
    **options: Any,
) -> EvaluationResult:
    """One test of one model, in a directory of its own; see `perturbation_test`.

    Args:
        test: by name, class, or made.
        model, data, explainer, progress: as for `perturbation_test`.
        options: the test's, and those of RunOptions; `output` is the run's directory, "auto" one under runs/.
    """
    run, chosen = split_options({"figures": True, **options}, list(_options_of(test)))
    inputs = StudyInputs.load(name_models(model), run)
    made = _tests([test], inputs.rules, chosen)
    sets = sets_for(made, open_data(data, run, run.labels), None)
    cells = own_cells(inputs, made, sets, explainers_of([explainer], inputs.rules, run))
    if not cells:
        raise XkdError(f"tests: {next(iter(made))} holds models against a reference; use evaluate with at least two")
    cell = cells[0]

    def place(described: dict[str, Any]) -> Path | None:
        if run.output is None:
            return None
        return default_directory(described) if str(run.output) == "auto" else Path(run.output)

    kept = {} if run.save_maps is None or cell.maps is None else {cell.maps: Path(run.save_maps)}
    (result,) = run_study([cell], inputs, place, kept=kept, progress=progress)
    return result


def run_study(
    cells: Sequence[Cell],
    inputs: StudyInputs,
    place: Place,
    *,
    kept: Mapping[Maps, Path] | None = None,
    progress: Progress | None = None,
) -> list[EvaluationResult]:
    """Run or continue every cell, each in its own directory.

    Args:
        cells: of the study; of two with the same directory one is run.
        inputs: models and options.
        place: gives each its directory.
        kept: maps that are written into a folder as they are made.
        progress: told after every batch.

    Returns:
        One an entry of `cells`.

    Raises:
        XkdError: a directory that holds another run, nothing that could be evaluated, and whatever the stream raises.
    """
    options = inputs.options
    device = resolve_device(options.device)
    state = process_state(options.device)
    opened: dict[Path, CellRun] = {}
    pairs: list[tuple[CellRun, dict[str, Any]]] = []
    with state.main_process_first():
        for cell in cells:
            description = describe(cell, inputs, device)
            path = place(description)
            if path is not None and path in opened:
                pairs.append((opened[path], description))
                continue
            run = _opened(cell, description, path, overwrite=options.overwrite and state.is_main_process)
            if path is not None:
                opened[path] = run
            pairs.append((run, description))
    runs = list(dict.fromkeys(run for run, _ in pairs))
    for run in runs:
        _check_strict(run, options)
    with ExitStack() as stack:
        keeping = [_kept(maps, folder, runs) for maps, folder in (kept or {}).items()]
        if not keeping and options.models_at_once is not None and any(run.cell.is_crossed for run in runs):
            root = Path(stack.enter_context(TemporaryDirectory()))
            crossed = dict.fromkeys(run.cell.maps for run in runs if run.cell.is_crossed)
            keeping = [_kept(maps, root / maps_folder(inputs, maps), runs) for maps in crossed if maps is not None]
        run_cells(runs, keeping, inputs, progress)
    results = {run: _finished(run, described, inputs, state.is_main_process) for run, described in pairs}
    state.wait_for_everyone()
    return [results[run] for run, _ in pairs]


def explainers_of(given: Sequence[str | Explainer], rules: Rules, options: RunOptions) -> list[Explainer]:
    """Explainers by name, under the rules; or the stored maps that stand in for one.

    Raises:
        XkdError: an unknown name or option; stored maps beside an explainer.
    """
    if options.maps is not None:
        if list(given) != ["cam"]:
            raise XkdError("maps: scores maps computed elsewhere; it cannot be combined with `explainer`")
        return [StoredMaps(Path(options.maps))]
    # The rules say how the CAM is reduced, unless the user does.
    made = [create_explainer("cam", reduction=rules.cam_channels) if m == "cam" else as_explainer(m) for m in given]
    return [new.seeded(options.seed) if isinstance(m, str) else new for m, new in zip(given, made, strict=True)]


@dataclass(frozen=True)
class _Spelt:
    """A test as a user spells it: "name:option=value,..."."""

    kind: type[Evaluation]
    options: dict[str, Any]


def _spelt(test: str | type[Evaluation]) -> _Spelt:
    if isinstance(test, type):
        return _Spelt(test, {})
    name, text = name_and_rest(test)
    kind = TESTS[name]
    return _Spelt(kind, written_options(kind.Options, text, f"tests {name}"))


def _options_of(test: TestLike) -> list[str]:
    kind = type(test) if isinstance(test, Evaluation) else _spelt(test).kind
    return list(option_names(kind))


def _tests(given: Sequence[TestLike], rules: Rules, options: dict[str, Any]) -> dict[str, Evaluation]:
    """Name -> test; the same test with other options goes by the name as it was spelt."""
    made: dict[str, Evaluation] = {}
    for test in given:
        if isinstance(test, Evaluation):
            made[test.name] = test
            continue
        spelt = _spelt(test)
        key = spelt.kind.name if spelt.kind.name not in made else str(test)
        known = {name: value for name, value in options.items() if name in option_names(spelt.kind)}
        made[key] = spelt.kind.create(rules, spelt.kind.Options(**{**known, **spelt.options}))
    if not made:
        raise XkdError(f"tests: none given; expected some of {', '.join(TESTS.names())}")
    return made


def _opened(cell: Cell, description: dict[str, Any], path: Path | None, *, overwrite: bool) -> CellRun:
    if path is None:
        return CellRun(cell, RunInMemory(), set())
    names = ("extremes.png", *(f"{name}.pdf" for name in cell.test.figure_names))
    directory = RunDirectory(path, description, overwrite=overwrite, figures=names)
    rows = directory.read_rows()
    return CellRun(cell, directory, set() if rows is None else set(rows["position"].to_pylist()))


def _check_strict(run: CellRun, options: RunOptions) -> None:
    """Rows of a sitting that was not strict cannot stand for one that is."""
    rows = run.store.read_rows() if options.strict and run.done else None
    unreadable = [row for row in skipped_rows(rows) if row["reason"] != UNLABELLED] if rows is not None else []
    if unreadable:
        raise XkdError(
            f"strict: the run directory skipped {len(unreadable)} images, the first as {unreadable[0]['id']}: "
            f"{unreadable[0]['reason']}; mend them and `overwrite`"
        )


def _kept(maps: Maps, folder: Path, runs: Sequence[CellRun]) -> KeptMaps:
    """Maps of all images that a cell scores on them; those that are scored now are written anew."""
    scored = [run for run in runs if maps in run.cell.sources]
    fresh = frozenset.intersection(*(frozenset(range(len(run.cell.dataset))) - run.done for run in scored))
    return KeptMaps(maps, scored[0].cell.dataset, folder, fresh)


def _finished(run: CellRun, description: dict[str, Any], inputs: StudyInputs, writes: bool) -> EvaluationResult:
    cell, store = run.cell, run.store
    rows, summary = store.read_rows(), store.summary
    n_images = len(cell.dataset)
    if rows is None or rows.num_rows == rows["skipped"].drop_null().length():
        raise XkdError("data: no image could be evaluated; " + _first_reasons(rows))
    if rows.num_rows != n_images:
        raise XkdError(f"output: holds rows of {rows.num_rows} of {n_images} images; run the same command to continue")
    if summary is None:
        summary = summarise(cell.test, description, rows, run.images_per_second)
        if writes:
            store.write_summary(summary)
    if writes and inputs.options.figures and isinstance(store, RunDirectory):
        from xkd_eval.study.figures import write_figures

        # After the summary, which a figure that fails must not cost.
        write_figures(store.path, cell, inputs, summary, rows)
    return EvaluationResult(cell.model, cell.test, description, summary, rows, store.path, len(run.done))


def _first_reasons(rows: Any) -> str:
    if rows is None:
        return "the set is empty"
    reasons = [f"{skipped['id']}: {skipped['reason']}" for skipped in skipped_rows(rows)]
    return f"{len(reasons)} were skipped, the first as {reasons[0]}"


def _below(output: Path | None) -> Path:
    assert output is not None
    return output / "runs"


def _write_scores(study: Study, output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with replacing(output / "scores.csv") as file:
            file.write(study.scores.to_csv(index=False).encode())
    except OSError as error:
        raise XkdError(f"output {output}: cannot be written ({error.strerror or error})") from None
