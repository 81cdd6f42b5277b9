"""How commands end: by a signal, or on a stdout that cannot be written; told by real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xkd_eval.cli.console import Terminated, terminable

RUN = ("perturbation", "--limit", "3000", "--no-floors", "--device", "cpu", "--batch-size", "4", "-o", "run")

# Sends itself and its workers the signal when the first rows come: from within, so that nothing has to be waited for.
SIGNALLED = """
import os, sys
from xkd_eval.study.parts import PartWriter
number, add = int(sys.argv.pop(1)), PartWriter.add
def signal_after(self, rows):
    add(self, rows)
    os.killpg(0, number)
PartWriter.add = signal_after
from xkd_eval.cli import main
main()
"""

LISTING = "from distill.cli import main; main()", "recipes"


def started(program: str, *arguments: str, folder: Path, **keywords) -> subprocess.Popen[str]:
    """python -c PROGRAM ARGUMENTS, in a group of processes of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | keywords.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | keywords
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **streams)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 1)])
def test_a_signal_keeps_what_is_done_and_says_so(tmp_path, number, workers):
    process = started(SIGNALLED, str(int(number)), *RUN, "--workers", str(workers), folder=tmp_path)
    code, _, err = finished(process)
    assert err == "interrupted; what is done is kept: the same command continues\n"
    assert code == 128 + number
    assert list((tmp_path / "run").rglob("*.parquet")), "the rows of the first batch"


def test_only_the_first_termination_interrupts():
    """Others come while what is done is being kept."""
    former = signal.getsignal(signal.SIGTERM)
    with terminable():
        with pytest.raises(Terminated) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is former


def test_what_is_ignored_stays_ignored():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_full_disk_behind_stdout_is_one_line(tmp_path):
    with Path("/dev/full").open("w") as full:
        code, _, err = finished(started(*LISTING, folder=tmp_path, stdout=full))
    assert (code, err) == (2, "error: stdout: No space left on device; make room on that disk\n")


def test_nothing_is_said_where_nobody_reads(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        code, _, err = finished(started(*LISTING, folder=tmp_path, stdout=closed))
    assert (code, err) == (141, "")


def test_what_a_terminal_cannot_show_is_escaped(tmp_path):
    environment = {"PYTHONIOENCODING": "ascii", "COLUMNS": "0"}
    code, out, err = finished(started(*LISTING, folder=tmp_path, env=environment))
    assert (code, err) == (0, "") and out.isascii()
    code, _, err = finished(started(*LISTING, "modèle↑", folder=tmp_path, env=environment))
    assert code == 2 and err.isascii() and len(err.splitlines()) == 1


# Ends as typer and the libraries below it see the signal: while the words are parsed, or swallowed within an import.
EARLY = """
import os, sys
from xkd_eval.cli.console import Command
number, place = int(sys.argv.pop(1)), sys.argv.pop(1)
def signalled(*arguments, **options):
    try:
        os.kill(os.getpid(), number)
    except BaseException:
        if place != "swallowed":
            raise
    raise RecursionError("of what the signal left")
setattr(Command, "make_context" if place == "parsed" else "parse_args", signalled)
from xkd_eval.cli import main
main()
"""


@pytest.mark.parametrize("place", ["parsed", "swallowed"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_command_or_swallowed_is_said_too(tmp_path, number, place):
    code, _, err = finished(started(EARLY, str(int(number)), place, "tests", folder=tmp_path))
    assert (code, err) == (128 + number, "interrupted\n")
