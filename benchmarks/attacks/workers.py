"""Mutants in forked processes with a limit on memory and time: one that kills its process is a failure like others."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from attacks.group import BLOCK, Group, Mutant, laid_out
from attacks.outcome import GOOD, MOST_MEMORY, Outcome, judge, memory

_ADDRESS_SPACE = 4 * 2**30  # over what the process has when it starts
_BLOCKS_A_PROCESS = 40
_UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@dataclass(frozen=True)
class Task:
    """Some mutants of one block, by their numbers in the group."""

    group: str
    first: int
    last: int


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    results: Connection
    tasks: list[Task]
    index: int
    since: float
    noise: Path


def tasks_of(names: Sequence[str], count: int) -> list[Task]:
    """Groups taken in turn, so that the slow ones are not left for the end."""
    blocks = range(0, count, BLOCK)
    return [Task(name, first, min(first + BLOCK, count)) for first in blocks for name in names]


def outcomes(
    groups: dict[str, Group], tasks: Sequence[Task], seed: int, jobs: int, folder: Path, longest: float = 30.0
) -> Iterator[tuple[str, int, Outcome]]:
    """(group, number, outcome) of every mutant of the tasks.

    Args:
        groups: prepared.
        tasks: what is to be done.
        seed: of all mutants.
        jobs: processes.
        folder: for what they write.
        longest: seconds by the clock after which a process is killed.
    """
    left, workers, started = list(tasks), [], 0
    try:
        while left or workers:
            while left and len(workers) < jobs:
                taken, left = left[:_BLOCKS_A_PROCESS], left[_BLOCKS_A_PROCESS:]
                workers.append(_start(groups, taken, seed, folder / f"worker-{started}"))
                started += 1
            ready = set(wait([worker.results for worker in workers], timeout=1.0))
            for worker in list(workers):
                ended = False
                if worker.results in ready:
                    ended = yield from _received(worker)
                elif time.monotonic() - worker.since > longest:
                    worker.process.kill()
                if ended:
                    workers.remove(worker)
                    worker.process.join()
                    if worker.tasks:  # it died
                        task = worker.tasks[0]
                        yield task.group, worker.index, _death(worker)
                        rest = [Task(task.group, worker.index + 1, task.last)] if worker.index + 1 < task.last else []
                        left = [*rest, *worker.tasks[1:], *left]
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _received(worker: _Worker) -> Iterator[tuple[str, int, Outcome]]:
    """What has come; returns whether the process has ended."""
    while worker.results.poll():
        try:
            index, outcome = worker.results.recv()
        except (EOFError, OSError):
            return True
        worker.since = time.monotonic()
        yield worker.tasks[0].group, index, outcome
        worker.index = index + 1
        if worker.index >= worker.tasks[0].last:
            del worker.tasks[0]
            worker.index = worker.tasks[0].first if worker.tasks else 0
    return False


def _death(worker: _Worker) -> Outcome:
    code = worker.process.exitcode or 0
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    said = worker.noise.read_text(errors="replace")[-4000:] if worker.noise.is_file() else ""
    frames = [line.strip() for line in said.splitlines() if line.strip().startswith("File ")]
    where = next((line for line in frames if "attacks" not in line), "")
    return Outcome("uncaught", f"the process died: {name} {where}", f"{name} {where}", said)


def _start(groups: dict[str, Group], tasks: list[Task], seed: int, folder: Path) -> _Worker:
    folder.mkdir(parents=True)
    results, sending = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(groups, list(tasks), seed, folder, sending))
    process.start()
    sending.close()
    return _Worker(process, results, list(tasks), tasks[0].first, time.monotonic(), folder / "noise.txt")


def _work(groups: dict[str, Group], tasks: list[Task], seed: int, folder: Path, results: Connection) -> None:
    """In the forked process: judge the mutants, send what came of each."""
    noise = folder / "noise.txt"
    _confine(noise)
    at_start = memory()
    for task in tasks:
        group = groups[task.group]
        number = task.first // BLOCK
        for index, mutant in enumerate(group.block(seed, number), number * BLOCK):
            if not task.first <= index < task.last:
                continue
            outcome = judged(group, mutant, folder / "mutant", noise)
            large = memory() - at_start > MOST_MEMORY
            if large and outcome.kind in GOOD:
                outcome = Outcome("uncaught", f"took {(memory() - at_start) / 2**20:.0f} MB", "memory")
            results.send((index, outcome))
            at_start = memory() if large else at_start
    os._exit(0)


def judged(group: Group, mutant: Mutant, folder: Path, noise: Path | None = None) -> Outcome:
    """What comes of one mutant, read in this process."""
    noise = None if mutant.case in group.remarks else noise
    try:
        with laid_out(mutant.files, folder):
            return judge(
                lambda: group.read(mutant, folder), group.originals[mutant.case], strict=mutant.strict, noise=noise
            )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a mistake of the attack's own must not look like none
        return Outcome("uncaught", f"the attack failed: {error!r}", "attack", traceback.format_exc())


def _confine(noise: Path) -> None:
    file = os.open(noise, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # A test runner's own streams would hide what is printed.
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    warnings.showwarning = lambda message, kind, *place: print(f"{kind.__name__}: {message}", file=sys.stderr)
    warnings.resetwarnings()
    warnings.simplefilter("always")  # each, not the first alone
    for kind in _UNSEEN:
        warnings.simplefilter("ignore", kind)
