"""The stream: each photograph is read once, classified once a model, explained once a model and explainer, and scored
by every cell that wants it. Cells that are not finished are continued where they stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch

from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.grids import side_of
from xkd_eval.datasets.loader import Item, Skipped, stream
from xkd_eval.devices import of_all_processes, of_first_process, process_state, resolve_device
from xkd_eval.engines.network import Network
from xkd_eval.engines.plan import built
from xkd_eval.evaluations.batch import MASK_SIZE
from xkd_eval.study.courses import Course, courses
from xkd_eval.study.geometry import geometry
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.parts import PartWriter
from xkd_eval.study.photographs import Photographs, Sitting
from xkd_eval.study.turns import asked_models, at_once, turns
from xkd_eval.study.waiting import Waiting
from xkd_eval.study.work import CellRun, KeptMaps, fewest

Progress = Callable[[str, int, int], None]
"""Called with what is under way, the rows that are done and the rows in all (one an image and cell)."""

_SECONDS_UNTIL_MAPS_ARE_SAID = 1.0


def run_cells(
    runs: Sequence[CellRun], kept: Sequence[KeptMaps], inputs: StudyInputs, progress: Progress | None = None
) -> None:
    """Score what the runs do not hold yet, and write the maps that are kept.

    Models that do not fit into memory together are taken in turns; a crossing waits for the turn that has both, or for
    the maps that an earlier turn kept.

    Args:
        runs: cells with their stores.
        kept: maps to be written.
        inputs: models and options.
        progress: told after every batch, and after maps that take long.

    Raises:
        XkdError: an unreadable image under `strict`, logits that are not finite, a full disk.
    """
    state = process_state(inputs.options.device)
    device = resolve_device(inputs.options.device)
    missing = {job: places for job in kept if (places := _explicable(job, inputs))}
    state.wait_for_everyone()  # what the others find missing must not depend on what this process writes
    report = _Report(progress, sum(len(run.done) for run in runs), state.num_processes)
    networks: dict[str, Network] = {}
    # Before any network takes of the memory, and the same for all processes, which wait for each other after each turn.
    size = of_first_process(inputs.options.models_at_once or at_once(list(inputs.classifiers.values()), device))
    everything = courses(runs, inputs.options)
    while under_way := [course for course in everything if not course.is_over]:
        report.wanting(sum(course.count * len(course.runs) for course in everything))
        _score(under_way, kept, missing, networks, size, inputs, device, report)
        for course in under_way:
            course.look()
    for run, found in zip(runs, zip(*of_all_processes([run.chunks for run in runs]), strict=True), strict=True):
        run.chunks = None
        for chunks in found:
            run.chunks = fewest(run.chunks, chunks)


def _score(
    under_way: Sequence[Course],
    kept: Sequence[KeptMaps],
    missing: dict[KeptMaps, set[int]],
    networks: dict[str, Network],
    size: int,
    inputs: StudyInputs,
    device: torch.device,
    report: _Report,
) -> None:
    """Score the images that have come to be wanted, and write those maps of them that are missing."""
    state = process_state(inputs.options.device)
    course_of = {run: course for course in under_way for run in course.runs}
    due = {run: set(course.wanted) - run.done.keys() for run, course in course_of.items()}
    waiting = [run for run, places in due.items() if places]
    unwritten: dict[KeptMaps, set[int]] = {}
    for job, absent in missing.items():
        scoring = [course for run, course in course_of.items() if job.is_scored_by(run.cell)]
        places = absent.intersection(set().union(*(course.wanted for course in scoring)))
        if places:
            unwritten[job] = places
            missing[job] = absent - places
    there = [job.source for job in kept if job.are_read and job not in unwritten]
    for models, now, writing in turns(waiting, list(unwritten), there, inputs, size):
        for other in networks.keys() - set(models):
            del networks[other]
        for dataset in _distinct([run.cell.dataset for run in now] + [job.dataset for job in writing]):
            for model in models:
                _make_ready(networks, model, dataset, now, inputs, device, report)
            here = [run for run in now if run.cell.dataset is dataset]
            jobs = {job: unwritten[job] for job in writing if job.dataset is dataset}
            report.doing(_title(here, models))
            # Shared out by position and not by what is left: another process may have written a part since.
            mine = set(range(state.process_index, len(dataset), state.num_processes))
            sitting = Sitting(
                dataset=dataset,
                inputs=inputs,
                networks=networks,
                device=device,
                geometries=_distinct([geometry(inputs.preprocess(model)) for model in models]),
                todo={run: due[run] & mine for run in here},
                writing={job: places & mine for job, places in jobs.items()},
                stored={job.source: job for job in kept if job.are_read and job.dataset is dataset},
            )
            _sit(sitting, report, state.num_processes)
        state.wait_for_everyone()


def _make_ready(
    networks: dict[str, Network],
    model: str,
    dataset: ImageDataset,
    runs: Sequence[CellRun],
    inputs: StudyInputs,
    device: torch.device,
    report: _Report,
) -> None:
    """Have a model in `networks`, ready for a data set; it stays ready for another whose images have the same size.

    It remembers its answers where several cells may make the same images.
    """
    preprocess, precision = inputs.input_of(dataset, model), inputs.options.precision
    asking = [run for run in runs if run.cell.model == model and run.cell.test.forwards_again]
    plan = inputs.plan(dataset, model, device, asked=any(run.cell.dataset is dataset for run in asking))
    if model in networks and (networks[model].preprocess, networks[model].plan) == (preprocess, plan):
        return
    networks.pop(model, None)  # first, as two may not fit into the memory
    networks[model] = Network(
        inputs.classifiers[model],
        preprocess,
        device,
        precision,
        plan=plan,
        forward=built(plan, inputs.classifiers[model], preprocess, precision),
        remembers=len({type(run.cell.test) for run in asking}) > 1,
        explained=report.explained,
    )


def _explicable(job: KeptMaps, inputs: StudyInputs) -> set[int]:
    """The positions whose map is missing and can be made: there is none of the true class without a label."""
    places = job.missing()
    if job.source.target != "true" or not places:
        return places
    labels = inputs.labels(job.dataset, job.source.model, required=True)
    return {place for place in places if labels[place] is not None}


class _Report:
    """What is said while the work goes on: rows done so far, over all turns, and once that models wait for images."""

    def __init__(self, progress: Progress | None, done: int, processes: int) -> None:
        self._progress = progress
        self._done, self._total, self._processes = done, done, processes
        self._what = ""
        self._told = time.monotonic()
        self.waiting = Waiting(processes)

    def wanting(self, total: int) -> None:
        self._total = max(total, self._done)

    def doing(self, what: str) -> None:
        self._what = what
        self.add(0)

    def add(self, rows: int) -> None:
        self._done = min(self._done + rows * self._processes, self._total)
        self._tell(self._what)

    def explained(self, made: int, due: int) -> None:
        """Say how many maps of a batch there are, where they take so long that no row has been said for a while."""
        if time.monotonic() - self._told >= _SECONDS_UNTIL_MAPS_ARE_SAID:
            self._tell(f"{self._what}, map {made} of {due}")

    def _tell(self, what: str) -> None:
        self._told = time.monotonic()
        if self._progress is not None:
            self._progress(what, self._done, self._total)


def _sit(sitting: Sitting, report: _Report, processes: int) -> None:
    """Read what is wanted, in batches, and write every cell's rows."""
    dataset, options = sitting.dataset, sitting.inputs.options
    workers, size = options.workers_for(len(dataset) * side_of(dataset) ** 2), options.batch_size_on(sitting.device)
    items = stream(
        dataset,
        sorted(set().union(*sitting.todo.values(), *sitting.writing.values())),
        *sitting.geometries,
        mask_size=MASK_SIZE if dataset.has_masks else None,
        workers=workers,
        ahead=size,
        strict=options.strict,
    )
    start, scored = time.perf_counter(), dict.fromkeys(sitting.todo, 0)
    with ExitStack() as stack:
        writers = {run: stack.enter_context(PartWriter(run.store.write_part)) for run in sitting.todo}
        for entries in report.waiting.watched(_batched(items, size), workers):
            for network in sitting.networks.values():
                network.forget()
            photographs = Photographs(sitting, entries)
            for job in sitting.writing:
                photographs.keep(job)
            for run, writer in writers.items():
                rows = photographs.rows(run)
                if rows is not None:
                    writer.add(rows)
                    scored[run] += rows.num_rows
                    report.add(rows.num_rows)
    elapsed = time.perf_counter() - start
    for run, count in scored.items():
        run.scored += count * processes
        run.seconds += elapsed if count else 0
        for model in asked_models(run.cell, [], sitting.inputs):
            if model in sitting.networks:
                run.chunks = fewest(run.chunks, sitting.networks[model].chunks)


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _title(runs: Sequence[CellRun], models: Sequence[str]) -> str:
    tests = _distinct([run.cell.test.name for run in runs])
    if len(runs) == 1:
        return tests[0]
    return f"{', '.join(tests) or 'maps'} of {', '.join(models)}"


def _batched(items: Iterable[Item | Skipped], size: int) -> Iterator[list[Item | Skipped]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
