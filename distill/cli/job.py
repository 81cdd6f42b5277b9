"""python -m distill.cli.job FILE: the trainings of a file, as a sweep or `train --devices` hands them over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from distill.cli.errors import report
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.job import TrainingJob, read_jobs
from xkd_eval.cli.console import end
from xkd_eval.errors import XkdError

if TYPE_CHECKING:
    from distill.runs.tables import Outcome


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


def main(arguments: Sequence[str]) -> NoReturn:
    """Make the trainings of a file and exit: 0, 2 with one line on stderr, 130 after Ctrl-C or 143 after SIGTERM."""
    end(lambda: _make_file(arguments), report)


def _make_file(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise XkdError("job: expected one file of trainings")
    make(read_jobs(Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
