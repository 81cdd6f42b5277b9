"""How a measure is spread over the images, model by model: boxes in rows, a panel a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xkd_eval.errors import XkdError
from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.style import BODY, INK, MUTED, PALETTE, SMALL, house_style
from xkd_eval.figures.text import fit_text, line_height, text_width

# In inches.
_ROW = 0.30
_PANEL = 1.75
_PANEL_GAP = 0.24
_TOP = 0.36
_BOTTOM = 0.62
_MARGIN = 0.18
_WIDEST_LABEL = 1.9

_WHISKERS = (5, 95)


@dataclass(frozen=True)
class Distribution:
    """One box of a panel: a model's values over the images.

    Attributes:
        name: of the model.
        values: (n,) one an image; those that are undefined (NaN) are left out.
        colour: place in the palette, as in other figures of the same models; None draws a floor, in grey.
    """

    name: str
    values: np.ndarray
    colour: int | None = None


@house_style()
def distribution_panels(panels: Mapping[str, Sequence[Distribution]]) -> Figure:
    """A box a model: median, quartiles, and whiskers from the 5th to the 95th percentile.

    Args:
        panels: title -> rows, the same models in the same order in each.

    Raises:
        XkdError: nothing to draw, or panels of different rows.
    """
    _check(panels)
    first = next(iter(panels.values()))
    labels = [fit_text(row.name, _WIDEST_LABEL, 1, SMALL)[0] for row in first]
    left = _MARGIN + max(text_width(label, SMALL) for label in labels) + 0.12
    width = left + len(panels) * _PANEL + (len(panels) - 1) * _PANEL_GAP + _MARGIN
    height = len(first) * _ROW
    canvas = Canvas(width, _TOP + height + _BOTTOM)
    for place, label in enumerate(labels):
        bottom = _TOP + (place + 0.5) * _ROW + line_height(SMALL) / 2
        canvas.text([label], left - 0.08, bottom, size=SMALL, align="right")
    for index, (title, rows) in enumerate(panels.items()):
        start = left + index * (_PANEL + _PANEL_GAP)
        canvas.text(fit_text(title, _PANEL, 1, BODY), start + _PANEL / 2, _TOP - 0.06)
        _draw(canvas.axes(start, _TOP, _PANEL, height), rows)
    note = "Line: median; box: quartiles; whiskers: 5th to 95th percentile of the images"
    bottom = _TOP + height + _BOTTOM - 0.06
    canvas.text(fit_text(note, width - 2 * _MARGIN, 1, SMALL), width / 2, bottom, size=SMALL, colour=MUTED)
    return canvas.figure


def _draw(axes: Axes, rows: Sequence[Distribution]) -> None:
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    defined = [row.values[np.isfinite(row.values)] for row in rows]
    boxes = axes.boxplot(
        defined,
        orientation="horizontal",
        whis=_WHISKERS,
        widths=0.55,
        showfliers=False,
        patch_artist=True,
        medianprops={"color": INK, "linewidth": 1.4},
    )
    colours = [MUTED if row.colour is None else PALETTE[row.colour % len(PALETTE)] for row in rows]
    for place, colour in enumerate(colours):
        boxes["boxes"][place].set(facecolor=colour, alpha=0.45, edgecolor=colour)
        for line in (*boxes["whiskers"][2 * place : 2 * place + 2], *boxes["caps"][2 * place : 2 * place + 2]):
            line.set(color=colour)
    axes.set(ylim=(len(rows) + 0.5, 0.5), yticks=[])
    for place, values in enumerate(defined, start=1):
        if not len(values):
            where = axes.get_yaxis_transform()
            axes.text(0.5, place, "undefined", transform=where, size=SMALL, color=MUTED, ha="center", va="center")
    axes.spines["left"].set_visible(False)


def _check(panels: Mapping[str, Sequence[Distribution]]) -> None:
    labels = {tuple(row.name for row in rows) for rows in panels.values()}
    if not panels or labels == {()}:
        raise XkdError("panels: nothing to draw; expected at least one model")
    if len(labels) > 1:
        raise XkdError("panels: their rows differ; expected the same models in the same order")
