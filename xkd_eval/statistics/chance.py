"""Whether hits are more than guessing explains: an exact test without scipy, whose import takes two seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

LARGEST_P = 0.001
"""Of hits that are surely more than guessing explains."""


def is_guessing(hits: int, labels: Sequence[int], num_classes: int) -> bool:
    """Whether guessing explains so many hits; not where the images are too few, or too alike, to tell it of any number.

    Args:
        hits: of the images.
        labels: of all images, at least one.
        num_classes: K, at least 2.
    """
    n, chance = len(labels), best_guess(labels, num_classes)
    return guessing_p(n, n, chance) < LARGEST_P <= guessing_p(hits, n, chance)


def guessing_p(hits: int, n: int, chance: float) -> float:
    """Exact one-sided binomial p: the probability of so many hits, or more, of whoever guesses.

    Args:
        hits: of the n trials.
        n: trials, each independent of the others.
        chance: probability of a hit, above 0 and below 1.
    """
    trials, log_hit, log_miss = math.lgamma(n + 1), math.log(chance), math.log1p(-chance)
    logarithms = (
        trials - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_hit + (n - k) * log_miss
        for k in range(hits, n + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logarithms)))


def best_guess(labels: Sequence[int], num_classes: int) -> float:
    """How often the best constant answer is right, and at least 1 / K; 1 / K where all images are of one class.

    Args:
        labels: of at least one image.
        num_classes: K, at least 2.
    """
    commonest = max(Counter(labels).values()) / len(labels)
    return 1 / num_classes if commonest == 1 else max(commonest, 1 / num_classes)
