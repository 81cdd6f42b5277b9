"""The best, the median and the worst maps of an evaluation, as overlays with the object's outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from xkd_eval.errors import XkdError
from xkd_eval.figures.canvas import Canvas, fit_box
from xkd_eval.figures.colour_bar import note_lines
from xkd_eval.figures.heatmap import (
    DEFAULT_ALPHA,
    DEFAULT_COLORMAP,
    Region,
    find_colormap,
    heatmap,
    scaled_region,
    shown_size,
)
from xkd_eval.figures.style import BODY, INK, MUTED, SMALL, house_style
from xkd_eval.figures.text import fit_text, line_height, text_width

# In inches.
_MARGIN = 0.12
_GAP = 0.12
_ROW_GAP = 0.16
_LABEL_GAP = 0.05
_CAPTION_GAP = 0.03
_FOOTER_GAP = 0.14
_WIDEST_PAGE = 16.0
_CELL_RANGE = (0.9, 1.7)
_NARROWEST_PAGE = 3.4
_CAPTION_LINES = 2
_BAR = (0.6, 0.075)


@dataclass(frozen=True)
class Extreme:
    """One photo with its map, as `extremes_figure` draws it.

    Attributes:
        image: (H, W, 3) uint8, the photo at its own size.
        map: (h, w), raw.
        caption: what the image is and scored.
        mask: (H, W), 1 object, 0 background, -1 ignored; None for no outline.
        region: (left, top, right, bottom) of the part of the photo that the map covers, in its pixels; None is all.
    """

    image: np.ndarray
    map: np.ndarray
    caption: str = ""
    mask: np.ndarray | None = None
    region: Region | None = None


@house_style()
def extremes_figure(
    best: Sequence[Extreme],
    median: Sequence[Extreme],
    worst: Sequence[Extreme],
    colormap: str = DEFAULT_COLORMAP,
    alpha: float = DEFAULT_ALPHA,
) -> Figure:
    """Three rows of overlays; a row without images is left out.

    Args:
        best, median, worst: in the order in which they stand in their row.
        colormap: any name that matplotlib knows.
        alpha: the map's share in the overlay, 0 to 1.

    Raises:
        XkdError: no images at all, an unknown colour map, alpha outside of 0 to 1, or bad shapes.
    """
    rows = [(name, row) for name, row in (("Best", best), ("Median", median), ("Worst", worst)) if row]
    if not rows:
        raise XkdError("best: no maps to draw, in `median` and `worst` neither; expected at least one")
    columns = max(len(row) for _, row in rows)
    room = (_WIDEST_PAGE - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    cell = min(max(room, _CELL_RANGE[0]), _CELL_RANGE[1])
    plans = [_Row.of(name, row, cell) for name, row in rows]
    page_width = max(2 * _MARGIN + columns * cell + (columns - 1) * _GAP, _NARROWEST_PAGE)
    page_height = 2 * _MARGIN + sum(plan.height + _ROW_GAP for plan in plans) - _ROW_GAP
    canvas = Canvas(page_width, page_height + _FOOTER_GAP + line_height(SMALL))
    top = _MARGIN
    for plan in plans:
        _draw_row(canvas, plan, top, cell, colormap, alpha)
        top += plan.height + _ROW_GAP
    outlined = any(_has_outline(extreme.mask) for _, row in rows for extreme in row)
    _draw_footer(canvas, canvas.height - _MARGIN, colormap, outlined)
    return canvas.figure


@dataclass(frozen=True)
class _Row:
    name: str
    extremes: Sequence[Extreme]
    captions: list[list[str]]
    sizes: list[tuple[float, float]]

    @classmethod
    def of(cls, name: str, extremes: Sequence[Extreme], cell: float) -> _Row:
        captions = [fit_text(extreme.caption, cell, _CAPTION_LINES, SMALL) for extreme in extremes]
        return cls(name, extremes, captions, [fit_box(extreme.image, cell, cell) for extreme in extremes])

    @property
    def head(self) -> float:
        """Inches above the pictures."""
        captions = max(len(lines) for lines in self.captions) * line_height(SMALL)
        return line_height(BODY) + _LABEL_GAP + captions + _CAPTION_GAP

    @property
    def height(self) -> float:
        return self.head + max(height for _, height in self.sizes)


def _draw_row(canvas: Canvas, row: _Row, top: float, cell: float, colormap: str, alpha: float) -> None:
    canvas.text([row.name], _MARGIN, top + line_height(BODY), weight="bold", align="left")
    bottom = top + row.head
    for column, extreme in enumerate(row.extremes):
        centre = _MARGIN + column * (cell + _GAP) + cell / 2
        width, height = row.sizes[column]
        photo = shown_size(extreme.image)
        shown = heatmap(photo, extreme.map, colormap, alpha, scaled_region(extreme.region, extreme.image, photo))
        canvas.text(row.captions[column], centre, bottom - _CAPTION_GAP, size=SMALL)
        axes = canvas.picture(shown.overlay, centre - width / 2, bottom, width, height)
        if extreme.mask is not None and _has_outline(extreme.mask):
            _draw_outline(axes, extreme.mask, photo)
        if shown.note:
            lines = note_lines(shown)
            middle = bottom + (height + len(lines) * line_height(SMALL)) / 2
            canvas.text(lines, centre, middle, size=SMALL, plate=True)


def _draw_outline(axes: Axes, mask: np.ndarray, photo: np.ndarray) -> None:
    height, width = photo.shape[:2]
    objects = Image.fromarray((mask == 1).astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    # A rim of background closes the outline of an object that the photo's border cuts.
    framed = np.pad(np.asarray(objects), 1)
    x, y = np.arange(-1, width + 1), np.arange(-1, height + 1)
    limits = axes.get_xlim(), axes.get_ylim()
    for colour, line_width in ((INK, 2.0), ("white", 1.0)):
        axes.contour(x, y, framed, levels=[0.5], colors=[colour], linewidths=[line_width])
    axes.set(xlim=limits[0], ylim=limits[1])


def _has_outline(mask: np.ndarray | None) -> bool:
    return mask is not None and bool((mask == 1).any())


def _draw_footer(canvas: Canvas, bottom: float, colormap: str, outlined: bool) -> None:
    width, height = _BAR
    left = _MARGIN + text_width("lowest", SMALL) + 0.06
    ramp = find_colormap(colormap)(np.linspace(0, 1, 256))[None]
    canvas.picture(ramp, left, bottom - line_height(SMALL) / 2 - height / 2, width, height)
    canvas.text(["lowest"], _MARGIN, bottom, size=SMALL, align="left", colour=MUTED)
    rest = "highest of each map" + ("; outline: the object's mask" if outlined else "")
    canvas.text([rest], left + width + 0.06, bottom, size=SMALL, align="left", colour=MUTED)
