"""A training in a process of its own: how it is started, and what is known of its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from distill.runs.job import JOB, LOG, RUNNER, TrainingJob, write_jobs
from xkd_eval.files import writing
from xkd_eval.foreign import check_regular, open_file, reading

TOGETHER = "--together"
"""Given to the runner beside a file of trainings that learn in step."""

OUTCOMES = ".together.json"
"""Beside such a file, what has become of each so far: its number, and what it failed of or null."""

_WORDS = ".together.txt"
_LONGEST_LINE = 2**16


def start(jobs: Sequence[TrainingJob], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Hand trainings that learn in step over to a process.

    Args:
        jobs: written into the first one's directory. One alone has the words of the process in its log; of several
            each has its own, and what else the process says goes beside the file.
        environment: of the process.

    Raises:
        XkdError: a file cannot be written.
    """
    directory = jobs[0].directory
    file = directory / JOB
    write_jobs(jobs, file)
    (directory / OUTCOMES).unlink(missing_ok=True)
    with new_log(directory, LOG if len(jobs) == 1 else _WORDS) as log:
        return subprocess.Popen(
            [sys.executable, "-m", RUNNER, str(file), *([TOGETHER] if len(jobs) > 1 else [])],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which then asks each run to save.
        )


@contextmanager
def new_log(directory: Path, name: str = LOG) -> Iterator[BinaryIO]:
    """A run's log, empty: what a former process said is no reason why this one failed.

    Raises:
        XkdError: it cannot be written.
    """
    log = directory / name
    with writing(f"output {directory}: {name}"):
        log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            check_regular(log)
        opened = log.open("wb")
    with opened:
        yield opened


def failures(jobs: Sequence[TrainingJob], code: int) -> list[str | None]:
    """Why each training that a process was handed has failed; None of one that is finished.

    Args:
        jobs: as for `start`.
        code: that the process returned.
    """
    if len(jobs) == 1:
        return [why_ended(code, jobs[0].directory / LOG) if code else None]
    directory = jobs[0].directory
    file = directory / OUTCOMES
    told: dict[str, str | None] = json.loads(file.read_bytes()) if file.is_file() else {}
    died = None if len(told) == len(jobs) else why_ended(code, directory / _WORDS)
    return [told.get(str(number), died) for number in range(len(jobs))]


def why_ended(code: int, log: Path) -> str:
    """Why a process failed: the signal that ended it, and what it said last.

    Args:
        code: that it returned.
        log: its words.
    """
    said = _last_line(log)
    if code < 0:
        ended = f"ended by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"
        return f"{ended}; before it said: {said}" if said else ended
    return said or f"exit code {code}, without a word"


def _last_line(log: Path) -> str:
    with reading(f"output {log}: cannot be read", "remove it"), open_file(log) as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _LONGEST_LINE, 0))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
