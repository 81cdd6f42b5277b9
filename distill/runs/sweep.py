"""Many trainings: variants of recipes x seeds, several at once, each in a process of its own, continued when killed."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from distill.runs import child, tables
from distill.runs.directory import hold
from distill.runs.in_step import lesson_key
from distill.runs.interruption import StopRequest, TrainingInterruptedError
from distill.runs.job import TrainingJob
from distill.runs.origins import Origins
from distill.runs.outcome_file import read_result
from distill.runs.sweep_plan import SweepRun
from distill.runs.tables import Outcome, csv_text, markdown
from xkd_eval.errors import XkdError, renamed
from xkd_eval.files import replacing, writing

_POLL_SECONDS = 0.1
_TOGETHER = 8

# What `train` can be told and a sweep cannot -> what does the same there.
_CALLED = {"overwrite": "removing the run", "resume": "the same command"}

SweepProgress = Callable[[int, int, str], None]
"""Called with the runs done, the runs in all, and what is under way."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        outcomes: of the finished runs.
        failed: directory of each other one, and why.
    """

    outcomes: list[Outcome]
    failed: list[tuple[Path, str]]


def run_sweep(
    runs: Sequence[SweepRun],
    directory: Path,
    jobs: int = 1,
    *,
    together: int | None = None,
    device: str = "auto",
    capture: bool = False,
    force: bool = False,
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
        together: how many runs of one `lesson_key` a process makes in step, at most; None is 8, or 1 with `capture`.
        device: of all runs, "auto" or "cpu".
        capture: launch each step as one CUDA graph.
        force: train by teachers that are not surely better than guessing, too.
        progress: told when a run starts or ends.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; all runs have saved their states and ended.
        XkdError: a file cannot be written; another sweep is at work in the directory; `capture` beside `together`.
    """
    if capture and (together or 1) > 1:
        raise XkdError(
            f"capture: found beside together={together}; a captured step holds its own teacher: leave one out"
        )
    at_most = together or (1 if capture else _TOGETHER)

    def job_of(run: SweepRun) -> TrainingJob:
        places = (run.directory, run.runs)
        return TrainingJob(run.name, run.recipe, *places, device, resume=True, capture=capture, force=force)

    with hold(directory), StopRequest() as stop:
        told = progress or (lambda done, total, where: None)
        return _run_all(runs, directory, jobs, at_most, job_of, told, stop)


def _run_all(
    runs: Sequence[SweepRun],
    directory: Path,
    jobs: int,
    together: int,
    job_of: Callable[[SweepRun], TrainingJob],
    progress: SweepProgress,
    stop: StopRequest,
) -> SweepResult:
    finished = _finished(runs)
    waiting = [run for run in runs if run.directory not in finished]
    active: list[tuple[list[SweepRun], subprocess.Popen[bytes]]] = []
    failed: dict[Path, str] = {}
    threads = str(max((os.cpu_count() or 1) // jobs, 1))
    environment = {"OMP_NUM_THREADS": threads, **os.environ} if jobs > 1 else dict(os.environ)
    try:
        while (waiting or active) and not stop.made:
            ready = [run for run in waiting if _is_ready(run, runs, finished)]
            while ready and len(active) < jobs:
                group = _in_step(ready, together, jobs - len(active))
                ready, waiting = ([run for run in some if run not in group] for some in (ready, waiting))
                active.append((group, child.start([job_of(run) for run in group], environment)))
            if not active:
                failed |= {run.directory: "its teacher failed" for run in waiting}
                break
            ended = [(group, process) for group, process in active if process.poll() is not None]
            for group, process in ended:
                active.remove((group, process))
                for run, why in zip(group, child.failures(list(map(job_of, group)), process.returncode), strict=True):
                    if why is None:
                        finished.add(run.directory)
                    else:
                        failed[run.directory] = _in_its_words(why)
            if ended:
                _write_results(_outcomes(runs, finished), directory)
            at_work = [run.directory.relative_to(directory).as_posix() for group, _ in active for run in group]
            progress(len(finished) + len(failed), len(runs), ", ".join(at_work))
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


def _in_step(ready: Sequence[SweepRun], together: int, processes: int) -> list[SweepRun]:
    """The first run and those of its `lesson_key` that are made in step with it: one share of so many processes."""
    first = ready[0]
    key = lesson_key(first.recipe) if together > 1 else None
    if key is None:
        return [first]
    alike = [run for run in ready if run.runs == first.runs and lesson_key(run.recipe) == key]
    return alike[: min(together, math.ceil(len(alike) / processes))]


def _finished(runs: Sequence[SweepRun]) -> set[Path]:
    """The directories of runs that are not due; what cannot be one is refused before a table loses its row."""
    origins, finished = Origins(), set[Path]()
    try:
        for run in runs:  # teachers first: whether a student is finished depends on which teacher there is
            if _is_ready(run, runs, finished) and run.is_finished(origins):
                finished.add(run.directory)
    except XkdError as error:
        raise XkdError(_in_its_words(str(error))) from None
    return finished


def _in_its_words(said: str) -> str:
    """What a training said, without what a sweep cannot be told."""
    return renamed(said, _CALLED, quote="")


def _is_ready(run: SweepRun, runs: Sequence[SweepRun], finished: Set[Path]) -> bool:
    """Whether all runs of its teacher are finished: which of them is read must not depend on the order."""
    return all(other.directory in finished for other in runs if other.name in run.teachers)


def _outcomes(runs: Sequence[SweepRun], finished: Set[Path]) -> list[Outcome]:
    results = ((run, read_result(run.directory)) for run in runs if run.directory in finished)
    return [Outcome(run.name, result, run.settings) for run, result in results if result is not None]


def _write_results(outcomes: Sequence[Outcome], directory: Path) -> None:
    if not outcomes:
        return
    lines = [
        {"run": outcome.name, "seed": outcome.result["seed"]}
        | tables.columns(outcome)
        | {"student": outcome.result["student"]}
        | {f"{epoch}_{key}": value for epoch in ("last", "best") for key, value in outcome.result[epoch].items()}
        for outcome in outcomes
    ]
    for name, text in (("results.csv", csv_text(lines)), ("results.md", markdown(outcomes))):
        with writing(f"output {directory}: {name}"), replacing(directory / name) as file:
            file.write(text.encode())
