"""`compare` of three ResNet-18 with floors on one set of photographs, by this checkout and by a former one.

python benchmarks/study.py --data imagenet_like/val --former ../xkd-former
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]


def measure(data: str, limit: int | None) -> dict[str, float]:
    """Seconds of one comparison with its report, and how many of them were spent in the networks."""
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
    sample: dict[str, Any] = {} if limit is None else {_limit_option(xkd_eval.compare): limit}
    Timed.seconds, Timed.images = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        xkd_eval.compare(classifiers, data, output=Path(folder) / "report", **sample)
        total = time.perf_counter() - start
    return {"seconds": total, "in_networks": Timed.seconds, "forwards": Timed.images}


def _limit_option(compare: Any) -> str:
    """What the sample's size is called: the former commit's compare said `images`."""
    return "images" if "images" in compare.__kwdefaults__ else "limit"


def _in_checkout(checkout: Path, data: str, limit: int | None) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", "--data", data]
    command += [] if limit is None else ["--limit", str(limit)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    printed = subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="photographs with ImageNet labels")
    parser.add_argument("--former", type=Path, help="a checkout of the former commit")
    parser.add_argument("--limit", type=int, help="only so many photographs")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.data, given.limit)))
        return
    data = str(Path(given.data).resolve())
    checkouts = {"former": given.former.resolve(), "this": HERE} if given.former else {"this": HERE}
    found = {name: _in_checkout(checkout, data, given.limit) for name, checkout in checkouts.items()}
    print("| commit | seconds | times as fast | forwards of an image | share of the time in networks |")
    print("|---|---:|---:|---:|---:|")
    first = next(iter(found.values()))["seconds"]
    for name, row in found.items():
        share = row["in_networks"] / row["seconds"]
        print(f"| {name} | {row['seconds']:.0f} | {first / row['seconds']:.2f} | {row['forwards']:.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
