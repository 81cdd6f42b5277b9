"""Panels that share their rows: a name a row beside the first panel, and a note under all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from xkd_eval.errors import XkdError
from xkd_eval.figures.grid import Columns, Panels
from xkd_eval.figures.paper import current_size
from xkd_eval.figures.style import GRID, MUTED, SMALL
from xkd_eval.figures.text import fit_text, line_height, text_width

# In inches.
_PANEL = 1.75
_NARROWEST = 0.9
_GAP = 0.24
_MARGIN = 0.12
_LABEL_GAP = 0.08
_WIDEST_LABEL = 1.9
_FEW_TICKS = 1.3
_TICKS = 0.28

_IN_A_ROW = 4
_WIDEST_SHARE = 0.3  # of a paper's width, for names
_NOTE_LINES = 5


@dataclass(frozen=True)
class RowPanels:
    """Panels with a name a row.

    Attributes:
        panels: titles and axes.
        names: of the rows, as they fit.
    """

    panels: Panels
    names: Sequence[str]

    @classmethod
    def of(cls, titles: Sequence[str], names: Sequence[str], note: str, row: float) -> RowPanels:
        """A page, with the note on it.

        Args:
            titles: of the panels.
            names: of the rows.
            note: under all panels.
            row: inches that a row takes, where no height is asked for.

        Raises:
            XkdError: the paper is too small.
        """
        size = current_size()
        widest = _WIDEST_LABEL if size is None else _WIDEST_SHARE * size.width
        fitted = [fit_text(name, widest, 1, SMALL)[0] for name in names]
        left = _MARGIN + max(text_width(name, SMALL) for name in fitted) + _LABEL_GAP
        columns = Columns.of(
            len(titles), left=left, right=_MARGIN, gap=_GAP, panel=_PANEL, narrowest=_NARROWEST, most=_IN_A_ROW
        )
        lines = fit_text(note, columns.width - 2 * _MARGIN, 1 if size is None else _NOTE_LINES, SMALL)
        footer = _MARGIN + len(lines) * line_height(SMALL)
        panels = Panels.of(titles, columns, height=len(names) * row, below=_TICKS, footer=footer)
        page = panels.canvas
        page.text(lines, page.width / 2, page.height - _MARGIN / 2, size=SMALL, colour=MUTED)
        return cls(panels, fitted)

    def panel(self, index: int) -> Axes:
        """The axes of a panel, with the rows' names beside it where it begins a line of panels."""
        panels = self.panels
        if index % panels.columns.side_by_side == 0:
            row = panels.height / len(self.names)
            for place, name in enumerate(self.names):
                bottom = panels.top(index) + (place + 0.5) * row + line_height(SMALL) / 2
                panels.canvas.text([name], panels.columns.left - _LABEL_GAP, bottom, size=SMALL, align="right")
        axes = panels.panel(index)
        if panels.columns.panel < _FEW_TICKS:
            axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.grid(axis="x", color=GRID)
        return axes


class Named(Protocol):
    """What a row shows."""

    @property
    def name(self) -> str:
        """Beside the first panel."""
        ...


def shared_names(panels: Mapping[str, Sequence[Named]]) -> list[str]:
    """The names of the rows, which all panels have.

    Raises:
        XkdError: nothing to draw, or panels of different rows.
    """
    names = {tuple(row.name for row in rows) for rows in panels.values()}
    if not panels or names == {()}:
        raise XkdError("panels: nothing to draw; expected at least one model")
    if len(names) > 1:
        raise XkdError("panels: their rows differ; expected the same models in the same order")
    return list(names.pop())
