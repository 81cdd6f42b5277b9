"""Does `--until` keep what its intervals promise? Coverage where a test ends, by simulation.

    python benchmarks/stopping.py --draws 1000

Each draw simulates a model whose hits are those of benchmarks/intervals.py, image after image, and looks at the 95 %
intervals of its accuracy and its AUC when `xkd_eval.study.stopping` does. It ends when both are as narrow as asked.
Beside it stand the intervals of as many images as that took on average, fixed beforehand.
"""

from __future__ import annotations

import argparse

import numpy as np
from intervals import ACCURACIES, SCORES
from scipy.stats import norm

from xkd_eval.statistics.bootstrap import scores_with_intervals
from xkd_eval.study.stopping import looks

ASKED = ("accuracy", "AUC")
TRUTHS = {name: float(SCORES[name]({"hits": ACCURACIES[None]})[0]) for name in ASKED}
MOST = 50_000


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    print(f"{draws} draws; the standard error of a rate of 95 % is {100 * np.sqrt(0.05 * 0.95 / draws):.2f} points\n")
    print(
        "| until, points | images, mean (min to max) | accuracy held | AUC held | the same, of so many images fixed |"
    )
    print("|---:|---:|---:|---:|---:|")
    for until in (5.0, 3.0, 2.0, 1.5):
        found = [_ended(np.random.default_rng((round(10 * until), draw)), until) for draw in range(draws)]
        counts = [count for count, _ in found]
        mean = round(float(np.mean(counts)))
        fixed = [_held(_hits(np.random.default_rng((draw, mean)), mean))[1] for draw in range(draws)]
        ended, beside = (_rates(part) for part in ([held for _, held in found], fixed))
        print(
            f"| {until:g} | {mean:,} ({min(counts):,} to {max(counts):,}) | {ended[0]:.1f} % | {ended[1]:.1f} % | "
            f"{beside[0]:.1f} %, {beside[1]:.1f} % |",
            flush=True,
        )


def _rates(draws: list[dict[str, bool]]) -> list[float]:
    return [100 * float(np.mean([held[name] for held in draws])) for name in ASKED]


def _ended(generator: np.random.Generator, until: float) -> tuple[int, dict[str, bool]]:
    """After how many images it ended, and whether the intervals hold the true scores."""
    hits = _hits(generator, looks(MOST)[12])
    for count in looks(MOST):
        if count > len(hits):
            hits = np.concatenate([hits, _hits(generator, count - len(hits))])
        reach, held = _held(hits[:count])
        if 100 * reach <= until:
            return count, held
    return count, held


def _hits(generator: np.random.Generator, n_images: int) -> np.ndarray:
    """(n, 10) of images, with ever more of their pixels removed."""
    difficulty = generator.normal(size=(n_images, 1))
    return (difficulty < norm.ppf(ACCURACIES)).astype(np.float64)


def _held(hits: np.ndarray) -> tuple[float, dict[str, bool]]:
    """How far the intervals reach at most, and whether they hold the true scores."""
    found = scores_with_intervals({"hits": hits}, {name: SCORES[name] for name in ASKED})
    reach = max(abs(bound - score["value"]) for score in found.values() for bound in score["ci95"])
    return reach, {name: score["ci95"][0] <= TRUTHS[name] <= score["ci95"][1] for name, score in found.items()}


if __name__ == "__main__":
    main()
