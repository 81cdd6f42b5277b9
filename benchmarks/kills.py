"""Does a run that is killed at any moment continue to the same bytes? Evaluations and trainings under kill -9.

    python benchmarks/kills.py --rounds 20

A round starts the command, sends SIGKILL after a random share of the time that it takes whole, does so once more to the
one that continues, and lets the third end. What then lies there is held against a run that nobody disturbed: every row
of an evaluation and its scores, every tensor of a student and its metrics. Who is killed:

- all: the command with all its processes;
- one: one of the processes that score, after which the command has to end by itself;
- one of two: one of two commands that write into the same directory at the same time. The other one goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.study.directory import read_run

_SCORED = ("--limit", "400", "--batch-size", "8", "--device", "cpu", "--no-floors")
_EVALUATION = ("xkd_eval", "perturbation", "--model", "embedded/kd", *_SCORED)
_COMPARISON = (
    *("xkd_eval", "compare", "embedded/teacher", "embedded/kd", "--test", "perturbation,agreement"),
    *(*_SCORED, "--gallery", "0"),
)
_TRAINING = (
    *("distill", "train", "quickstart/kd", "--teacher", "embedded/teacher", "--resume"),
    *("--set", "epochs=2", "--set", "data.images=2000"),
)
_TWO = ("--devices", "2")
_KILLS = 2


@dataclass(frozen=True)
class Attack:
    """What is started, who of it is killed, and what has to be the same in the end.

    Attributes:
        command: of `python -m`, without its output.
        victim: "all", "one" or "one of two".
        outcome: of the directory.
        kept: a pattern of files in the directory that hold what is kept.
    """

    command: tuple[str, ...]
    victim: Literal["all", "one", "one of two"]
    outcome: Callable[[Path], Any]
    kept: str


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| command | killed | rounds | kills | before anything was kept | seconds until all had ended | the same |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for attack in _ATTACKS:
        with tempfile.TemporaryDirectory() as folder:
            _run(attack, Path(folder), given.rounds, random.Random(given.seed))


def evaluated(directory: Path) -> Any:
    """The rows and scores of a run."""
    _, summary, rows = read_run(directory)
    return rows.table.to_pylist(), {**summary, "images_per_second": None}


def compared(directory: Path) -> Any:
    """Those of all runs of a comparison, and its tables."""
    runs = {path.parent.name: evaluated(path.parent) for path in directory.rglob("summary.json")}
    return runs, {path.name: path.read_bytes() for path in sorted((directory / "tables").iterdir())}


def trained(directory: Path) -> Any:
    """The student, the metrics and the result of a training; how long an epoch took differs."""
    student = read_checkpoint(directory / "student.pt").state_dict
    result = json.loads((directory / "result.json").read_text())
    weights = {name: tensor.numpy().tobytes() for name, tensor in student.items()}
    return weights, {part: _without_times(result[part]) for part in ("last", "best")}


def _without_times(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "second" not in name}


_ATTACKS = (
    Attack(_EVALUATION, "all", evaluated, "rows/*"),
    Attack((*_EVALUATION, *_TWO), "all", evaluated, "rows/*"),
    Attack((*_EVALUATION, *_TWO), "one", evaluated, "rows/*"),
    Attack(_EVALUATION, "one of two", evaluated, "rows/*"),
    Attack((*_COMPARISON, *_TWO), "all", compared, "runs/*/rows/*"),
    Attack((*_COMPARISON, *_TWO), "one", compared, "runs/*/rows/*"),
    Attack(_TRAINING, "all", trained, "last.pt"),
    Attack((*_TRAINING, *_TWO), "one", trained, "last.pt"),
)


def _run(attack: Attack, folder: Path, rounds: int, draw: random.Random) -> None:
    _started(attack.command, folder / "first").wait()  # which compiles what it imports
    start = time.monotonic()
    _started(attack.command, folder / "whole").wait()
    seconds, expected = time.monotonic() - start, attack.outcome(folder / "whole")
    same = early = 0
    ends: list[float] = []
    for number in range(rounds):
        directory = folder / str(number)
        for _ in range(_KILLS):
            commands = [_started(attack.command, directory) for _ in range(1 + (attack.victim == "one of two"))]
            time.sleep(draw.uniform(0, seconds))
            kept = any(directory.glob(attack.kept))
            if _killed(commands, attack.victim, draw):
                early += not kept
                start = time.monotonic()
                commands[0].wait()
                ends.append(time.monotonic() - start)
            for command in commands:
                command.wait()
        _started(attack.command, directory).wait()
        same += attack.outcome(directory) == expected
    by_two = " by two processes" if attack.command[-2:] == _TWO else ""
    print(
        f"| `{' '.join(attack.command[:3])}`{by_two} | {attack.victim} | {rounds} | {len(ends)} | {early} "
        f"| {max(ends, default=0):.1f} | {same} of {rounds} |",
        flush=True,
    )


def _killed(commands: list[subprocess.Popen[bytes]], victim: str, draw: random.Random) -> bool:
    """Kill who is to be killed of what is still there; whether anybody was."""
    if commands[0].poll() is not None:
        return False
    if victim != "one":
        os.killpg(commands[0].pid, signal.SIGKILL)
        return True
    scoring = [child for child in psutil.Process(commands[0].pid).children(recursive=True) if "-m" in child.cmdline()]
    if scoring:
        draw.choice(scoring).kill()
    return bool(scoring)


def _started(command: tuple[str, ...], directory: Path) -> subprocess.Popen[bytes]:
    """The command in a group of processes of its own."""
    silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", *command, "-o", str(directory)], start_new_session=True, **silent)


if __name__ == "__main__":
    main()
