"""Where photos, maps and overlays stand, in inches, on a screen and in a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xkd_eval.figures.canvas import fit_box
from xkd_eval.figures.colour_bar import colour_bar_height
from xkd_eval.figures.paper import PaperSize, current_size, too_small
from xkd_eval.figures.style import BODY, SMALL
from xkd_eval.figures.text import fit_text, line_height

if TYPE_CHECKING:
    from xkd_eval.figures.overlay import OverlayPanel

TITLE_GAP = 0.03
HEADER_GAP = 0.10
BAR_GAP = 0.06

_TALLEST = 1.25  # times the width
_NAME_LINES = 3

# On a screen the page is as wide as its pictures need; many models get smaller ones, down to what is still legible.
_WIDEST_PAGE = 16.0
_CELL_RANGE = (1.3, 2.3)
# Type grows with the page, which is shown at the width of a window.
_TYPE_GROWS_FROM = 8.0
_TYPE_GROWTH = 1.5

# In a paper the width is given; where the maps would be too small, the overlays stand alone.
_NARROWEST_WITH_MAPS = 0.85
_NARROWEST = 0.5
_LOWEST = 0.3
_NARROW_TYPE = 7.5


@dataclass(frozen=True)
class Spacing:
    """Inches around the page, between map and overlay, between models, and between rows."""

    margin: float
    pair: float
    group: float
    row: float


_ON_SCREEN = Spacing(0.12, 0.08, 0.24, 0.20)
_IN_PAPER = Spacing(0.03, 0.05, 0.12, 0.12)
_OVERLAYS_ALONE = replace(_IN_PAPER, group=0.06)


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        space: between things.
        has_maps: whether each overlay has its map beside it.
        cell: the width that a picture has.
        body, small: type sizes in points.
        names: of the models, in lines.
        sizes: width and height of each row's pictures.
        titles: of each row: the photo's, then one a model, in lines.
        asked_height: of the page; None is what it needs.
    """

    space: Spacing
    has_maps: bool
    cell: float
    body: float
    small: float
    names: list[list[str]]
    sizes: list[tuple[float, float]]
    titles: list[list[list[str]]]
    asked_height: float | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[OverlayPanel]], row_titles: Sequence[str]) -> Layout:
        """For a screen, or for the paper that figures are made for.

        Raises:
            XkdError: the paper is too small.
        """
        size = current_size()
        return _on_screen(rows, row_titles) if size is None else _in_paper(rows, size)

    @property
    def pair(self) -> float:
        """Width of a model's pictures."""
        return 2 * self.cell + self.space.pair if self.has_maps else self.cell

    @property
    def page_width(self) -> float:
        """With the margins."""
        return 2 * self.space.margin + self.cell + len(self.names) * (self.space.group + self.pair)

    @property
    def page_height(self) -> float:
        """With the margins."""
        return self.asked_height or self.row_top(len(self.sizes)) - self.space.row + self.space.margin

    @property
    def header(self) -> float:
        """Height of the models' names."""
        lines = max(len(name) for name in self.names)
        return lines * line_height(self.body) + HEADER_GAP if lines else 0.0

    def pair_left(self, model: int) -> float:
        """Where a model's pictures begin."""
        return self.space.margin + self.cell + self.space.group + model * (self.pair + self.space.group)

    def row_top(self, index: int) -> float:
        """Where a row begins, with its titles."""
        heights = [self.title_height(row) + self.sizes[row][1] + self.bar_height for row in range(index)]
        return self.space.margin + self.header + sum(heights) + index * self.space.row

    def title_height(self, row: int) -> float:
        """Of the titles above a row's pictures."""
        return max(len(lines) for lines in self.titles[row]) * line_height(self.body) + TITLE_GAP

    @property
    def bar_height(self) -> float:
        """Of what stands under a row's pictures."""
        return BAR_GAP + colour_bar_height(self.small)


def _on_screen(rows: Sequence[Sequence[OverlayPanel]], row_titles: Sequence[str]) -> Layout:
    models, space = len(rows[0]), _ON_SCREEN
    gaps = 2 * space.margin + models * (space.group + space.pair)
    widest = min(max((_WIDEST_PAGE - gaps) / (1 + 2 * models), _CELL_RANGE[0]), _CELL_RANGE[1])
    sizes = _sizes(rows, widest, _TALLEST * widest)
    cell = max(max(width for width, _ in sizes), 0.75 * widest)
    growth = min(max((gaps + cell * (1 + 2 * models)) / _TYPE_GROWS_FROM, 1.0), _TYPE_GROWTH)
    body, small = BODY * growth, SMALL * growth
    pair = 2 * cell + space.pair
    return Layout(
        space, True, cell, body, small, _names(rows, pair, body), sizes, _titles(rows, row_titles, cell, pair, body, 2)
    )


def _in_paper(rows: Sequence[Sequence[OverlayPanel]], size: PaperSize) -> Layout:
    """As wide as it is asked for; the photos' names are left to the caption."""
    space, has_maps, cell = _cells(len(rows[0]), size)
    body = BODY if has_maps else _NARROW_TYPE
    pair = 2 * cell + space.pair if has_maps else cell
    sizes = _sizes(rows, cell, _TALLEST * cell)
    titles = _titles(rows, (), cell, pair, body, 3)
    made = Layout(space, has_maps, cell, body, SMALL, _names(rows, pair, body, brief=True), sizes, titles)
    if size.height is None:
        return made
    around = made.page_height - sum(height for _, height in sizes)
    room = (size.height - around) / len(rows)
    if room < _LOWEST:
        raise too_small("high", around + _LOWEST * len(rows), f"{len(rows)} rows of pictures")
    return replace(made, sizes=_sizes(rows, cell, min(_TALLEST * cell, room)), asked_height=size.height)


def _cells(models: int, size: PaperSize) -> tuple[Spacing, bool, float]:
    """Spaces, whether there is room for maps beside overlays, and the width of a picture."""
    for space, has_maps in ((_IN_PAPER, True), (_OVERLAYS_ALONE, False)):
        gaps = 2 * space.margin + models * (space.group + space.pair * has_maps)
        pictures = 1 + models * (1 + has_maps)
        cell = (size.width - gaps) / pictures
        if cell >= (_NARROWEST_WITH_MAPS if has_maps else _NARROWEST):
            return space, has_maps, cell
    raise too_small("wide", gaps + _NARROWEST * pictures, f"the overlays of {models} models")


def _sizes(rows: Sequence[Sequence[OverlayPanel]], width: float, height: float) -> list[tuple[float, float]]:
    return [fit_box(panels[0].image, width, height) for panels in rows]


def _names(rows: Sequence[Sequence[OverlayPanel]], pair: float, size: float, *, brief: bool = False) -> list[list[str]]:
    """Of the models; in brief without the folders, where that still tells them apart."""
    names = [panel.model for panel in rows[0]]
    short = [name.rpartition("/")[2] for name in names]
    chosen = short if brief and len(set(short)) == len(set(names)) else names
    return [fit_text(name, pair, _NAME_LINES, size, weight="bold") for name in chosen]


def _titles(
    rows: Sequence[Sequence[OverlayPanel]], names: Sequence[str], cell: float, pair: float, body: float, lines: int
) -> list[list[list[str]]]:
    small = body * SMALL / BODY
    return [
        [fit_text(names[index] if names else "", cell, lines, small)]
        + [fit_text(p.title, pair, lines, body, suffix=_percent(p.probability)) for p in panels]
        for index, panels in enumerate(rows)
    ]


def _percent(probability: float) -> str:
    return f"  {100 * probability:.1f} %" if math.isfinite(probability) else ""
