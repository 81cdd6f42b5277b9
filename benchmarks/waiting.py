"""Images a second by how long OpenMP's threads spin before they sleep: alone, two at once, and beside busy processes.

    python benchmarks/waiting.py --rounds 3

Every round runs each setting in processes of their own, in another order; the medians are printed. The settings are
`passive` (never), a number of looks (GOMP_SPINCOUNT), and torch's own (`default`). A round takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
import torch

from xkd_eval import load_classifier
from xkd_eval.engines.chunks import chunk_size
from xkd_eval.engines.eager import prepare
from xkd_eval.engines.memory import memory_kept

CPU = torch.device("cpu")
SETTINGS = ("passive", "1000", "5000", "30000", "default")
BESIDE = ("alone", "two at once", "beside busy processes")
SECONDS = 5.0
TEACHER = Path(__file__).parents[1] / "docs" / "checkpoints" / "teacher.pt"
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    """Print a Markdown table, or, as a child, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_measured()))
        return
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(arguments.rounds):
        for beside in BESIDE:
            for setting in SETTINGS[number % len(SETTINGS) :] + SETTINGS[: number % len(SETTINGS)]:
                found.setdefault((beside, setting), []).append(_run(beside, setting))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    names = list(next(iter(found.values()))[0])
    print(f"| | spins | {' | '.join(names)} |\n|---|---:|{'---:|' * len(names)}")
    for (beside, setting), rounds in found.items():
        medians = [f"{statistics.median(round_[name] for round_ in rounds):.0f}" for name in names]
        print(f"| {beside} | {setting} | {' | '.join(medians)} |")


def _measured() -> dict[str, float]:
    """Images a second of three networks, as `perturbation` forwards them."""
    speeds: dict[str, float] = {}
    with memory_kept(CPU), torch.inference_mode():
        for name, classifier in (
            ("ResNet-20, 32 px", load_classifier(TEACHER)),
            ("MobileNetV2, 224 px", load_classifier(timm.create_model("mobilenetv2_100"), size=224)),
            ("ResNet-18, 224 px", load_classifier(timm.create_model("resnet18"), size=224)),
        ):
            prepared, chunk = prepare(classifier, CPU), chunk_size(classifier, classifier.preprocess, CPU)
            images, count = torch.randn(chunk, 3, *classifier.preprocess.size), 0
            prepared(images)
            start = time.perf_counter()
            while time.perf_counter() - start < SECONDS:
                prepared(images)
                count += chunk
            speeds[name] = count / (time.perf_counter() - start)
    return speeds


def _run(beside: str, setting: str) -> dict[str, float]:
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    if setting != "default":
        environment |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0" if setting == "passive" else setting}
    child = [sys.executable, __file__, "--child"]
    with _beside(child if beside == "two at once" else BUSY, environment, 0 if beside == "alone" else _count(beside)):
        ended = subprocess.run(child, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {name: float(speed) for name, speed in json.loads(ended.stdout).items()}


def _count(beside: str) -> int:
    return 1 if beside == "two at once" else os.cpu_count() or 1


@contextmanager
def _beside(command: list[str], environment: dict[str, str], count: int) -> Iterator[None]:
    others = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
