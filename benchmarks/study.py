"""What a study saves, by this checkout and by a former one.

`compare` of three ResNet-18 with floors on photographs, and the segmentation test of all three under five kinds of
maps.

python benchmarks/study.py --data imagenet_like/val --masks gtsegs_ijcv.mat --former ../xkd-former
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
MAPS = ["cam", "gradcam", "hirescam", "random", "centre"]


def measure(data: str | None, masks: str | None, limit: int | None) -> dict[str, float]:
    """Seconds of a comparison with its report, or of the segmentation tests, and how many went into the networks."""
    import torch
    from torchvision.models.resnet import BasicBlock, ResNet

    import xkd_eval

    class Timed(ResNet):
        seconds = 0.0
        images = 0

        def _forward_impl(self, x: torch.Tensor) -> torch.Tensor:
            start = time.perf_counter()
            logits = super()._forward_impl(x)
            Timed.seconds += time.perf_counter() - start
            Timed.images += len(x)
            return logits

    classifiers = {}
    for seed, name in enumerate(("teacher", "kd", "exp_kd")):
        torch.manual_seed(seed)
        classifiers[name] = xkd_eval.load_classifier(Timed(BasicBlock, [2, 2, 2, 2]).eval())
    run = _comparison if masks is None else _segmentation
    Timed.seconds, Timed.images = 0.0, 0
    start = time.perf_counter()
    run(xkd_eval, classifiers, data if masks is None else masks, limit)
    total = time.perf_counter() - start
    return {"seconds": total, "in_networks": Timed.seconds, "forwards": Timed.images}


def _comparison(xkd_eval: Any, classifiers: dict[str, Any], data: Any, limit: int | None) -> None:
    # What the sample's size is called: the former commit's compare said `images`.
    name = "images" if "images" in xkd_eval.compare.__kwdefaults__ else "limit"
    sample = {} if limit is None else {name: limit}
    with tempfile.TemporaryDirectory() as folder:
        xkd_eval.compare(classifiers, data, output=Path(folder) / "report", **sample)


def _segmentation(xkd_eval: Any, classifiers: dict[str, Any], masks: Any, limit: int | None) -> None:
    evaluate: Callable[..., Any] | None = getattr(xkd_eval, "evaluate", None)
    if callable(evaluate):
        evaluate(classifiers, masks, explainers=MAPS, tests="segmentation", limit=limit)
        return
    for classifier in classifiers.values():
        for explainer in MAPS:
            xkd_eval.segmentation_test(classifier, masks, explainer=explainer, limit=limit)


def _in_checkout(checkout: Path, *given: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", *given]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    printed = subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def main() -> None:
    """Print a table for each of the data given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="photographs with ImageNet labels, for the comparison")
    parser.add_argument("--masks", help="photographs with masks, for the segmentation tests")
    parser.add_argument("--former", type=Path, help="a checkout of the former commit")
    parser.add_argument("--limit", type=int, help="only so many photographs")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.data, given.masks, given.limit)))
        return
    checkouts = {"former": given.former.resolve(), "this": HERE} if given.former else {"this": HERE}
    sample = [] if given.limit is None else ["--limit", str(given.limit)]
    for option in ("data", "masks"):
        if getattr(given, option) is None:
            continue
        place = str(Path(getattr(given, option)).resolve())
        found = {name: _in_checkout(checkout, f"--{option}", place, *sample) for name, checkout in checkouts.items()}
        print("| commit | seconds | times as fast | forwards of an image | share of the time in networks |")
        print("|---|---:|---:|---:|---:|")
        first = next(iter(found.values()))["seconds"]
        for name, row in found.items():
            share, faster = row["in_networks"] / row["seconds"], first / row["seconds"]
            print(f"| {name} | {row['seconds']:.0f} | {faster:.2f} | {row['forwards']:.0f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
