"""A confusion matrix as a figure: rows true, columns predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xkd_eval.figures.shown import ShownFigure
from xkd_eval.figures.style import BODY, HAIRLINE, INK, SMALL, house_style
from xkd_eval.figures.text import fit_text

# In inches.
_CELL, _SMALLEST_CELL = 0.3, 0.085
_LARGEST_SIDE = 12.0
_NAME = 1.1
_POINTS_PER_INCH = 72
# More numbers than these nobody reads.
_MOST_NUMBERED = 20


@house_style()
def confusion_figure(matrix: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Draw which share of each class's images is taken for which class; rare ones show too.

    Each class is named at both axes while its name can be read; of several hundred classes every second, third, ... is.

    Args:
        matrix: (K, K), rows true and columns predicted.
        names: K class names.
        title: above it.

    Returns:
        The figure; counts stand in the cells of up to 20 classes.
    """
    count = len(matrix)
    cell = float(np.clip(_LARGEST_SIDE / count, _SMALLEST_CELL, _CELL))
    side = min(max(cell * count, 2.0), 2 * _LARGEST_SIDE)
    figure = ShownFigure(figsize=(side + 2.4, side + 1.9), layout="constrained")
    axes = figure.subplots()
    support = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    drawn = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    size = min(SMALL, side / count * _POINTS_PER_INCH * 0.75)
    step = max(1, int(np.ceil(3.5 / size))) if size < 3.5 else 1
    size = max(size, 3.5)
    shown = list(range(0, count, step))
    texts = [(fit_text(names[place], _NAME, 1, size) or [""])[0] for place in shown]
    axes.set_xticks(shown, texts, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(shown, texts, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title((fit_text(title, side + 1.5, 1, BODY) or [""])[0], loc="left", parse_math=False)
    axes.spines[:].set(visible=True, color=HAIRLINE)
    if count <= _MOST_NUMBERED:
        for (true, predicted), value in np.ndenumerate(matrix):
            if value:
                colour = "white" if shares[true, predicted] > 0.3 else INK
                axes.text(predicted, true, f"{value}", ha="center", va="center", fontsize=5.5, color=colour)
    bar = figure.colorbar(
        drawn, ax=axes, shrink=min(1.0, 2.5 / side), pad=0.01, format=PercentFormatter(1.0, decimals=0)
    )
    bar.set_label("share of the class's images")
    bar.outline.set_visible(False)
    return figure
