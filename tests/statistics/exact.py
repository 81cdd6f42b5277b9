"""The signed-rank test and the areas that it is made of, in whole numbers and fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np


def exact_ranks(differences: list[Fraction]) -> list[int]:
    """Doubled mean ranks of the sizes, signed; zeros dropped."""
    moved = [value for value in differences if value]
    sizes = sorted(map(abs, moved))
    return [
        (sizes.index(abs(value)) + 1 + len(sizes) - sizes[::-1].index(abs(value))) * (1 if value > 0 else -1)
        for value in moved
    ]


def exact_p(differences: list[Fraction]) -> float:
    """Counting signs in whole numbers."""
    ranks = exact_ranks(differences)
    ways = {0: 1}
    for rank in map(abs, ranks):
        grown = dict(ways)
        for total, count in ways.items():
            grown[total + rank] = grown.get(total + rank, 0) + count
        ways = grown
    ours = sum(rank for rank in ranks if rank > 0)
    below, above = (
        sum(count for total, count in ways.items() if chosen(total))
        for chosen in (lambda total: total <= ours, lambda total: total >= ours)
    )
    return float(min(Fraction(1), Fraction(2 * min(below, above), 2 ** len(ranks))))


def exact_effect(differences: list[Fraction]) -> float:
    ranks = exact_ranks(differences)
    return float(Fraction(sum(ranks), sum(map(abs, ranks)))) if ranks else 0.0


def exact_areas(hits: np.ndarray, fractions: tuple[float, ...]) -> list[Fraction]:
    """Trapezoids over decimals."""
    x = [Fraction(0), *(Fraction(str(fraction)) for fraction in fractions)]
    return [
        sum(
            (
                (right - left) * (int(row[i]) + int(row[i + 1])) / 2
                for i, (left, right) in enumerate(itertools.pairwise(x))
            ),
            Fraction(0),
        )
        for row in hits
    ]
