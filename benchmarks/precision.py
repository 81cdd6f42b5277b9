"""How far bfloat16 moves the areas of the perturbation test, on real photographs and with trained weights.

    python benchmarks/precision.py --data imagenet/val --limit 1000

EfficientNet-Lite0 with its ImageNet weights, from two packages of the dev group.
"""

from __future__ import annotations

import argparse

import numpy as np
from lite import lite0

from xkd_eval import perturbation_test


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    classifier = lite0()
    fp32, bf16 = (
        perturbation_test(classifier, arguments.data, limit=arguments.limit, precision=precision)
        for precision in ("fp32", "bf16")
    )
    print(f"{fp32.summary['n_images']} images, {classifier.name}\n")
    print("| | float32 | bfloat16 | difference | hits that differ |\n|---|---:|---:|---:|---:|")
    for direction in ("positive", "negative"):
        exact, rounded = (result.summary[direction]["auc"]["value"] for result in (fp32, bf16))
        hits = [np.stack(result.rows[f"{direction}_hit"].to_numpy()) for result in (fp32, bf16)]
        differing = (hits[0] != hits[1]).mean()
        print(f"| {direction} AUC | {exact:.4f} | {rounded:.4f} | {rounded - exact:+.4f} | {differing:.2%} |")


if __name__ == "__main__":
    main()
