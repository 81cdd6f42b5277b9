"""Images a second of the forwards that a test makes, by each engine, in one run.

    python benchmarks/engines.py --rounds 5

Every round runs all engines one after the other in another order; a ratio is the median over the rounds of the ratio
within a round. Weights are random but for the CIFAR-100 teacher's: no time depends on them.
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
from xkd_eval.engines.memory import memory_kept
from xkd_eval.engines.network import Network
from xkd_eval.engines.plan import built, plan

CPU = torch.device("cpu")
ENGINES = ("torch", "openvino", "onnxruntime")
TEACHER = Path(__file__).parents[1] / "docs" / "checkpoints" / "teacher.pt"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| | chunk | {' | '.join(ENGINES)} |\n|---|---:|{'---:|' * len(ENGINES)}")
    with memory_kept(CPU):
        for name, make, count in (
            ("ResNet-20, 32 px", lambda: load_classifier(TEACHER), 1024),
            ("ResNet-18, 224 px", lambda: load_classifier(timm.create_model("resnet18"), size=224), 32),
            ("ResNet-50, 224 px", lambda: load_classifier(timm.create_model("resnet50"), size=224), 16),
            ("MobileNetV2, 224 px", lambda: load_classifier(timm.create_model("mobilenetv2_100"), size=224), 32),
        ):
            _compare(name, make(), count, rounds)


def _compare(name: str, classifier: Classifier, count: int, rounds: int) -> None:
    images = torch.randn(count, 3, *classifier.preprocess.size)
    networks = {engine: _network(classifier, engine) for engine in ENGINES}
    for network in networks.values():
        network.classify(images[: network.chunk])
    times = race({engine: _timed(network, images) for engine, network in networks.items()}, rounds)
    cells = [
        f"{count / statistics.median(found):.0f} ({ratio(times['torch'], found):.2f} x)" for found in times.values()
    ]
    print(f"| {name} | {networks['torch'].chunk} | {' | '.join(cells)} |", flush=True)


def _network(classifier: Classifier, engine: str) -> Network:
    preprocess = classifier.preprocess
    chosen = plan(classifier, preprocess, CPU, engine=engine)
    return Network(classifier, preprocess, CPU, plan=chosen, forward=built(chosen, classifier, preprocess, "fp32"))


def _timed(network: Network, images: torch.Tensor) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        network.classify(images)
        return time.perf_counter() - start

    return run


if __name__ == "__main__":
    main()
