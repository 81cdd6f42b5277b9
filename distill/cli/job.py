"""python -m distill.cli.job FILE [--together]: the trainings of a file, as a sweep or `train --devices` has them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from distill.cli.errors import report
from distill.runs.child import OUTCOMES, TOGETHER, new_log
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import TrainingJob, read_jobs
from xkd_eval.cli.console import BAD_INPUT, end
from xkd_eval.errors import XkdError
from xkd_eval.escapes import visible
from xkd_eval.files import replacing, writing

if TYPE_CHECKING:
    from distill.runs.tables import Outcome
    from distill.training.result import TrainingResult


def make(jobs: Sequence[TrainingJob]) -> list[Outcome]:
    """Make trainings one after the other, and show how far they are; with several processes, as one of them."""
    from distill.cli.progress import training_progress
    from distill.runs.launch import leave
    from distill.runs.tables import Outcome
    from distill.training.train import train

    outcomes = []
    try:
        for job in jobs:
            with training_progress(job.name, job.recipe.seed) as progress:
                made = train(
                    job.recipe,
                    job.directory,
                    device=job.device,
                    runs=job.runs,
                    resume=job.resume,
                    overwrite=job.overwrite,
                    capture=job.capture,
                    force=job.force,
                    progress=progress,
                )
            outcomes.append(Outcome(job.name, made.result))
    except KeyboardInterrupt as error:
        leave(together=False)
        raise TrainingInterruptedError(
            "stopped at once; what was saved before is kept: the same command with `resume` continues",
            getattr(error, "number", signal.SIGINT),
        ) from None
    except BaseException:
        leave(together=False)
        raise
    leave(together=True)
    return outcomes


def make_together(jobs: Sequence[TrainingJob]) -> int:
    """Make trainings in step, each with its words in its own directory's log, and write down what became of them.

    Returns:
        The exit code: 2 if one of them failed.
    """
    from distill.cli.progress import TrainingLines
    from distill.training.together import train_together

    outcomes: dict[int, str | None] = {}
    with ExitStack() as stack:
        logs = [_written_to(stack.enter_context(new_log(job.directory))) for job in jobs]
        lines = [
            TrainingLines(f"{job.name}, seed {job.recipe.seed}", say=log) for job, log in zip(jobs, logs, strict=True)
        ]

        def ended(number: int, outcome: TrainingResult | XkdError) -> None:
            outcomes[number] = f"error: {outcome}" if isinstance(outcome, XkdError) else None
            if said := outcomes[number]:
                logs[number](said)
            with writing(f"output {jobs[0].directory}: {OUTCOMES}"), replacing(jobs[0].directory / OUTCOMES) as file:
                file.write(json.dumps(outcomes).encode())

        train_together(jobs, lines, ended)
    return BAD_INPUT if any(outcomes.values()) else 0


def _written_to(log: BinaryIO) -> Callable[[str], None]:
    def write(line: str) -> None:
        log.write(f"{visible(line)}\n".encode())
        log.flush()

    return write


def main(arguments: Sequence[str]) -> NoReturn:
    """Make the trainings of a file and exit: 0, 2 with one line on stderr, 130 after Ctrl-C or 143 after SIGTERM."""
    end(lambda: _make_file(arguments), report)


def _make_file(arguments: Sequence[str]) -> int:
    files = [argument for argument in arguments if argument != TOGETHER]
    if len(files) != 1:
        raise XkdError("job: expected one file of trainings")
    jobs = read_jobs(Path(files[0]))
    if TOGETHER in arguments:
        return make_together(jobs)
    make(jobs)
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
