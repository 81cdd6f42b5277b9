"""Do more processes and more images cost what they should? Two processes against one, and 500 to 4,000 images.

    python benchmarks/scaling.py

ShuffleNetV2 x0.5 at 224x224 with random weights: the network is light, so that what could grow beside it is seen. Every
run is a process of its own with one thread a process. Rates are those of summary.json, without the seconds in which a
process starts; two processes and one take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from images import write_imagenet_tree
from race import ratio
from torchvision.models import shufflenet_v2_x0_5

_WEIGHTS, _DATA = "random.pth", "val"


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=(500, 1000, 2000, 4000))
    parser.add_argument("--shared", type=int, default=500, help="images that one process and two score")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.save(shufflenet_v2_x0_5().state_dict(), root / _WEIGHTS)
        write_imagenet_tree(root / _DATA, max(*given.images, given.shared))
        _processes(root, given.shared, given.rounds)
        _sizes(root, given.images)


def _processes(root: Path, n_images: int, rounds: int) -> None:
    """Images a second of one process and of two."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for devices in (1, 2)[:: 1 if number % 2 else -1]:
            rates[devices].append(_run(root, n_images, devices)[0])
    # Seconds an image: a ratio of times, as everywhere else.
    times = {devices: [1 / rate for rate in found] for devices, found in rates.items()}
    print("| processes | images/s | times as fast |\n|---:|---:|---:|")
    for devices, found in rates.items():
        print(f"| {devices} | {statistics.median(found):.2f} | {ratio(times[1], times[devices]):.2f} |", flush=True)


def _sizes(root: Path, sizes: list[int]) -> None:
    """Time and peak memory by the number of images, and how far the times lie from a line."""
    found = []
    for n_images in sizes:
        rate, peak = _run(root, n_images, 1)
        found.append((n_images, n_images / rate, peak))
    counts, seconds, _ = np.array(found).T
    slope = (counts @ seconds) / (counts @ counts)
    print("\n| images | seconds | off the line | peak memory, MiB |\n|---:|---:|---:|---:|")
    for n_images, taken, peak in found:
        print(f"| {n_images:,} | {taken:.1f} | {100 * (taken / (slope * n_images) - 1):+.1f} % | {peak:,.0f} |")


def _run(root: Path, n_images: int, devices: int) -> tuple[float, float]:
    """Images a second while images were scored, and the peak resident memory of the largest process in MiB."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            *(sys.executable, "-c", _MEASURED, "perturbation", "--data", str(root / _DATA), "--limit", str(n_images)),
            *("--model", "torchvision/shufflenet_v2_x0_5", "--weights", str(root / _WEIGHTS), "--no-figures"),
            *("--no-floors", "--device", "cpu", "--workers", "0", "--devices", str(devices), "-o", output),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        summary = json.loads(Path(output, "summary.json").read_text())
        return summary["images_per_second"], float(done.stdout.splitlines()[-1])


# The command, and what it and the processes that it started took of the memory.
_MEASURED = f"""
import resource
from xkd_eval.cli import main
try:
    main()
finally:
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(max(resource.getrusage(who).ru_maxrss for who in of) / {2**20 if sys.platform == "darwin" else 2**10})
"""


if __name__ == "__main__":
    main()
