"""Peak memory of the perturbation test over 200 and over 2,000 images, each in a process of its own.

    python benchmarks/memory.py
    python benchmarks/memory.py --workers 4    # instead, what each process that decodes takes

ShuffleNetV2 x0.5 at 224x224 with random weights, the default batch size, one worker that decodes. The network is light:
what could grow with the images is not in it, and a heavy one would hide it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
from images import write_imagenet_tree

import xkd_eval
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.loader import stream


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=(200, 2000))
    parser.add_argument("--workers", type=int, help="how many decode; their own memory is printed instead")
    given = parser.parse_args()
    if given.workers is None:
        _print_peaks(*given.images)
    else:
        _print_workers(given.workers)


def _print_peaks(fewer: int, more: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_imagenet_tree(Path(folder), more)
        few, many = (_in_own_process(folder, n_images) for n_images in (fewer, more))
    print("| images | peak memory, MiB |\n|---:|---:|")
    print(f"| {fewer} | {few:.0f} |\n| {more} | {many:.0f} ({100 * (many / few - 1):+.1f} %) |")


def _print_workers(workers: int) -> None:
    """What each has for itself, which it does not share with the process that started it, as most of torch."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = xkd_eval.open_dataset(write_imagenet_tree(Path(folder), 64 * workers))
        items = stream(dataset, range(len(dataset)), Preprocess(size=(224, 224)), workers=workers)
        for _ in range(48 * workers):  # the last ones are waited for by workers that are still there
            next(items)
        own = [worker.memory_full_info().uss / 2**20 for worker in psutil.Process().children()]
    print("| worker | memory of its own, MiB |\n|---:|---:|")
    for number, found in enumerate(own, start=1):
        print(f"| {number} | {found:.0f} |")


def _in_own_process(folder: str, n_images: int) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, folder, n_images).result()


def _peak(folder: str, n_images: int) -> float:
    """Peak resident memory in MiB of a whole run."""
    from torchvision.models import shufflenet_v2_x0_5

    classifier = xkd_eval.load_classifier(shufflenet_v2_x0_5(), size=(224, 224))
    with tempfile.TemporaryDirectory() as output:
        xkd_eval.perturbation_test(classifier, folder, limit=n_images, output=output, workers=1)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
