"""Panels of one size in rows: as many side by side as a screen or a column of a paper has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.paper import current_size, too_small
from xkd_eval.figures.style import BODY
from xkd_eval.figures.text import fit_text, line_height

_LOWEST = 0.4
_OVER_TITLE = 0.12
_UNDER_TITLE = 0.06


@dataclass(frozen=True)
class Columns:
    """Where panels stand from left to right, in inches.

    Attributes:
        count: of all panels.
        side_by_side: at most.
        left: of the first.
        gap: between two.
        panel: width of one.
        width: of the page.
    """

    count: int
    side_by_side: int
    left: float
    gap: float
    panel: float
    width: float

    @classmethod
    def of(
        cls, count: int, *, left: float, right: float, gap: float, panel: float, narrowest: float, most: int
    ) -> Columns:
        """As many as there is room for.

        Args:
            count: of the panels, at least 1.
            left, right, gap: inches beside and between panels.
            panel: inches that one is wide on a screen.
            narrowest: inches that one needs in a paper.
            most: side by side.

        Raises:
            XkdError: not even one fits the paper.
        """
        size, several = current_size(), min(count, most)
        if size is None:
            return cls(count, several, left, gap, panel, left + several * panel + (several - 1) * gap + right)
        room = size.width - left - right
        several = min(several, int((room + gap) / (narrowest + gap)))
        if several < 1:
            raise too_small("wide", left + narrowest + right, "a panel with its labels")
        several = -(-count // -(-count // several))  # rows of equal length, where that is possible
        return cls(count, several, left, gap, (room - (several - 1) * gap) / several, size.width)

    @property
    def rows(self) -> int:
        """One above the other."""
        return -(-self.count // self.side_by_side)


@dataclass(frozen=True)
class Panels:
    """Panels, each with its title above and room underneath.

    Attributes:
        canvas: the page.
        columns: where they stand.
        titles: of each, in lines.
        height: of one, in inches.
        below: inches under each.
    """

    canvas: Canvas
    columns: Columns
    titles: Sequence[Sequence[str]]
    height: float
    below: float

    @classmethod
    def of(cls, titles: Sequence[str], columns: Columns, *, height: float, below: float, footer: float) -> Panels:
        """A page for them, as high as they need, or as it is asked for.

        Args:
            titles: one a panel; one line on a screen, two in a paper.
            columns: where they stand.
            height: inches of a panel, where no height is asked for.
            below: inches under each panel.
            footer: inches under all.

        Raises:
            XkdError: the height that is asked for leaves no room.
        """
        size = current_size()
        width = columns.panel + columns.gap / 2
        fitted = [fit_text(title, width, 1 if size is None else 2, BODY) for title in titles]
        above = [_title_height(row) for row in _in_rows(fitted, columns.side_by_side)]
        around = sum(above) + columns.rows * below + footer
        if size is not None and size.height is not None:
            height = (size.height - around) / columns.rows
            if height < _LOWEST:
                needed = around + _LOWEST * columns.rows
                raise too_small("high", needed, "the panels with their labels and keys")
        return cls(Canvas(columns.width, around + columns.rows * height), columns, fitted, height, below)

    def left(self, index: int) -> float:
        """Inches from the page's left side to a panel."""
        return self.columns.left + index % self.columns.side_by_side * (self.columns.panel + self.columns.gap)

    def top(self, index: int) -> float:
        """Inches from the page's top to a panel."""
        row = index // self.columns.side_by_side
        above = [_title_height(titles) for titles in _in_rows(self.titles, self.columns.side_by_side)]
        return sum(above[: row + 1]) + row * (self.height + self.below)

    def panel(self, index: int) -> Axes:
        """The axes of a panel under its title."""
        left, top = self.left(index), self.top(index)
        self.canvas.text(self.titles[index], left + self.columns.panel / 2, top - _UNDER_TITLE)
        axes = self.canvas.axes(left, top, self.columns.panel, self.height)
        axes.set_axisbelow(True)
        return axes


def _in_rows(titles: Sequence[Sequence[str]], side_by_side: int) -> list[Sequence[Sequence[str]]]:
    return [titles[start : start + side_by_side] for start in range(0, len(titles), side_by_side)]


def _title_height(titles: Sequence[Sequence[str]]) -> float:
    return _OVER_TITLE + max(map(len, titles), default=0) * line_height(BODY) + _UNDER_TITLE
