"""The perturbation test of a network at 224x224: the published two-script pipeline, the bare forward, and ours.

    python benchmarks/perturbation.py --images 96 --rounds 3
    python benchmarks/perturbation.py --engines torch openvino --precisions fp32
    python benchmarks/perturbation.py --device cuda --images 2000 --precisions fp32 tf32 bf16 --workers 8

Every round runs all of them one after the other in another order; a ratio is the median over the rounds of the ratio
within a round. The published pipeline computes in float32, with torch's own settings. Weights are random: no time
depends on them.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import torch
from images import write_imagenet_tree
from race import race, ratio, seconds_of
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from xkd_eval import load_classifier, perturbation_test
from xkd_eval.ambient import plain_torch
from xkd_eval.cam import class_activation_maps
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import resolve_device
from xkd_eval.engines.base import Precision
from xkd_eval.engines.network import Network
from xkd_eval.engines.plan import built, plan
from xkd_eval.evaluations.perturbation.options import DEFAULT_FRACTIONS

FORWARDS = 1 + 2 * len(DEFAULT_FRACTIONS)
PUBLISHED = "published, two scripts"
_PEAK_SIDE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Way:
    """A precision, and the engine that computes in it."""

    precision: Precision
    engine: str

    def __str__(self) -> str:
        return f"{self.precision}, {self.engine}"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18", help="of torchvision")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "tf32", "bf16"])
    parser.add_argument("--engines", nargs="+", default=["torch"])
    parser.add_argument("--workers", type=int, default=0, help="that decode, of ours and of the published scripts")
    given = parser.parse_args()
    device = resolve_device(given.device)
    ways = [Way(precision, engine) for precision, engine in product(given.precisions, given.engines)]
    with tempfile.TemporaryDirectory() as folder:
        tree = write_imagenet_tree(Path(folder) / "val", given.images)
        torch.manual_seed(0)
        classifier = load_classifier(models.get_model(given.model), size=224)
        contestants = _contestants(classifier, tree, given.images, ways, device, given.workers)
        times = race({name: partial(seconds_of, run, device) for name, run in contestants.items()}, given.rounds)
    _print(times, classifier, given.images, ways, device)


def _contestants(
    classifier: Classifier, tree: Path, n_images: int, ways: list[Way], device: torch.device, workers: int
) -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {
        PUBLISHED: lambda: published(classifier, tree, tree.parent / "results.hdf5", device, workers)
    }
    for way in ways:
        found[_bare(way)] = _bare_forward(classifier, n_images, way, device)
        found[_ours(way)] = partial(_evaluated, classifier, tree, way, device, workers)
    return found


def _bare(way: Way) -> str:
    return f"bare forward, {way}"


def _ours(way: Way) -> str:
    return f"ours, {way}"


def _evaluated(classifier: Classifier, tree: Path, way: Way, device: torch.device, workers: int) -> None:
    options = {"precision": way.precision, "engine": way.engine, "device": str(device), "workers": workers}
    perturbation_test(classifier, tree, **options)


def published(classifier: Classifier, tree: Path, file: Path, device: torch.device, workers: int = 0) -> None:
    """Maps one by one into gzip HDF5; then, for each direction, a clean forward and nine top-k scatters and forwards.

    Kinder than the original in one point: the second script runs without a graph.
    """
    model = copy.deepcopy(classifier).to(device).eval()
    _write_maps(model, tree, file, device, workers)
    for sign in (1, -1):
        _erase_and_classify(model, file, sign, device)


def _write_maps(classifier: Classifier, tree: Path, file: Path, device: torch.device, workers: int) -> None:
    as_tensor = v2.Compose([v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    images = ImageFolder(str(tree), as_tensor)
    seen: list[Tensor] = []
    place = classifier.model.get_submodule(classifier.head.features)
    hook = place.register_forward_hook(lambda module, given, output: seen.append(output))
    shapes = {"vis": (1, 224, 224), "image": (3, 224, 224), "target": ()}
    with h5py.File(file, "w") as store:
        for name, shape in shapes.items():
            store.create_dataset(name, (1, *shape), np.float32, maxshape=(None, *shape), compression="gzip")
        for number, (image, target) in enumerate(DataLoader(images, batch_size=1, num_workers=workers)):
            with torch.no_grad():
                normalised = classifier.preprocess.normalise(image.to(device))
                logits = classifier.model(normalised)
                relevance = class_activation_maps(seen.pop(), classifier.head_weight, logits.argmax(1)[:, None])
            relevance = torch.nn.functional.interpolate(relevance, (224, 224), mode="bilinear")
            relevance = (relevance - relevance.min()) / (relevance.max() - relevance.min())
            for name, values in (("vis", relevance), ("image", image), ("target", target)):
                store[name].resize(number + 1, axis=0)
                store[name][-1:] = values.cpu().numpy()
    hook.remove()


class _Stored(Dataset[tuple[Tensor, Tensor, Tensor]]):
    def __init__(self, file: Path) -> None:
        self._store = h5py.File(file, "r")

    def __len__(self) -> int:
        return len(self._store["vis"])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, relevance, target = (torch.tensor(self._store[name][index]) for name in ("image", "vis", "target"))
        return image, relevance, target


@torch.no_grad()
def _erase_and_classify(classifier: Classifier, file: Path, sign: int, device: torch.device) -> np.ndarray:
    hits = []
    for batch in DataLoader(_Stored(file), batch_size=16):
        images, relevance, targets = (values.to(device) for values in batch)
        ranked = sign * relevance.flatten(1)
        outcomes = [classifier.model(classifier.preprocess.normalise(images))]
        for fraction in DEFAULT_FRACTIONS:
            chosen = ranked.topk(int(224 * 224 * fraction), dim=1).indices
            erased = images.flatten(2).scatter(2, chosen[:, None].expand(-1, 3, -1), 0).view_as(images)
            outcomes.append(classifier.model(classifier.preprocess.normalise(erased)))
        hits.append(torch.stack([logits.argmax(1) == targets for logits in outcomes]).cpu().numpy())
    return np.concatenate(hits, axis=1).mean(axis=1)


def _bare_forward(classifier: Classifier, n_images: int, way: Way, device: torch.device) -> Callable[[], None]:
    """As many forwards of one chunk as the test takes, of images that are there."""
    chosen = plan(classifier, classifier.preprocess, device, way.precision, way.engine)
    forward = built(chosen, classifier, classifier.preprocess, way.precision)
    network = Network(classifier, classifier.preprocess, device, way.precision, plan=chosen, forward=forward)
    images = torch.randn(chosen.chunk, 3, 224, 224, device=device)

    def run() -> None:
        for _ in range(-(-n_images * FORWARDS // chosen.chunk)):
            network.classify(images)

    return run


def _peak(precision: Precision, device: torch.device) -> float:
    """Operations a second of the product of two large matrices."""
    side = _PEAK_SIDE.get(device.type, 2048)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2, side, side, device=device, dtype=dtype)

    def multiply() -> None:
        for _ in range(5):
            torch.mm(left, right)

    with plain_torch("tf32" if precision == "tf32" else "ieee"):
        multiply()
        return 5 * 2 * side**3 / min(seconds_of(multiply, device) for _ in range(5))


def _operations(classifier: Classifier) -> int:
    """Of the forward of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        classifier(torch.zeros(1, 3, 224, 224))
    return int(counter.get_total_flops())


def _print(
    times: dict[str, list[float]], classifier: Classifier, n_images: int, ways: list[Way], device: torch.device
) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{classifier.name}, {n_images} images, {where}, torch {torch.__version__}\n")
    print("| | ms an image, median (min to max) | times as fast as published |\n|---|---:|---:|")
    for name, seconds in times.items():
        each = sorted(1000 * value / n_images for value in seconds)
        speed = ratio(times[PUBLISHED], seconds)
        print(f"| {name} | {statistics.median(each):.1f} ({each[0]:.1f} to {each[-1]:.1f}) | {speed:.2f} |")
    work = _operations(classifier) * FORWARDS * n_images
    peaks = {way.precision: _peak(way.precision, device) for way in ways}
    for way in ways:
        excess = ratio(times[_ours(way)], times[_bare(way)])
        share = work / statistics.median(times[_ours(way)]) / peaks[way.precision]
        print(
            f"\n{_ours(way)}: {excess:.3f} x its own bare forward of {FORWARDS} forwards an image; {100 * share:.0f} % "
            f"of {peaks[way.precision] / 1e9:,.0f} GFLOP/s, at which torch multiplies large matrices in that precision"
        )


if __name__ == "__main__":
    main()
