"""Differences with their intervals, score by score: a panel a score, a row a model, zero as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xkd_eval.errors import XkdError
from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.style import BODY, HAIRLINE, INK, MUTED, PALETTE, SMALL, house_style
from xkd_eval.figures.text import fit_text, line_height, text_width

# In inches.
_ROW = 0.22
_PANEL = 1.75
_GAP = 0.24
_TOP = 0.34
_AXIS = 0.36
_MARGIN = 0.18
_WIDEST_LABEL = 1.9

_IN_A_ROW = 4

_COLOURS = {1: PALETTE[0], -1: PALETTE[1], 0: MUTED}


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
    """A panel a score, four side by side: coloured and filled where a difference is claimed, grey and open where not.

    Args:
        panels: title -> rows, the same models in the same order in each.
        note: a line under the panels.

    Raises:
        XkdError: nothing to draw, or panels of different rows.
    """
    names = {tuple(row.name for row in rows) for rows in panels.values()}
    if not panels or names == {()}:
        raise XkdError("panels: nothing to draw; expected at least one difference")
    if len(names) > 1:
        raise XkdError("panels: their rows differ; expected the same models in the same order")
    labels = [fit_text(name, _WIDEST_LABEL, 1, SMALL)[0] for name in names.pop()]
    left = _MARGIN + max(text_width(label, SMALL) for label in labels) + 0.12
    columns, bands = min(len(panels), _IN_A_ROW), -(-len(panels) // _IN_A_ROW)
    height = len(labels) * _ROW
    band = _TOP + height + _AXIS
    width = left + columns * _PANEL + (columns - 1) * _GAP + _MARGIN
    canvas = Canvas(width, bands * band + 0.28)
    for place, (title, rows) in enumerate(panels.items()):
        top = (place // _IN_A_ROW) * band + _TOP
        start = left + (place % _IN_A_ROW) * (_PANEL + _GAP)
        if place % _IN_A_ROW == 0:
            for row, label in enumerate(labels):
                bottom = top + (row + 0.5) * _ROW + line_height(SMALL) / 2
                canvas.text([label], left - 0.08, bottom, size=SMALL, align="right")
        canvas.text(fit_text(title, _PANEL, 1, BODY), start + _PANEL / 2, top - 0.06)
        _draw(canvas.axes(start, top, _PANEL, height), rows)
    shown = fit_text(note, width - 2 * _MARGIN, 1, SMALL)
    canvas.text(shown, width / 2, bands * band + 0.2, size=SMALL, colour=MUTED)
    return canvas.figure


def _draw(axes: Axes, rows: Sequence[Difference]) -> None:
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(0, color=HAIRLINE, linewidth=0.8)
    for place, row in enumerate(rows):
        colour = _COLOURS[row.claim]
        if np.isfinite([row.low, row.high]).all():
            axes.plot([row.low, row.high], [place, place], color=colour)
        if np.isfinite(row.value):
            axes.plot(row.value, place, "o", color=colour, markerfacecolor=colour if row.claim else "white")
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
