"""Run or continue the cells of a study, each in its own directory, and score them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xkd_eval.ambient import plain_torch
from xkd_eval.devices import process_state, resolve_device
from xkd_eval.engines.memory import memory_kept
from xkd_eval.engines.plan import AUTO, TORCH, check_engine
from xkd_eval.errors import XkdError
from xkd_eval.study.cells import Cell, describe, maps_folder
from xkd_eval.study.directory import RunDirectory, RunInMemory
from xkd_eval.study.images import check_same_images, readable_again
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.options import RunOptions
from xkd_eval.study.photographs import UNSCORED
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.stream import Progress, run_cells
from xkd_eval.study.summary import summarise
from xkd_eval.study.tally import Tally
from xkd_eval.study.work import CellRun, KeptMaps
from xkd_eval.wording import counted

Place = Callable[[dict[str, Any]], Path | None]
"""Description of a cell -> its directory, or None to keep it in memory."""


@plain_torch()
def run_study(
    cells: Sequence[Cell],
    inputs: StudyInputs,
    place: Place,
    *,
    kept: Sequence[KeptMaps] = (),
    undrawn: Collection[Cell] = (),
    progress: Progress | None = None,
) -> list[EvaluationResult]:
    """Run or continue every cell, each in its own directory.

    Args:
        cells: of the study; of two with the same directory one is run.
        inputs: models and options.
        place: gives each its directory.
        kept: maps that are written as they are made.
        undrawn: cells whose runs have no figures of their own, whatever the options say.
        progress: told after every batch.

    Returns:
        One an entry of `cells`.

    Raises:
        XkdError: a directory that holds another run, nothing that could be evaluated, and whatever the stream raises.
    """
    options = inputs.options
    device = resolve_device(options.device)
    if options.engine not in (TORCH, AUTO):
        check_engine(options.engine, device)  # whether or not a test will ask it
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
            run = _opened(cell, description, path, state.is_main_process, options.overwrite)
            if path is not None:
                opened[path] = run
            pairs.append((run, description))
    described = dict(pairs)
    runs = list(described)
    for run in runs:
        _check_strict(run, options)
    check_same_images(runs, progress)
    with ExitStack() as stack:
        stack.enter_context(memory_kept(device))
        if options.precision == "tf32":  # no other thread may come between two forwards
            stack.enter_context(plain_torch("tf32"))
            stack.enter_context(plain_torch())
        if not kept and options.models_at_once is not None:
            kept = _crossed(runs, inputs, Path(stack.enter_context(TemporaryDirectory())))
        # Of models with equal weights one alone is run, and its maps are everyone's.
        run_cells(runs, [_fresh(job, on) for job in kept if (on := _scoring(job, runs))], inputs, progress)
    results: dict[CellRun, EvaluationResult] = {}
    failed: list[XkdError] = []
    for run, description in described.items():
        try:
            drawn = bool(inputs.options.figures) and run.cell not in undrawn
            results[run] = _finished(run, description, inputs, writes=state.is_main_process, drawn=drawn)
        except XkdError as error:  # must not cost the others their summaries
            failed.append(error)
    state.wait_for_everyone()
    if failed:
        raise failed[0]
    # Equal models of two names share a run.
    return [replace(results[run], model=cell.model) for (run, _), cell in zip(pairs, cells, strict=True)]


def _opened(cell: Cell, description: dict[str, Any], path: Path | None, is_main: bool, overwrite: bool) -> CellRun:
    if path is None:
        return CellRun(cell, RunInMemory(), {})
    names = ("extremes.png", *(f"{name}.pdf" for name in cell.test.figure_names))
    directory = RunDirectory(path, description, overwrite=overwrite and is_main, figures=names)
    if is_main and (due := readable_again(cell.dataset, directory.read_rows())):
        directory.drop(due)
    done: dict[int, str | None] = {}
    for rows in directory.read_rows().stream():
        done.update(zip(*(rows[name].to_pylist() for name in ("position", "content_hash")), strict=True))
    return CellRun(cell, directory, done)


def _check_strict(run: CellRun, options: RunOptions) -> None:
    """Rows of a sitting that was not strict cannot stand for one that is."""
    skipped = Tally(run.store.read_rows()).skipped if options.strict and run.done else []
    unreadable = [row for row in skipped if row["reason"] not in UNSCORED]
    if unreadable:
        count, first = counted(len(unreadable), "image"), unreadable[0]
        raise XkdError(
            f"strict: the run directory skipped {count}, the first as {first['id']}: {first['reason']}; mend them "
            "and `overwrite`"
        )


def _crossed(runs: Sequence[CellRun], inputs: StudyInputs, root: Path) -> list[KeptMaps]:
    """The maps that another model than their own answers to, to be kept until its turn."""
    pairs = [(run.cell.source, run.cell.dataset) for run in runs if run.cell.is_crossed]
    found = {
        (maps, id(dataset)): KeptMaps(maps, dataset, root / maps_folder(inputs, maps, dataset))
        for maps, dataset in pairs
        if maps is not None
    }
    return list(found.values())


def _scoring(job: KeptMaps, runs: Sequence[CellRun]) -> list[CellRun]:
    """The runs that score the maps of these images."""
    return [run for run in runs if job.is_scored_by(run.cell)]


def _fresh(job: KeptMaps, scoring: Sequence[CellRun]) -> KeptMaps:
    """With the positions that nothing has scored yet, whose maps are written anew."""
    everything = frozenset(range(len(job.dataset)))
    return replace(job, fresh=everything.difference(*(run.done for run in scoring)))


def _finished(
    run: CellRun, description: dict[str, Any], inputs: StudyInputs, *, writes: bool, drawn: bool
) -> EvaluationResult:
    cell, store = run.cell, run.store
    tally = Tally(store.read_rows(), cell.test)
    if not tally.scored:
        raise XkdError(f"data: no image could be evaluated for {cell.model} ({cell.test.name}); {_first_reason(tally)}")
    if tally.count != run.ended_after:
        held = f"{tally.count} of {run.ended_after}"
        raise XkdError(f"output: holds rows of {held} images; run the same command to continue")
    summary = store.read_summary(tally.digest)
    if summary is None:
        summary = summarise(tally, cell.test, description, run.images_per_second, run.chunks)
        if writes:
            store.write_summary(summary)
    if writes and drawn and isinstance(store, RunDirectory):
        from xkd_eval.study.figures import write_figures

        # After the summary, which a figure that fails must not cost.
        write_figures(store.path, cell, inputs, summary, tally.rows)
    maps = str(summary["explainer"]["name"])
    return EvaluationResult(
        cell.model, maps, cell.test, cell.test.name, description, summary, tally.rows, store.path, len(run.done)
    )


def _first_reason(tally: Tally) -> str:
    if not tally.skipped:
        return "the set is empty"
    first = tally.skipped[0]
    return f"{len(tally.skipped)} were skipped, the first as {first['id']}: {first['reason']}"
