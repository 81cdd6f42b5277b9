"""A figure that a notebook shows where it is a cell's value, whether or not pyplot was ever imported."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xkd_eval.figures.style import house_style

# As wide as a notebook's column at the figures' usual 7.5 inches.
_DPI = 120


class ShownFigure(Figure):
    """A matplotlib figure that pyplot does not know of, so that nobody has to close it.

    Jupyter draws plain figures only after pyplot was imported, and prints `<Figure size ...>` before.

    Args:
        options: of `matplotlib.figure.Figure`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        FigureCanvasAgg(self)

    @house_style()
    def _repr_png_(self) -> bytes:
        drawn = BytesIO()
        self.savefig(drawn, format="png", dpi=_DPI)
        return drawn.getvalue()
