"""The perturbation test of ResNet-18 at 224x224: the published two-script pipeline, the bare forward, and ours.

    python benchmarks/perturbation.py --images 96 --rounds 3

Every round runs the four one after the other in another order; a ratio is the median over the rounds of the ratio
within a round. Weights are random: no time depends on them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from images import write_imagenet_tree
from race import race, ratio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from xkd_eval import load_classifier, perturbation_test
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.engines.eager import chunk_size, prepare
from xkd_eval.evaluations.perturbation.options import DEFAULT_FRACTIONS

CPU = torch.device("cpu")
FORWARDS = 1 + 2 * len(DEFAULT_FRACTIONS)
PUBLISHED = "a: published, two scripts"
OWN_FORWARD = {
    "c: ours, float32": "b: bare forward, float32",
    "d: ours, bfloat16": "b': bare forward, bfloat16",
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contestants = _contestants(Path(folder), arguments.images)
        times = race({name: partial(_timed, run) for name, run in contestants.items()}, arguments.rounds)
    _print(times, arguments.images)


def _contestants(folder: Path, n_images: int) -> dict[str, Callable[[], None]]:
    tree = write_imagenet_tree(folder / "val", n_images)
    torch.manual_seed(0)
    torch.save(models.resnet18().state_dict(), folder / "resnet18.pth")
    classifier = load_classifier("torchvision/resnet18", weights=folder / "resnet18.pth")

    def ours(precision: str) -> None:
        perturbation_test(classifier, tree, precision=precision)

    return {
        PUBLISHED: lambda: published(classifier, tree, folder / "results.hdf5"),
        "b: bare forward, float32": _bare_forward(classifier, n_images, "fp32"),
        "c: ours, float32": lambda: ours("fp32"),
        "b': bare forward, bfloat16": _bare_forward(classifier, n_images, "bf16"),
        "d: ours, bfloat16": lambda: ours("bf16"),
    }


def published(classifier: Classifier, tree: Path, file: Path) -> None:
    """Maps one by one into gzip HDF5; then, for each direction, a clean forward and nine top-k scatters and forwards.

    Kinder than the original in one point: the second script runs without a graph.
    """
    _write_maps(classifier, tree, file)
    for sign in (1, -1):
        _erase_and_classify(classifier, file, sign)


def _write_maps(classifier: Classifier, tree: Path, file: Path) -> None:
    as_tensor = v2.Compose([v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    images = ImageFolder(str(tree), as_tensor)
    shapes = {"vis": (1, 224, 224), "image": (3, 224, 224), "target": ()}
    with h5py.File(file, "w") as store:
        for name, shape in shapes.items():
            store.create_dataset(name, (1, *shape), np.float32, maxshape=(None, *shape), compression="gzip")
        for number, (image, target) in enumerate(DataLoader(images, batch_size=1)):
            with torch.no_grad():
                logits, features = classifier.forward_with_features(classifier.preprocess.normalise(image))
                relevance = classifier.cams(features, logits.argmax(1)[:, None])
            relevance = torch.nn.functional.interpolate(relevance, (224, 224), mode="bilinear")
            relevance = (relevance - relevance.min()) / (relevance.max() - relevance.min())
            for name, values in (("vis", relevance), ("image", image), ("target", target)):
                store[name].resize(number + 1, axis=0)
                store[name][-1:] = values.numpy()


class _Stored(Dataset[tuple[Tensor, Tensor, Tensor]]):
    def __init__(self, file: Path) -> None:
        self._store = h5py.File(file, "r")

    def __len__(self) -> int:
        return len(self._store["vis"])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, relevance, target = (torch.tensor(self._store[name][index]) for name in ("image", "vis", "target"))
        return image, relevance, target


@torch.no_grad()
def _erase_and_classify(classifier: Classifier, file: Path, sign: int) -> np.ndarray:
    hits = []
    for images, relevance, targets in DataLoader(_Stored(file), batch_size=16):
        ranked = sign * relevance.flatten(1)
        outcomes = [classifier(classifier.preprocess.normalise(images))]
        for fraction in DEFAULT_FRACTIONS:
            chosen = ranked.topk(int(224 * 224 * fraction), dim=1).indices
            erased = images.flatten(2).scatter(2, chosen[:, None].expand(-1, 3, -1), 0).view_as(images)
            outcomes.append(classifier(classifier.preprocess.normalise(erased)))
        hits.append(torch.stack([logits.argmax(1) == targets for logits in outcomes]).numpy())
    return np.concatenate(hits, axis=1).mean(axis=1)


def _bare_forward(classifier: Classifier, n_images: int, precision: str) -> Callable[[], None]:
    chunk = chunk_size(CPU)
    model = prepare(classifier, CPU, precision).model
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(chunk, 3, 224, 224).to(dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> None:
        for _ in range(-(-n_images * FORWARDS // chunk)):
            model(images)

    return run


def _timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _print(times: dict[str, list[float]], n_images: int) -> None:
    print(f"{n_images} images, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| | ms an image, median (min to max) | times as fast as a |\n|---|---:|---:|")
    for name, seconds in times.items():
        each = sorted(1000 * value / n_images for value in seconds)
        speed = ratio(times[PUBLISHED], seconds)
        print(f"| {name} | {statistics.median(each):.0f} ({each[0]:.0f} to {each[-1]:.0f}) | {speed:.2f} |")
    for ours, bare in OWN_FORWARD.items():
        excess = ratio(times[ours], times[bare])
        print(f"\n{ours}: {excess:.3f} x its own bare forward of {FORWARDS} images an image")


if __name__ == "__main__":
    main()
