"""Areas under curves: the rules that tools call by one name. (..., n) values at n points -> (...)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _fractions(curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.trapezoid(curve, x=x, axis=-1)


def _equal_steps(curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.trapezoid(curve, axis=-1) / max(curve.shape[-1] - 1, 1)


def _by_count(curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.trapezoid(curve, axis=-1) / curve.shape[-1]


def _unit_steps(curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.trapezoid(curve, axis=-1)


AREAS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "fractions": _fractions,
    "equal_steps": _equal_steps,
    "by_count": _by_count,
    "unit_steps": _unit_steps,
}
"""Name -> trapezoid of a curve. fractions: over the true shares of pixels; equal_steps: as if the points had equal
distances within [0, 1] (RISE, Xplique); by_count: of distance 1 / n, n the points and not the steps between them
(LATEC); unit_steps: of distance 1, so that it grows with the number of steps (Quantus)."""


def area(rule: str, curve: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The area under curves.

    Args:
        rule: of AREAS.
        curve: (..., n).
        x: (n,) shares of pixels, increasing.
    """
    return AREAS[rule](np.asarray(curve, dtype=np.float64), np.asarray(x, dtype=np.float64))
