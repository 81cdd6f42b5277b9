"""Many trainings: variants of recipes x seeds, several at once, each in a process of its own, continued when killed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from distill.recipe.files import load_recipe
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import override
from distill.runs import child, tables
from distill.runs.directory import hold
from distill.runs.interruption import StopRequest, TrainingInterruptedError
from distill.runs.job import LOG, TrainingJob
from distill.runs.layout import check_apart, directory_name, seed_directory, students_in
from distill.runs.origin import Origin, check_origin, check_recipe, goes_on
from distill.runs.origins import Origins
from distill.runs.outcome_file import read_result
from distill.runs.sweep_file import SweepChanges, SweepFile
from distill.runs.tables import Outcome, csv_text, markdown
from xkd_eval.errors import XkdError, renamed
from xkd_eval.files import replacing, writing

_POLL_SECONDS = 0.1

# What `train` can be told and a sweep cannot -> what does the same there.
_CALLED = {"overwrite": "remove that one", "resume": "the same command", "teacher": "teacher.model by `set`"}

SweepProgress = Callable[[int, int, str], None]
"""Called with the runs done, the runs in all, and what is under way."""


@dataclass(frozen=True)
class SweepRun:
    """One training of a sweep.

    Attributes:
        name: recipe and variant.
        recipe: as resolved.
        directory: of the run.
        teacher: the name of the runs of its teacher, where that is a recipe.
    """

    name: str
    recipe: Recipe
    directory: Path
    teacher: str | None

    def is_finished(self, origins: Origins, runs: Path) -> bool:
        """Whether what `train` would give is there already.

        Args:
            origins: of this call.
            runs: where the teachers lie.

        Raises:
            XkdError: what is there is of another recipe, other images or another teacher, or was damaged; or data or
                teacher cannot be opened.
        """
        result = read_result(self.directory)
        if result is None:
            return False
        theirs = Origin.model_validate(result["origin"])
        if goes_on(self.recipe, theirs):
            return False
        check_recipe(self.recipe, theirs, self.directory)
        check_origin(origins.of(self.recipe, runs), theirs, self.directory)
        return True


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        outcomes: of the finished runs.
        failed: directory of each other one, and why.
    """

    outcomes: list[Outcome]
    failed: list[tuple[Path, str]]


def plan_sweep(sweep: SweepFile, directory: Path, changes: SweepChanges | None = None) -> list[SweepRun]:
    """All runs in the file's order, a teacher's right before the first that need it.

    Args:
        sweep: the file.
        directory: of the sweep; runs lie below it, and so do the teachers that students look for.
        changes: of the file.

    Raises:
        XkdError: a name or an override that makes no recipe; two recipes whose runs would lie in one directory; a
            teacher that neither lies there nor is in the sweep.
    """
    changes = changes or SweepChanges()
    sweep = changes.applied(sweep)
    planned = [
        (name, _planned(sweep, name, variant, seed, directory, changes))
        for name, seed in sweep.names_and_seeds()
        for variant in _variants(sweep, name)
    ]
    check_apart((name, run.directory) for name, run in planned)
    runs = [run for _, run in planned]
    made = {run.name for run in runs}
    for run in runs:
        if run.teacher is not None and run.teacher not in made and not students_in(directory / run.teacher):
            raise XkdError(
                f"sweep: {run.name} needs the teacher of {run.teacher!r}, which is neither among its recipes nor in "
                f"{directory}; add the recipe, or set teacher.model"
            )
    return _teachers_first(runs)


def run_sweep(
    runs: Sequence[SweepRun],
    directory: Path,
    jobs: int = 1,
    *,
    device: str = "auto",
    capture: bool = False,
    progress: SweepProgress | None = None,
) -> SweepResult:
    """Run what is not finished, `jobs` at a time, and keep results.csv and results.md up to date.

    Each run is handed over as a file in its directory. Finished runs are kept and unfinished ones continued, so the
    same call goes on after an interruption. A run that fails leaves its log, and the others go on. On a CPU the jobs
    divide its cores among them.

    Args:
        runs: of `plan_sweep`.
        directory: of the sweep.
        jobs: processes at once, on one device.
        device: of all runs, "auto" or "cpu".
        capture: launch each step as one CUDA graph.
        progress: told when a run starts or ends.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; all runs have saved their states and ended.
        XkdError: a file cannot be written; another sweep is at work in the directory.
    """
    with hold(directory), StopRequest() as stop:
        return _run_all(runs, directory, jobs, device, capture, progress or (lambda done, total, where: None), stop)


def _run_all(
    runs: Sequence[SweepRun],
    directory: Path,
    jobs: int,
    device: str,
    capture: bool,
    progress: SweepProgress,
    stop: StopRequest,
) -> SweepResult:
    finished = _finished(runs, directory)
    waiting = [run for run in runs if run.directory not in finished]
    active: list[tuple[SweepRun, subprocess.Popen[bytes]]] = []
    failed: dict[Path, str] = {}
    threads = str(max((os.cpu_count() or 1) // jobs, 1))
    environment = {"OMP_NUM_THREADS": threads, **os.environ} if jobs > 1 else dict(os.environ)
    try:
        while (waiting or active) and not stop.made:
            for run in [run for run in waiting if _is_ready(run, runs, finished)][: jobs - len(active)]:
                waiting.remove(run)
                job = TrainingJob(run.name, run.recipe, run.directory, directory, device, resume=True, capture=capture)
                active.append((run, child.start(job, environment)))
            if not active:
                failed |= {run.directory: "its teacher failed" for run in waiting}
                break
            ended = [(run, process) for run, process in active if process.poll() is not None]
            for run, process in ended:
                active.remove((run, process))
                if process.returncode:
                    failed[run.directory] = _in_its_words(child.why_ended(process.returncode, run.directory / LOG))
                else:
                    finished.add(run.directory)
            if ended:
                _write_results(_outcomes(runs, finished), directory)
            under_way = ", ".join(run.directory.relative_to(directory).as_posix() for run, _ in active)
            progress(len(finished) + len(failed), len(runs), under_way)
            time.sleep(_POLL_SECONDS)
    finally:
        for _, process in active:
            process.terminate()  # Each saves its state.
        for _, process in active:
            process.wait()
    if stop.made:
        raise TrainingInterruptedError("interrupted; what is done is kept: the same command continues", stop.number)
    outcomes = _outcomes(runs, finished)
    _write_results(outcomes, directory)
    return SweepResult(outcomes, list(failed.items()))


def _finished(runs: Sequence[SweepRun], directory: Path) -> set[Path]:
    """The directories of runs that are not due; what cannot be one is refused before a table loses its row."""
    origins, finished = Origins(), set[Path]()
    try:
        for run in runs:  # teachers first: whether a student is finished depends on which teacher there is
            if _is_ready(run, runs, finished) and run.is_finished(origins, directory):
                finished.add(run.directory)
    except XkdError as error:
        raise XkdError(_in_its_words(str(error))) from None
    return finished


def _in_its_words(said: str) -> str:
    """What a training said, without what a sweep cannot be told."""
    return renamed(said, _CALLED, quote="")


def _variants(sweep: SweepFile, name: str) -> list[str]:
    return list(sweep.variants) if sweep.variants and load_recipe(name).teacher is not None else [""]


def _planned(sweep: SweepFile, name: str, variant: str, seed: int, directory: Path, changes: SweepChanges) -> SweepRun:
    overrides = [*sweep.set, *sweep.variants.get(variant, []), *changes.overrides]
    if sweep.data is not None:
        overrides.insert(0, override("data.path", sweep.data, "data"))
    if sweep.val_split is not None:
        overrides.insert(0, override("data.val_split", sweep.val_split, "val_split"))
    # Last, so that no override can make two runs of one seed.
    overrides.append(f"seed={seed}")
    recipe = load_recipe(name, overrides)
    run = f"{directory_name(name)}/{variant}" if variant else directory_name(name)
    named = recipe.teacher.recipe if recipe.teacher is not None else None
    teacher = None if named is None else directory_name(named)
    return SweepRun(run, recipe, seed_directory(directory / run, seed), teacher)


def _teachers_first(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """In order, but for the runs of a teacher that come later than a student's; teachers may have teachers."""
    ordered: dict[Path, SweepRun] = {}

    def add(run: SweepRun, students: tuple[str, ...]) -> None:
        for other in runs:
            if other.name == run.teacher and other.name not in students:
                add(other, (*students, other.name))
        ordered.setdefault(run.directory, run)

    for run in runs:
        add(run, (run.name,))
    return list(ordered.values())


def _is_ready(run: SweepRun, runs: Sequence[SweepRun], finished: Set[Path]) -> bool:
    """Whether all runs of its teacher are finished: which of them is read must not depend on the order."""
    return all(other.directory in finished for other in runs if other.name == run.teacher)


def _outcomes(runs: Sequence[SweepRun], finished: Set[Path]) -> list[Outcome]:
    return tables.finished((run.name, run.directory) for run in runs if run.directory in finished)


def _write_results(outcomes: Sequence[Outcome], directory: Path) -> None:
    if not outcomes:
        return
    lines = [
        {"run": outcome.name, "seed": outcome.result["seed"], "student": outcome.result["student"]}
        | {f"{epoch}_{key}": value for epoch in ("last", "best") for key, value in outcome.result[epoch].items()}
        for outcome in outcomes
    ]
    for name, text in (("results.csv", csv_text(lines)), ("results.md", markdown(outcomes))):
        with writing(f"output {directory}: {name}"), replacing(directory / name) as file:
            file.write(text.encode())
