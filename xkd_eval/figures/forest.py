"""Differences with their intervals, score by score: a panel a score, a row a model, zero as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xkd_eval.figures.rows import RowPanels, shared_names
from xkd_eval.figures.style import HAIRLINE, INK, MUTED, PALETTE, SMALL, house_style

_ROW = 0.22  # inches
_COLOURS = {1: PALETTE[0], -1: PALETTE[1], 0: MUTED}
_MARKS = {1: "^", -1: "v", 0: "o"}  # as tables have them


@dataclass(frozen=True)
class Difference:
    """One row of a panel: a model less the reference.

    Attributes:
        name: of the model.
        value, low, high: the difference with its 95 % interval, in the units that the panel shows; NaN where undefined.
        claim: 1 where it is claimed that the model is better, -1 worse, 0 where neither is.
    """

    name: str
    value: float
    low: float
    high: float
    claim: int


@house_style()
def forest_panels(panels: Mapping[str, Sequence[Difference]], note: str) -> Figure:
    """A panel a score, four side by side: coloured arrows where a difference is claimed, open circles where not.

    Args:
        panels: title -> rows, the same models in the same order in each.
        note: a line under the panels.

    Raises:
        XkdError: nothing to draw, or panels of different rows.
    """
    page = RowPanels.of(list(panels), shared_names(panels), note, _ROW)
    for index, rows in enumerate(panels.values()):
        _draw(page.panel(index), rows)
    return page.panels.canvas.figure


def _draw(axes: Axes, rows: Sequence[Difference]) -> None:
    axes.axvline(0, color=HAIRLINE, linewidth=0.8)
    for place, row in enumerate(rows):
        colour = _COLOURS[row.claim]
        if np.isfinite([row.low, row.high]).all():
            axes.plot([row.low, row.high], [place, place], color=colour)
        if np.isfinite(row.value):
            face = colour if row.claim else "white"
            axes.plot(row.value, place, _MARKS[row.claim], color=colour, markerfacecolor=face)
        else:
            axes.text(0.5, place, "undefined", transform=axes.get_yaxis_transform(), size=SMALL, color=INK, ha="center")
    reach = max(
        (abs(value) for row in rows for value in (row.value, row.low, row.high) if np.isfinite(value)), default=1
    )
    reach = 1.15 * reach or 1.0
    # Labels at a panel's edge would run into its neighbour's.
    ticks = [tick for tick in MaxNLocator(4).tick_values(-reach, reach) if abs(tick) <= 0.8 * reach]
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(-reach, reach), xticks=ticks, yticks=[])
    axes.spines["left"].set_visible(False)
