"""The overlay figure: a row an image; the photo, then map and overlay for every model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from xkd_eval.errors import XkdError
from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.colour_bar import draw_colour_bar, note_lines
from xkd_eval.figures.heatmap import (
    DEFAULT_ALPHA,
    DEFAULT_COLORMAP,
    Heatmap,
    Region,
    heatmap,
    scaled_region,
    shown_size,
)
from xkd_eval.figures.overlay_layout import BAR_GAP, HEADER_GAP, TITLE_GAP, Layout
from xkd_eval.figures.style import MUTED, house_style
from xkd_eval.figures.text import line_height

_RULE_GAP = 0.03  # inches
_NARROWEST_BAR = 0.85  # of a picture's width


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
    has both signs. A constant map, or one with a value that is not finite, is grey and says so. In a column that is
    too narrow for all, the overlays stand without the maps.

    Args:
        rows: one an image (or an image and a class), each with one panel a model, in the same order.
        colormap: any name that matplotlib knows; a diverging one is centred on zero where the map has both signs.
        alpha: the map's share in the overlay, 0 to 1.
        row_titles: what stands above each photo (its file name); empty for nothing.

    Raises:
        XkdError: no rows, rows of unequal length, a paper that is too small, an unknown colour map, alpha outside of
            0 to 1, or bad shapes.
    """
    _check_rows(rows, row_titles)
    layout = Layout.of(rows, row_titles)
    canvas = Canvas(layout.page_width, layout.page_height)
    _draw_header(canvas, layout)
    for index, panels in enumerate(rows):
        _draw_row(canvas, layout, index, panels, colormap, alpha)
    return canvas.figure


def _draw_header(canvas: Canvas, layout: Layout) -> None:
    bottom = layout.space.margin + layout.header - HEADER_GAP
    for model, lines in enumerate(layout.names):
        left = layout.pair_left(model)
        canvas.text(lines, left + layout.pair / 2, bottom, size=layout.body, weight="bold")
        if layout.header:
            canvas.rule(left, left + layout.pair, bottom + _RULE_GAP)


def _draw_row(
    canvas: Canvas, layout: Layout, index: int, panels: Sequence[OverlayPanel], colormap: str, alpha: float
) -> None:
    width, height = layout.sizes[index]
    inset = (layout.cell - width) / 2
    top = layout.row_top(index) + layout.title_height(index)
    row_title, *titles = layout.titles[index]
    photo = shown_size(panels[0].image)
    margin = layout.space.margin
    canvas.picture(photo, margin + inset, top, width, height)
    canvas.text(row_title, margin + layout.cell / 2, top - TITLE_GAP, size=layout.small, colour=MUTED)
    for model, panel in enumerate(panels):
        left = layout.pair_left(model)
        shown = heatmap(photo, panel.map, colormap, alpha, scaled_region(panel.region, panel.image, photo))
        canvas.text(titles[model], left + layout.pair / 2, top - TITLE_GAP, size=layout.body)
        if layout.has_maps:
            canvas.picture(shown.colours, left + inset, top, width, height)
        overlay_left = left + layout.pair - layout.cell
        canvas.picture(shown.overlay, overlay_left + inset, top, width, height)
        _draw_range(canvas, layout, shown, colormap, left + layout.cell / 2, top, (width, height))


def _draw_range(
    canvas: Canvas, layout: Layout, shown: Heatmap, colormap: str, centre: float, top: float, size: tuple[float, float]
) -> None:
    """The colour bar under a map, or over the map why there is none."""
    width, height = size
    if shown.note:
        middle = top + height / 2 + line_height(layout.small) / 2
        canvas.text(note_lines(shown), centre, middle, size=layout.small, plate=not layout.has_maps)
        return
    bar_width = max(width, _NARROWEST_BAR * layout.cell)
    draw_colour_bar(canvas, shown, colormap, centre, top + height + BAR_GAP, bar_width, layout.small)


def _check_rows(rows: Sequence[Sequence[OverlayPanel]], row_titles: Sequence[str]) -> None:
    if not rows or not rows[0]:
        raise XkdError("rows: no panels to draw; expected at least one image and one model")
    if len({len(panels) for panels in rows}) > 1:
        raise XkdError(f"rows: of {[len(panels) for panels in rows]} panels; expected one a model in each row")
    if any(panel.image.shape != panels[0].image.shape for panels in rows for panel in panels):
        raise XkdError("rows: the panels of a row have photos of different sizes; expected one photo a row")
    if row_titles and len(row_titles) != len(rows):
        raise XkdError(f"row_titles: got {len(row_titles)} for {len(rows)} rows; expected one each, or none")
