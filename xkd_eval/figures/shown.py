"""A figure that a notebook shows where it is a cell's value, and that is written as the house writes figures."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xkd_eval.figures.style import METADATA, house_style

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

    def savefig(self, fname: Any, **options: Any) -> None:
        """See `matplotlib.figure.Figure`; fonts are embedded and the date is left out, as `save_figure` does."""
        suffix = f".{options['format']}" if "format" in options else Path(str(fname)).suffix
        with house_style():
            super().savefig(fname, **{"metadata": METADATA.get(suffix.lower()), "dpi": self.get_dpi(), **options})

    def _repr_png_(self) -> bytes:
        drawn = BytesIO()
        self.savefig(drawn, format="png", dpi=_DPI)
        return drawn.getvalue()
