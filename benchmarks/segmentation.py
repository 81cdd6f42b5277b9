"""The segmentation test on 4,276 images in the layout of ImageNet-Segmentation, against the published arithmetic.

    python benchmarks/segmentation.py --data gtsegs_format.mat

The photographs and masks of a file of that layout are resized to 500 pixels, mirrored and repeated until there are as
many as in gtsegs_ijcv.mat. ResNet-18 with random weights, on all cores; ours is the whole of `segmentation_test`, in a
process of its own. The published arithmetic is re-created from its description: one image at a time, two average
precisions of scikit-learn and F1 row by row. It takes the same time for every image, so a sample of them is timed, half
before ours and half after it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.transforms.functional import normalize, to_tensor

import xkd_eval

_SIDE = 224
_LONGER = 500
_MEAN = _STD = (0.5, 0.5, 0.5)  # as the published scripts feed every network


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a file in the layout of gtsegs_ijcv.mat")
    parser.add_argument("--images", type=int, default=4276)
    parser.add_argument("--published", type=int, default=60, help="images of which the published arithmetic is timed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "many.mat"), Path(folder, "random.pth")
        write_many(given.data, file, given.images)
        torch.manual_seed(0)
        torch.save(resnet18().state_dict(), weights)
        half = given.published // 2
        theirs = _alone(_published, file, weights, range(half))[0]
        (seconds, found), peak = _alone(_ours, file, weights)
        theirs += _alone(_published, file, weights, range(half, given.published))[0]
    one, ours = statistics.median(taken for taken, _ in theirs), seconds / given.images
    expected = np.mean([value for _, value in theirs])
    print("| | seconds an image | peak memory, MiB |\n|---|---:|---:|")
    print(f"| published arithmetic, {len(theirs)} images | {one:.3f} | |")
    print(f"| ours, {given.images:,} images | {ours:.4f} ({one / ours:.1f} x) | {peak:,.0f} |")
    print(f"\nmAP of the images that both scored: {expected:.6f}, ours {np.mean(found[: len(theirs)]):.6f}")


def write_many(source: Path, target: Path, count: int) -> None:
    """The photographs and masks of a file, again and again, every second time mirrored."""
    with h5py.File(source) as read, h5py.File(target, "w", userblock_size=512) as file:
        images = [np.asarray(read[place[0]]).T for place in read["value/img"]]
        masks = [np.asarray(read[read[place[0]][0, 0]]).T for place in read["value/gt"]]
        refs = file.create_group("#refs#")
        columns = {}
        for name in ("img", "gt"):
            columns[name] = file.create_dataset(f"value/{name}", (count, 1), dtype=h5py.ref_dtype)
        kinds = (("img", images, Image.Resampling.BILINEAR), ("gt", masks, Image.Resampling.NEAREST))
        for number in range(count):
            step = -1 if number // len(images) % 2 else 1
            for name, values, how in kinds:
                picture = Image.fromarray(values[number % len(values)][:, ::step])
                scale = _LONGER / max(picture.size)
                resized = np.asarray(picture.resize([round(scale * side) for side in picture.size], how))
                columns[name][number, 0] = refs.create_dataset(f"{name}{number}", data=resized.T).ref
            cell = refs.create_dataset(f"cell{number}", (1, 1), dtype=h5py.ref_dtype)
            cell[0, 0] = columns["gt"][number, 0]
            columns["gt"][number, 0] = cell.ref


def published(file: Path, weights: Path, positions: range) -> Iterator[tuple[float, float]]:
    """Seconds of each image, and its average precision."""
    network = resnet18()
    network.load_state_dict(torch.load(weights))
    network.eval()
    features = torch.nn.Sequential(*list(network.children())[:-2])
    with h5py.File(file) as read, torch.no_grad():
        for position in positions:
            start = time.perf_counter()
            image = Image.fromarray(np.asarray(read[read["value/img"][position, 0]]).T)
            mask = Image.fromarray(np.asarray(read[read[read["value/gt"][position, 0]][0, 0]]).T)
            pixels = normalize(to_tensor(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)), _MEAN, _STD)[None]
            found = features(pixels)
            predicted = network(pixels).argmax(1)
            relevance = torch.einsum("bchw,bc->bhw", found, network.fc.weight[predicted])[None]
            relevance = F.interpolate(relevance, (_SIDE, _SIDE), mode="bilinear")[0, 0]
            relevance = ((relevance - relevance.min()) / (relevance.max() - relevance.min())).numpy()
            objects = np.asarray(mask.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)) == 1
            both = np.stack([1 - relevance, relevance]).ravel()
            precision = average_precision_score(np.stack([~objects, objects]).ravel(), both)
            average_precision_score(objects.ravel(), relevance.ravel())
            rows = zip(objects, relevance > relevance.mean(), strict=True)
            np.mean([f1_score(row, found_row, zero_division=0) for row, found_row in rows])
            yield time.perf_counter() - start, float(precision)


def _published(file: Path, weights: Path, positions: range) -> list[tuple[float, float]]:
    return list(published(file, weights, positions))


def _ours(file: Path, weights: Path) -> tuple[float, np.ndarray]:
    """Seconds of the whole test, and each image's average precision."""
    start = time.perf_counter()
    classifier = xkd_eval.load_classifier("torchvision/resnet18", weights=weights)
    with tempfile.TemporaryDirectory() as output:
        result = xkd_eval.segmentation_test(classifier, file, output=output, figures=False, protocol="chefer")
        return time.perf_counter() - start, result.columns["ap"]


def _alone(work: object, *given: object) -> tuple[object, float]:
    """What a process of its own found, and its peak resident memory in MiB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, *given).result()


def _measured(work: object, *given: object) -> tuple[object, float]:
    found = work(*given)  # type: ignore[operator]
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
