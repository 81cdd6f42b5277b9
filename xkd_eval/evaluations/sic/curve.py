"""From answers and bytes to a performance information curve, and the area under it."""

from __future__ import annotations

import numpy as np

ABSCISSAE = np.linspace(0, 1, 1001)
"""Shares of the information between the first image and the clean one, at which curves are read."""


def information_curve(answers: np.ndarray, sizes: np.ndarray, least: float, monotone: bool) -> np.ndarray:
    """The curve of one image, read at ABSCISSAE.

    Args:
        answers: (n,) what is read of the answers, from the first image to the clean one.
        sizes: (n,) their information in bytes.
        least: value for the clean image below which there is no curve.
        monotone: whether the curve keeps its highest value.

    Returns:
        (1001,), NaN where there is no curve: the clean image is below `least`, or not above the first one in both.
    """
    answers, sizes = answers.astype(np.float64), sizes.astype(np.float64)
    if answers[-1] < least or answers[0] >= answers[-1] or sizes[0] >= sizes[-1]:
        return np.full(len(ABSCISSAE), np.nan)
    x, y = (((values - values[0]) / (values[-1] - values[0])).clip(0, 1)[1:-1] for values in (sizes, answers))
    if monotone:
        y = np.maximum.accumulate(y)
    # The ends are fixed: (0, 0) counts last of what lies at 0, and (1, 1) is read at 1.
    x, y = np.append(x, (0.0, 1.0)), np.append(y, (0.0, 1.0))
    order = np.argsort(x, kind="stable")
    curve = np.interp(ABSCISSAE, x[order], y[order])
    curve[-1] = 1.0
    return curve


def curve_area(curves: np.ndarray) -> np.ndarray:
    """(..., 1001) -> (...), the area under curves."""
    return np.trapezoid(curves, ABSCISSAE, axis=-1)
