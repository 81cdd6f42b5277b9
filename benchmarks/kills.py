"""Does a run that is killed at any moment continue to the same bytes? Evaluations and trainings under kill -9.

    python benchmarks/kills.py --rounds 20

A round starts the command, sends SIGKILL to it and all its processes after a random share of the time that it takes
whole, does so once more to the one that continues, and lets the third end. What then lies there is held against a run
that nobody disturbed: every row of an evaluation and its scores, every tensor of a student and its metrics.
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
from pathlib import Path
from typing import Any

from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.study.directory import read_run

_EVALUATION = ("xkd_eval", "perturbation", "--model", "embedded/kd", "--limit", "400", "--batch-size", "8", "-o")
_TRAINING = (
    *("distill", "train", "quickstart/kd", "--teacher", "embedded/teacher", "--resume"),
    *("--set", "epochs=2", "--set", "data.images=2000", "-o"),
)
_KILLS = 2


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| command | rounds | kills | of these before anything was kept | the same in the end |")
    print("|---|---:|---:|---:|---:|")
    for command, outcome in ((_EVALUATION, evaluated), (_TRAINING, trained)):
        with tempfile.TemporaryDirectory() as folder:
            _attack(command, outcome, Path(folder), given.rounds, random.Random(given.seed))


def evaluated(directory: Path) -> Any:
    """The rows and scores of a run."""
    _, summary, rows = read_run(directory)
    return rows.table.to_pylist(), {**summary, "images_per_second": None}


def trained(directory: Path) -> Any:
    """The student, the metrics and the result of a training; how long an epoch took differs."""
    student = read_checkpoint(directory / "student.pt").state_dict
    result = json.loads((directory / "result.json").read_text())
    weights = {name: tensor.numpy().tobytes() for name, tensor in student.items()}
    return weights, {part: _without_times(result[part]) for part in ("last", "best")}


def _without_times(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if "second" not in name}


def _attack(
    command: tuple[str, ...], outcome: Callable[[Path], Any], folder: Path, rounds: int, draw: random.Random
) -> None:
    start = time.monotonic()
    _started(command, folder / "whole").wait()
    seconds, expected = time.monotonic() - start, outcome(folder / "whole")
    same = kills = early = 0
    for number in range(rounds):
        directory = folder / str(number)
        for _ in range(_KILLS):
            process = _started(command, directory)
            time.sleep(draw.uniform(0, seconds))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                early += not directory.exists()
            process.wait()
        _started(command, directory).wait()
        same += outcome(directory) == expected
    print(f"| `{' '.join(command[:4])}` | {rounds} | {kills} | {early} | {same} of {rounds} |", flush=True)


def _started(command: tuple[str, ...], directory: Path) -> subprocess.Popen[bytes]:
    """The command in a group of processes of its own."""
    silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", *command, str(directory)], start_new_session=True, **silent)


if __name__ == "__main__":
    main()
