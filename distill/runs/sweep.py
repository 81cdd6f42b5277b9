"""Many trainings: variants of recipes x seeds, several at once, each in a process of its own, continued when killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.recipe.files import directory_name, load_recipe
from distill.recipe.schema import Recipe
from distill.runs.sweep_file import SweepChoices, SweepFile
from distill.runs.tables import Outcome, csv_text, markdown
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing

_POLL_SECONDS = 0.2

Report = Callable[[int, int, str], None]
"""Called with the runs done, the runs in all, and what is under way."""


@dataclass(frozen=True)
class SweepRun:
    """One training of a sweep.

    Attributes:
        name: recipe and variant.
        recipe: as resolved.
        directory: of the run.
        command: what makes it, without the interpreter.
        teacher: the name of the runs of its teacher, where that is a recipe.
    """

    name: str
    recipe: Recipe
    directory: Path
    command: tuple[str, ...]
    teacher: str | None

    @property
    def result(self) -> dict[str, Any] | None:
        """What the finished run came to."""
        file = self.directory / "result.json"
        return json.loads(file.read_text()) if file.is_file() else None

    @property
    def is_finished(self) -> bool:
        """Whether it came to anything by this recipe: `train` refuses to go on with what another left."""
        if self.result is None:
            return False
        return load_recipe(str(self.directory / "recipe.yaml")).identity() == self.recipe.identity()


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        outcomes: of the finished runs.
        failed: directory and last line of the others.
    """

    outcomes: list[Outcome]
    failed: list[tuple[Path, str]]


def plan_sweep(sweep: SweepFile, directory: Path, choices: SweepChoices | None = None) -> list[SweepRun]:
    """All runs in the file's order, a teacher's right before the first that need it.

    Args:
        sweep: the file.
        directory: of the sweep; runs lie below it, and so do the teachers that students look for.
        choices: of the command line.

    Raises:
        XkdError: a name or an override that makes no recipe; a teacher that neither lies there nor is in the sweep.
    """
    choices = choices or SweepChoices()
    sweep = choices.applied(sweep)
    runs = [
        _run(sweep, name, variant, seed, directory, choices)
        for name, seed in sweep.names_and_seeds()
        for variant in _variants(sweep, name)
    ]
    made = {run.name for run in runs}
    for run in runs:
        if run.teacher is not None and run.teacher not in made and not _students(directory, run.teacher):
            raise XkdError(
                f"sweep: {run.name} needs the teacher of {run.teacher!r}, which is neither among its recipes nor in "
                f"{directory}; add the recipe, or set teacher.model"
            )
    return _teachers_first(runs)


def run_sweep(runs: Sequence[SweepRun], directory: Path, jobs: int, report: Report | None = None) -> SweepResult:
    """Run what is not finished, `jobs` at a time, and keep results.csv and results.md up to date.

    Finished runs are kept and unfinished ones continued, so the same command goes on after an interruption. A run that
    fails leaves its log, and the others go on. On a CPU the jobs share its cores out.

    Args:
        runs: of `plan_sweep`.
        directory: of the sweep.
        jobs: processes at once, on one device.
        report: told when a run starts or ends.
    """
    report = report or (lambda done, total, where: None)
    finished = {run.directory for run in runs if run.is_finished}
    waiting = [run for run in runs if run.directory not in finished]
    active: list[tuple[SweepRun, subprocess.Popen[bytes]]] = []
    failed: dict[Path, str] = {}
    threads = str(max((os.cpu_count() or 1) // jobs, 1))
    environment = {"OMP_NUM_THREADS": threads, **os.environ} if jobs > 1 else dict(os.environ)
    try:
        while waiting or active:
            for run in [run for run in waiting if _is_ready(run, runs, finished)][: jobs - len(active)]:
                waiting.remove(run)
                active.append((run, _start(run, environment)))
            if not active:
                failed |= {run.directory: "its teacher failed" for run in waiting}
                break
            ended = [(run, process) for run, process in active if process.poll() is not None]
            for run, process in ended:
                active.remove((run, process))
                if process.returncode:
                    failed[run.directory] = _last_line(run.directory / "log.txt")
                else:
                    finished.add(run.directory)
            if ended:
                _write_results(_outcomes(runs, finished), directory)
            report(len(finished) + len(failed), len(runs), ", ".join(_label(run, directory) for run, _ in active))
            time.sleep(_POLL_SECONDS)
    finally:
        for _, process in active:
            process.terminate()  # Each saves its state.
        for _, process in active:
            process.wait()
    outcomes = _outcomes(runs, finished)
    _write_results(outcomes, directory)
    return SweepResult(outcomes, list(failed.items()))


def _variants(sweep: SweepFile, name: str) -> list[str]:
    return list(sweep.variants) if sweep.variants and load_recipe(name).teacher is not None else [""]


def _run(sweep: SweepFile, name: str, variant: str, seed: int, directory: Path, choices: SweepChoices) -> SweepRun:
    overrides = [*sweep.set, *sweep.variants.get(variant, []), *choices.overrides]
    if sweep.data is not None:
        overrides.insert(0, f"data.path={json.dumps(sweep.data)}")
    if sweep.val_split is not None:
        overrides.insert(0, f"data.val_split={sweep.val_split}")
    # Last, so that no override can make two runs of one seed.
    overrides.append(f"seed={seed}")
    recipe = load_recipe(name, overrides)
    label = f"{directory_name(name)}/{variant}" if variant else directory_name(name)
    place = directory / label / f"seed-{seed}"
    command = ["train", name, "-o", str(place), "--runs", str(directory), "--device", choices.device, "--resume"]
    command += ["--capture"] if choices.capture else []
    command += [part for override in overrides for part in ("--set", override)]
    named = recipe.teacher.recipe if recipe.teacher is not None else None
    teacher = None if named is None else directory_name(named)
    return SweepRun(label, recipe, place, tuple(command), teacher)


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


def _label(run: SweepRun, directory: Path) -> str:
    return run.directory.relative_to(directory).as_posix()


def _students(directory: Path, name: str) -> list[Path]:
    place = directory / name
    return [*place.glob("student.pt"), *place.glob("seed-*/student.pt")]


def _start(run: SweepRun, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    run.directory.mkdir(parents=True, exist_ok=True)
    with (run.directory / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "distill", *run.command],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which then asks each run to save.
        )


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it left no message"


def _outcomes(runs: Sequence[SweepRun], finished: Set[Path]) -> list[Outcome]:
    results = ((run.name, run.result) for run in runs if run.directory in finished)
    return [Outcome(name, result) for name, result in results if result is not None]


def _write_results(outcomes: Sequence[Outcome], directory: Path) -> None:
    if not outcomes:
        return
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        {"run": outcome.name, "seed": outcome.result["seed"], "student": outcome.result["student"]}
        | {f"{epoch}_{key}": value for epoch in ("last", "best") for key, value in outcome.result[epoch].items()}
        for outcome in outcomes
    ]
    for name, text in (("results.csv", csv_text(lines)), ("results.md", markdown(outcomes))):
        with replacing(directory / name) as file:
            file.write(text.encode())
