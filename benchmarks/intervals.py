"""Do the intervals and tests keep what they promise? Coverage and false positives by simulation.

    python benchmarks/intervals.py --draws 1000

Each draw simulates two models on n images. A model is right about an image, with a share of its pixels removed, where
the image's difficulty, which both models share in part, stays under a threshold that falls with the share; one model's
threshold is higher by a known shift. With a difference, about 95 % of the intervals should hold it; with none, a test
at 5 % should reject in at most 5 % + two standard errors of the draws. A last table adds training seeds, whose
thresholds scatter.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from xkd_eval.evaluations.perturbation.options import DEFAULT_FRACTIONS
from xkd_eval.evaluations.perturbation.protocol import area_under_curve
from xkd_eval.statistics.bootstrap import Means, Score
from xkd_eval.statistics.paired import Resamples, hierarchical_interval
from xkd_eval.statistics.significance import mcnemar_p, signed_rank_p

ACCURACIES = np.linspace(0.85, 0.1, 1 + len(DEFAULT_FRACTIONS))
SHARED = 0.6  # of the variance between images
SPREAD = 0.15  # standard deviation of a training seed's threshold

SCORES: dict[str, Score] = {
    "accuracy": lambda means: means["hits"][:, 0],
    "AUC": lambda means: area_under_curve(means["hits"], DEFAULT_FRACTIONS),
    "AUC / accuracy": lambda means: area_under_curve(means["hits"], DEFAULT_FRACTIONS) / means["hits"][:, 0],
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    error = 100 * np.sqrt(0.05 * 0.95 / given.draws)
    print(f"{given.draws} draws; the standard error of a rate of 5 % is {error:.2f} points\n")
    print("| images | true shift | score | true difference | intervals that hold it | test rejects |")
    print("|---:|---:|---|---:|---:|---:|")
    for n_images in (100, 500):
        for shift in (0.0, 0.25):
            _simulate(n_images, shift, given.draws)
    print("\n| images | seeds | spread of the seeds | true shift | intervals that hold the AUC's true difference |")
    print("|---:|---:|---:|---:|---:|")
    for n_seeds in (3, 5, 10):
        for shift in (0.0, 0.25):
            _simulate_seeds(200, n_seeds, shift, given.draws)


def _simulate(n_images: int, shift: float, draws: int) -> None:
    generator = np.random.default_rng(n_images)
    truths = {name: float(score(_expected(shift))[0] - score(_expected(0.0))[0]) for name, score in SCORES.items()}
    held, rejected = dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0)
    for draw in range(draws):
        difficulty = generator.normal(size=n_images)
        first, second = (_hits(generator, difficulty, size) for size in (0.0, shift))
        resamples, others = (Resamples.of({"hits": hits}, seed=draw) for hits in (second, first))
        for name, score in SCORES.items():
            (interval,) = resamples.difference(others, score)
            assert interval.low is not None
            assert interval.high is not None
            held[name] += interval.low <= truths[name] <= interval.high
        rejected["accuracy"] += mcnemar_p(second[:, 0], first[:, 0]) < 0.05
        areas = (area_under_curve(hits.astype(float), DEFAULT_FRACTIONS) for hits in (second, first))
        rejected["AUC"] += signed_rank_p(next(areas), next(areas)) < 0.05
    for name, truth in truths.items():
        test = "" if name == "AUC / accuracy" else f"{100 * rejected[name] / draws:.1f} %"
        print(
            f"| {n_images} | {shift} | {name} | {100 * truth:+.2f} | {100 * held[name] / draws:.1f} % | {test} |",
            flush=True,
        )


def _simulate_seeds(n_images: int, n_seeds: int, shift: float, draws: int) -> None:
    generator = np.random.default_rng(n_seeds)
    score = SCORES["AUC"]
    truth = float(score(_expected(shift, SPREAD))[0] - score(_expected(0.0, SPREAD))[0])
    held = 0
    for draw in range(draws):
        difficulty = generator.normal(size=n_images)
        first, second = (
            [
                Resamples.of({"hits": _hits(generator, difficulty, size + SPREAD * generator.normal())}, seed=draw)
                for _ in range(n_seeds)
            ]
            for size in (0.0, shift)
        )
        interval = hierarchical_interval(second, score, first, seed=draw)
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= truth <= interval.high
    print(f"| {n_images} | {n_seeds} | {SPREAD} | {shift} | {100 * held / draws:.1f} % |", flush=True)


def _hits(generator: np.random.Generator, difficulty: np.ndarray, shift: float) -> np.ndarray:
    """(n, 1 + F) booleans of one model: clean, then with each share of the pixels removed."""
    own = generator.normal(size=len(difficulty))
    latent = np.sqrt(SHARED) * difficulty + np.sqrt(1 - SHARED) * own
    return latent[:, None] < norm.ppf(ACCURACIES) + shift


def _expected(shift: float, spread: float = 0.0) -> Means:
    return {"hits": norm.cdf((norm.ppf(ACCURACIES) + shift) / np.sqrt(1 + spread**2))[None]}


if __name__ == "__main__":
    main()
