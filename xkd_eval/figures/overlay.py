"""The overlay figure: a row an image; the photo, then map and overlay for every model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from xkd_eval.errors import XkdError
from xkd_eval.figures.canvas import Canvas, fit_box
from xkd_eval.figures.colour_bar import colour_bar_height, draw_colour_bar, note_lines
from xkd_eval.figures.heatmap import (
    DEFAULT_ALPHA,
    DEFAULT_COLORMAP,
    Region,
    heatmap,
    scaled_region,
    shown_size,
)
from xkd_eval.figures.style import BODY, MUTED, SMALL, house_style
from xkd_eval.figures.text import fit_text, line_height

# In inches. The page is as wide as its pictures need; many models get smaller ones, down to what is still legible.
_MARGIN = 0.12
_PAIR_GAP = 0.08
_GROUP_GAP = 0.24
_ROW_GAP = 0.20
_TITLE_GAP = 0.03
_HEADER_GAP = 0.10
_RULE_GAP = 0.03
_BAR_GAP = 0.06
_NARROWEST_BAR = 0.85
_WIDEST_PAGE = 16.0
_CELL_RANGE = (1.3, 2.3)
_TALLEST = 1.25
# Type grows with the page, which a paper prints at the width of its column.
_TYPE_GROWS_FROM = 8.0
_TYPE_GROWTH = 1.5
_TITLE_LINES = 2
_NAME_LINES = 3


@dataclass(frozen=True)
class OverlayPanel:
    """One model's explanation of one image.

    Attributes:
        image: (H, W, 3) uint8, the photo at its own size.
        map: (h, w), raw.
        title: the name of the explained class.
        probability: of that class, 0 to 1; NaN leaves it out.
        model: the model's name, the same down a column.
        region: (left, top, right, bottom) of the part of the photo that the map covers, in its pixels, where the model
            saw a crop; None is the whole photo.
    """

    image: np.ndarray
    map: np.ndarray
    title: str
    probability: float = math.nan
    model: str = ""
    region: Region | None = None


@house_style()
def overlay_figure(
    rows: Sequence[Sequence[OverlayPanel]],
    colormap: str = DEFAULT_COLORMAP,
    alpha: float = DEFAULT_ALPHA,
    row_titles: Sequence[str] = (),
) -> Figure:
    """Photo, map and overlay side by side, at the photo's own aspect ratio.

    Each map is shown over its own range, which its colour bar states in raw values, with a mark at zero where the map
    has both signs. A constant map, or one with a value that is not finite, is grey and says so.

    Args:
        rows: one an image (or an image and a class), each with one panel a model, in the same order.
        colormap: any name that matplotlib knows; a diverging one is centred on zero where the map has both signs.
        alpha: the map's share in the overlay, 0 to 1.
        row_titles: what stands above each photo (its file name); empty for nothing.

    Raises:
        XkdError: no rows, rows of unequal length, an unknown colour map, alpha outside of 0 to 1, or bad shapes.
    """
    _check_rows(rows, row_titles)
    layout = _Layout.of(rows, row_titles)
    canvas = Canvas(layout.page_width, layout.page_height)
    _draw_header(canvas, layout)
    for index, panels in enumerate(rows):
        _draw_row(canvas, layout, index, panels, colormap, alpha)
    return canvas.figure


@dataclass(frozen=True)
class _Layout:
    """Where everything stands, in inches."""

    cell: float
    body: float
    small: float
    names: list[list[str]]
    sizes: list[tuple[float, float]]
    titles: list[list[list[str]]]

    @classmethod
    def of(cls, rows: Sequence[Sequence[OverlayPanel]], row_titles: Sequence[str]) -> _Layout:
        models = len(rows[0])
        gaps = 2 * _MARGIN + models * (_GROUP_GAP + _PAIR_GAP)
        widest = min(max((_WIDEST_PAGE - gaps) / (1 + 2 * models), _CELL_RANGE[0]), _CELL_RANGE[1])
        sizes = [fit_box(panels[0].image, widest, _TALLEST * widest) for panels in rows]
        cell = max(max(width for width, _ in sizes), 0.75 * widest)
        growth = min(max((gaps + cell * (1 + 2 * models)) / _TYPE_GROWS_FROM, 1.0), _TYPE_GROWTH)
        body, small = BODY * growth, SMALL * growth
        pair = 2 * cell + _PAIR_GAP
        titles = [
            [fit_text(row_titles[index] if row_titles else "", cell, _TITLE_LINES, small)]
            + [fit_text(p.title, pair, _TITLE_LINES, body, suffix=_percent(p.probability)) for p in panels]
            for index, panels in enumerate(rows)
        ]
        names = [fit_text(panel.model, pair, _NAME_LINES, body, weight="bold") for panel in rows[0]]
        return cls(cell, body, small, names, sizes, titles)

    @property
    def pair(self) -> float:
        return 2 * self.cell + _PAIR_GAP

    @property
    def page_width(self) -> float:
        return 2 * _MARGIN + self.cell + len(self.names) * (_GROUP_GAP + self.pair)

    @property
    def page_height(self) -> float:
        return self.row_top(len(self.sizes)) - _ROW_GAP + _MARGIN

    @property
    def header(self) -> float:
        lines = max(len(name) for name in self.names)
        return lines * line_height(self.body) + _HEADER_GAP if lines else 0.0

    def pair_left(self, model: int) -> float:
        return _MARGIN + self.cell + _GROUP_GAP + model * (self.pair + _GROUP_GAP)

    def row_top(self, index: int) -> float:
        heights = [self.title_height(row) + self.sizes[row][1] + self.bar_height for row in range(index)]
        return _MARGIN + self.header + sum(heights) + index * _ROW_GAP

    def title_height(self, row: int) -> float:
        return max(len(lines) for lines in self.titles[row]) * line_height(self.body) + _TITLE_GAP

    @property
    def bar_height(self) -> float:
        return _BAR_GAP + colour_bar_height(self.small)


def _draw_header(canvas: Canvas, layout: _Layout) -> None:
    bottom = _MARGIN + layout.header - _HEADER_GAP
    for model, lines in enumerate(layout.names):
        left = layout.pair_left(model)
        canvas.text(lines, left + layout.pair / 2, bottom, size=layout.body, weight="bold")
        if layout.header:
            canvas.rule(left, left + layout.pair, bottom + _RULE_GAP)


def _draw_row(
    canvas: Canvas, layout: _Layout, index: int, panels: Sequence[OverlayPanel], colormap: str, alpha: float
) -> None:
    width, height = layout.sizes[index]
    inset = (layout.cell - width) / 2
    top = layout.row_top(index) + layout.title_height(index)
    row_title, *titles = layout.titles[index]
    photo = shown_size(panels[0].image)
    canvas.picture(photo, _MARGIN + inset, top, width, height)
    canvas.text(row_title, _MARGIN + layout.cell / 2, top - _TITLE_GAP, size=layout.small, colour=MUTED)
    for model, panel in enumerate(panels):
        left = layout.pair_left(model)
        centre = left + layout.cell / 2
        shown = heatmap(photo, panel.map, colormap, alpha, scaled_region(panel.region, panel.image, photo))
        canvas.text(titles[model], left + layout.pair / 2, top - _TITLE_GAP, size=layout.body)
        canvas.picture(shown.colours, left + inset, top, width, height)
        canvas.picture(shown.overlay, left + layout.cell + _PAIR_GAP + inset, top, width, height)
        if shown.note:
            middle = top + height / 2 + line_height(layout.small) / 2
            canvas.text(note_lines(shown), centre, middle, size=layout.small)
        else:
            bar_width = max(width, _NARROWEST_BAR * layout.cell)
            draw_colour_bar(canvas, shown, colormap, centre, top + height + _BAR_GAP, bar_width, layout.small)


def _percent(probability: float) -> str:
    return f"  {100 * probability:.1f} %" if math.isfinite(probability) else ""


def _check_rows(rows: Sequence[Sequence[OverlayPanel]], row_titles: Sequence[str]) -> None:
    if not rows or not rows[0]:
        raise XkdError("rows: no panels to draw; expected at least one image and one model")
    if len({len(panels) for panels in rows}) > 1:
        raise XkdError(f"rows: of {[len(panels) for panels in rows]} panels; expected one a model in each row")
    if any(panel.image.shape != panels[0].image.shape for panels in rows for panel in panels):
        raise XkdError("rows: the panels of a row have photos of different sizes; expected one photo a row")
    if row_titles and len(row_titles) != len(rows):
        raise XkdError(f"row_titles: got {len(row_titles)} for {len(rows)} rows; expected one each, or none")
