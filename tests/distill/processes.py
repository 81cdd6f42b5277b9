"""Processes that tests start: what they inherit, and how long they are waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LONGEST_SECONDS = 300


def inherited(bytecode: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables to set and to remove for all processes that tests start.

    Args:
        bytecode: where they share what they compile, unless the caller's environment names a place.
    """
    given = {"PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(bytecode)), "OMP_WAIT_POLICY": "passive"}
    return given, ("PYTHONDONTWRITEBYTECODE",)


def start(*arguments: Any, **keywords: Any) -> subprocess.Popen[str]:
    """python ARGUMENTS, its stderr as text, its stdout left out."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **keywords)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr, waited for."""
    try:
        _, err = process.communicate(timeout=_LONGEST_SECONDS)
    finally:
        process.kill()
    return process.returncode, err


def wait_for(file: Path, seconds: float = 120) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + seconds
    while not file.is_file() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert file.is_file()


class Ended:
    """What `subprocess.Popen` gives for a process that has ended."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode

    def poll(self) -> int:
        """Its exit code."""
        return self.returncode


def launch_here(jobs: Sequence[Any]) -> None:
    """Trainings by two processes, as the command has them made, its launcher in this process."""
    from distill.runs.launch import launch

    with _signals_as_before():
        launch(jobs, devices=2, nodes=1)


def run_by_two(*arguments: Any) -> None:
    """python ARGUMENTS by two processes of torchrun, itself in this process, which end well."""
    from xkd_eval.launch import launch

    with _signals_as_before():
        launch(list(map(str, arguments)), devices=2)


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """torchrun takes them."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def run_here(jobs: Sequence[Any], environment: Mapping[str, str]) -> Ended:
    """In place of a sweep's process: the same module on the same file, without the seconds of its start."""
    from contextlib import redirect_stderr, redirect_stdout

    from distill.cli.job import main
    from distill.runs.child import TOGETHER
    from distill.runs.job import JOB, LOG, write_jobs

    job = jobs[0]
    write_jobs(jobs, job.directory / JOB)
    with (job.directory / LOG).open("a") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            main([str(job.directory / JOB), *([TOGETHER] if len(jobs) > 1 else [])])
        except SystemExit as exit:
            return Ended(int(exit.code or 0))
