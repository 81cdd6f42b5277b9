"""How a measure is spread over the images, model by model: boxes in rows, a panel a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xkd_eval.figures.rows import RowPanels, shared_names
from xkd_eval.figures.style import INK, MUTED, PALETTE, SMALL, house_style

_ROW = 0.30  # inches
_NOTE = "Line: median; box: quartiles; whiskers: 5th to 95th percentile of the images"
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
    page = RowPanels.of(list(panels), shared_names(panels), _NOTE, _ROW)
    for index, rows in enumerate(panels.values()):
        _draw(page.panel(index), rows)
    return page.panels.canvas.figure


def _draw(axes: Axes, rows: Sequence[Distribution]) -> None:
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
