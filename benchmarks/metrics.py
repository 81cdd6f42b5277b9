"""Every metric that another package has too, in turn with that package's own call: CPU-seconds an image.

EfficientNet-Lite0 with its ImageNet weights, 16 photographs, the same maps. Ours is `evaluate`, decoding and the clean
pass included; the other package is given photographs and maps that are ready. What a study costs once, whatever the
number of photographs (folding, checks), stands in a column of its own: an image's share is the difference between 16
photographs and 1.

uv run --with torchcam==0.5.0 --with quantus==0.6.0 --with saliency==0.2.1 --with "numpy<2.4" \\
    python -m benchmarks.metrics --data imagenet_like/val
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import peers
from benchmarks.lite import lite0
from xkd_eval import evaluate, open_dataset
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.base import Subset
from xkd_eval.explainers.stored import save_maps


@dataclass(frozen=True)
class Race:
    """One metric.

    Attributes:
        name: for the table.
        test: as `evaluate` takes it.
        peer: the other package's call.
        package: its name.
        target: the most that ours may take of theirs.
        most: photographs, where one takes long.
        explains: whether ours needs an explainer instead of stored maps.
    """

    name: str
    test: str
    peer: peers.Peer
    package: str
    target: float = 1.0
    most: int = 16
    explains: bool = False


RACES = (
    Race("average drop, increase", "confidence", peers.torchcam_confidence, "torch-cam"),
    Race(
        "insertion + deletion, 20 steps",
        "insertion_deletion:preset=torch-cam",
        peers.torchcam_insertion_deletion,
        "torch-cam",
        0.6,
    ),
    Race("ROAD, 9 steps, both orders", "road:preset=grad-cam", peers.gradcam_road, "grad-cam", 0.25),
    Race(
        "pixel flipping, 48 steps",
        "pixel_flipping:preset=quantus",
        peers.quantus("PixelFlipping", channels=3, features_in_step=3136),
        "Quantus",
        0.5,
    ),
    Race(
        "AOPC, 64 regions",
        "aopc:preset=quantus,region=28,regions=64,order=morf",
        peers.quantus("RegionPerturbation", patch_size=28, regions_evaluation=64),
        "Quantus",
        0.5,
    ),
    Race(
        "faithfulness correlation, 50 runs",
        "faithfulness:preset=quantus,samples=50",
        peers.quantus("FaithfulnessCorrelation", softmax=False, channels=3, nr_runs=50, subset_size=224),
        "Quantus",
    ),
    Race(
        "parameter randomisation, 99 layers",
        "randomisation:preset=quantus",
        peers.quantus("MPRT", explained=True, softmax=False, return_average_correlation=True),
        "Quantus",
        0.5,
        most=8,
        explains=True,
    ),
    Race("infidelity, 10 samples", "infidelity:preset=captum,sigma=0.005", peers.captum_infidelity, "captum"),
    Race("max-sensitivity, 10 samples", "robustness:preset=captum", peers.captum_sensitivity, "captum", explains=True),
    Race("sparseness, complexity", "complexity", peers.quantus("Sparseness"), "Quantus"),
    Race("SIC, AIC", "sic", peers.saliency_sic, "saliency", 0.2, most=3),
)


class _Lite(nn.Module):
    """The network with its last map as a module of its own, as packages that hook modules want it."""

    class _Features(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            return self.network.extract_features(images)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.fc = network._fc  # before the features, under whose name it would be known
        self.features = self._Features(network)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


def asked(images: ImageDataset, classifier: Any) -> peers.Asked:
    """What the other packages are given, made before the clock runs."""
    preprocess = classifier.preprocess
    pixels = torch.stack([preprocess.pixels(images.load(place).image) for place in range(len(images))])
    inputs = preprocess.normalise(pixels)
    with torch.no_grad():
        found = classifier.forward_with_features(inputs)
    classes = found.logits.argmax(1)
    low = classifier.cams(found.features, classes[:, None])[:, 0]
    large = F.interpolate(low[:, None], inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    least, most = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    network = _Lite(classifier.model).eval()
    photographs = pixels.permute(0, 2, 3, 1).numpy()
    return peers.Asked(network, "features", inputs, photographs, (large - least) / (most - least), low, classes)


def seconds(function: Callable[[], Any]) -> float:
    """CPU-seconds of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def race(entry: Race, images: ImageDataset, classifier: Any, folder: Path) -> tuple[float, float, float]:
    """Ours an image, ours once, theirs an image; in turn, the first photograph before all."""
    chosen = Subset(images, list(range(min(entry.most, len(images)))))
    given = asked(chosen, classifier)
    save_maps(folder, chosen.ids, given.low)
    maps: dict[str, Any] = {} if entry.explains else {"maps": folder}
    first = Subset(images, [0])
    evaluate({"lite0": classifier}, first, tests=entry.test, **maps)
    once = seconds(lambda: evaluate({"lite0": classifier}, first, tests=entry.test, **maps))
    ours = seconds(lambda: evaluate({"lite0": classifier}, chosen, tests=entry.test, **maps))
    theirs = seconds(lambda: entry.peer(given))
    share = (ours - once) / (len(chosen) - 1)
    return share, once - share, theirs / len(chosen)


def core(images: ImageDataset, classifier: Any) -> tuple[float, float]:
    """CPU-seconds of the core together, and of its tests run alone, one after the other."""
    names = [result.test_name for result in evaluate({"lite0": classifier}, Subset(images, [0]), tests="core").results]
    together = seconds(lambda: evaluate({"lite0": classifier}, images, tests="core"))
    alone = sum(seconds(lambda name=name: evaluate({"lite0": classifier}, images, tests=name)) for name in names)
    return together, alone


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an ImageNet tree; its first photographs are taken")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--only", help="races whose name holds this word; core: the core against its parts")
    arguments = parser.parse_args()
    everything = open_dataset(arguments.data)
    images = Subset(everything, list(range(min(arguments.images, len(everything)))))
    classifier = lite0()
    chosen = [entry for entry in RACES if (arguments.only or "") in entry.name]
    if chosen:
        print("| metric | peer | ours, s an image | ours, s once | peer, s an image | ratio | target |")
        print("|---|---|---:|---:|---:|---:|---:|")
    for entry in chosen:
        with tempfile.TemporaryDirectory() as folder:
            ours, once, theirs = race(entry, images, classifier, Path(folder))
        cells = (f"{ours:.3f}", f"{once:.2f}", f"{theirs:.3f}", f"{ours / theirs:.2f}", f"{entry.target:g}")
        print(f"| {entry.name} | {entry.package} | {' | '.join(cells)} |", flush=True)
    if arguments.only in (None, "core"):
        together, alone = core(images, classifier)
        print(
            f"\n--test core: {together:.1f} CPU-seconds together, {alone:.1f} one after the other: "
            f"{together / alone:.2f} (target 0.6)"
        )


if __name__ == "__main__":
    main()
