"""What a forward gains where it is started as one CUDA graph, or compiled by torch, in one run.

    python benchmarks/launches.py --device cuda --rounds 5

Every round runs the ways one after the other in another order; a ratio is the median over the rounds of the ratio
within a round. On a CPU there is no graph, and compiling needs a C++ compiler. Weights are random but for the CIFAR-100
teacher's: no time depends on them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from race import race, ratio, seconds_of
from torch import Tensor
from torchvision import models

from xkd_eval import load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import resolve_device
from xkd_eval.engines.base import Precision
from xkd_eval.engines.chunks import chunk_size
from xkd_eval.engines.eager import prepare

EAGER = "one by one"
TEACHER = Path(__file__).parents[1] / "docs" / "checkpoints" / "teacher.pt"
_FORWARDS = 20


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "tf32", "bf16"])
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet18", "resnet50"])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    device = resolve_device(given.device)
    ways = [EAGER, *(["CUDA graph"] if device.type == "cuda" else []), "compiled"]
    print(f"{device}, torch {torch.__version__}; images/s\n")
    print(f"| | chunk | {' | '.join(ways)} |\n|---|---:|{'---:|' * len(ways)}")
    for name in given.networks:
        own = load_classifier(TEACHER) if name == "resnet20" else load_classifier(models.get_model(name), size=224)
        for precision in given.precisions:
            _compare(name, own, precision, device, ways, given.rounds)


def _compare(
    name: str, classifier: Classifier, precision: Precision, device: torch.device, ways: list[str], rounds: int
) -> None:
    chunk = chunk_size(classifier, classifier.preprocess, device)
    images = torch.randn(chunk, 3, *classifier.preprocess.size, device=device)
    runs = {way: _timed(_MADE[way](prepare(classifier, device, precision), images), device) for way in ways}
    for run in runs.values():
        run()
    times = race(runs, rounds)
    rates = {way: _FORWARDS * chunk / statistics.median(found) for way, found in times.items()}
    cells = [f"{rates[way]:,.0f} ({ratio(times[EAGER], found):.2f} x)" for way, found in times.items()]
    print(f"| {name}, {precision} | {chunk} | {' | '.join(cells)} |", flush=True)


def _eager(classifier: Classifier, images: Tensor) -> Callable[[], object]:
    return lambda: classifier(images)


def _compiled(classifier: Classifier, images: Tensor) -> Callable[[], object]:
    classifier.model.compile()
    return lambda: classifier(images)


@torch.inference_mode()
def _graph(classifier: Classifier, images: Tensor) -> Callable[[], object]:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries choose their kernels in forwards that are not recorded
        for _ in range(3):
            classifier(images)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        classifier(images)
    return graph.replay


_MADE = {EAGER: _eager, "CUDA graph": _graph, "compiled": _compiled}


def _timed(run: Callable[[], object], device: torch.device) -> Callable[[], float]:
    @torch.inference_mode()
    def repeated() -> None:
        for _ in range(_FORWARDS):
            run()

    return partial(seconds_of, repeated, device)


if __name__ == "__main__":
    main()
