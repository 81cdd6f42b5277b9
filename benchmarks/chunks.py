"""Images a second of one bare forward by how many images it takes, beside the number that is chosen for the network.

    python benchmarks/chunks.py --rounds 5

Every round runs all sizes one after the other in another order; a ratio is the median over the rounds of the ratio
within a round. Weights are random but for the CIFAR-100 teacher's and the embedded student's: no time depends on them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from race import race, ratio

from xkd_eval import load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.engines.chunks import chunk_size
from xkd_eval.engines.eager import prepare
from xkd_eval.engines.memory import memory_kept

CPU = torch.device("cpu")
CHUNKS = (4, 8, 16, 32, 64, 128)
TEACHER = Path(__file__).parents[1] / "docs" / "checkpoints" / "teacher.pt"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| | {' | '.join(map(str, CHUNKS))} | chosen | of the best |\n|---|{'---:|' * (len(CHUNKS) + 2)}")
    with memory_kept(CPU):
        for name, make, count in (
            ("ResNet-20, 32 px", lambda: load_classifier(TEACHER), 1024),
            ("embedded, 40 px", lambda: load_classifier("embedded/kd"), 2048),
            ("ResNet-18, 64 px", lambda: load_classifier(timm.create_model("resnet18"), size=64), 256),
            ("ResNet-18, 224 px", lambda: load_classifier(timm.create_model("resnet18"), size=224), 128),
            ("MobileNetV2, 224 px", lambda: load_classifier(timm.create_model("mobilenetv2_100"), size=224), 128),
            ("ResNet-18, 384 px", lambda: load_classifier(timm.create_model("resnet18"), size=384), 128),
        ):
            _compare(name, make(), count, rounds)


def _compare(name: str, classifier: Classifier, count: int, rounds: int) -> None:
    prepared, chosen = prepare(classifier, CPU), chunk_size(classifier, classifier.preprocess, CPU)
    times = race({str(chunk): _timed(prepared, chunk, count) for chunk in CHUNKS}, rounds)
    speeds = [f"{count / statistics.median(found):.0f}" for found in times.values()]
    best = min(times.values(), key=statistics.median)
    print(f"| {name} | {' | '.join(speeds)} | {chosen} | {ratio(best, times[str(chosen)]):.2f} |", flush=True)


def _timed(prepared: Classifier, chunk: int, count: int) -> Callable[[], float]:
    images = torch.randn(chunk, 3, *prepared.preprocess.size)

    @torch.inference_mode()
    def run() -> float:
        start = time.perf_counter()
        for _ in range(count // chunk):
            prepared(images)
        return time.perf_counter() - start

    run()
    return run


if __name__ == "__main__":
    main()
