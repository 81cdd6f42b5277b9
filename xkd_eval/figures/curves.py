"""Curves over removed pixels and precision-recall curves, with their areas in a key under each panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xkd_eval.errors import XkdError
from xkd_eval.figures.grid import Columns, Panels
from xkd_eval.figures.paper import current_size
from xkd_eval.figures.style import GRID, LINE_STYLES, MARKERS, MUTED, PALETTE, SMALL, house_style
from xkd_eval.figures.text import fit_text, line_height, text_width

# In inches.
_LEFT = 0.62
_RIGHT = 0.18
_AXIS_LABELS = 0.50
_PANEL_GAP = 0.66
_PANEL = (2.9, 2.4)
_SQUARE = (3.1, 3.1)
_UNDER_KEY = 0.08
_SAMPLE = 0.36
_NARROWEST = 1.7
# Of panels in a paper: high ones would take a column alone.
_FLATTER = 0.75
_TALLEST = 2.4
_MARKED = 40  # points of a curve that are marked; more would be a band

_FLOOR_STYLE: dict[str, Any] = {"color": MUTED, "linestyle": (0, (1, 3)), "linewidth": 1.0}
_TITLES = {
    "positive": "Positive: most relevant first (lower is better)",
    "negative": "Negative: least relevant first (higher is better)",
}
# What a guess scores: how the key calls it, and the level.
Floor = tuple[str, float]


@dataclass(frozen=True)
class Curve:
    """One curve of a panel, with its band.

    Attributes:
        name: what the key calls it.
        x: fractions in 0 to 1: of the pixels removed or inserted, or recall.
        y: top-1 accuracy, probability or precision, 0 to 1.
        low, high: a band around y (a 95 % interval), or None; NaN where there is none.
        score: the area under it as the protocol defines it, 0 to 1; NaN leaves it out.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    low: Sequence[float] | np.ndarray | None = None
    high: Sequence[float] | np.ndarray | None = None
    score: float = math.nan


@house_style()
def perturbation_curves(
    directions: Mapping[str, Sequence[Curve]], num_classes: int | None = None, y: str = "Top-1 accuracy"
) -> Figure:
    """Top-1 accuracy against the share of pixels removed, one panel a direction.

    Args:
        directions: "positive", "negative" or both, with one curve a model or explainer, in the same order in both; x
            starts at 0, where y is the clean accuracy. `score` is the AUC.
        num_classes: draws the accuracy of a guess.
        y: what is drawn, where it is not the accuracy.

    Raises:
        XkdError: no curves, another direction, or x, y and band of unequal length.
    """
    unknown = sorted(set(directions) - set(_TITLES))
    if unknown or not directions:
        raise XkdError(f"directions: {unknown or 'none'}; expected 'positive', 'negative' or both")
    for curves in directions.values():
        _check(curves)
    chance = None if num_classes is None else (f"chance, 1 of {num_classes}", 1 / num_classes)
    panels = [(_TITLES[name], directions[name]) for name in _TITLES if name in directions]
    lines = max(len(curves) for _, curves in panels) + (chance is not None)
    page = _page(_PANEL, [title for title, _ in panels], lines)
    top = max(_highest(curve) for _, curves in panels for curve in curves)
    for index, (_, curves) in enumerate(panels):
        axes = _panel(page, index)
        _draw_curves(axes, curves, markers=True)
        _draw_floor(axes, chance)
        axes.set(xlim=(-2, 92), xticks=range(0, 91, 10), ylim=(0, _ceiling(top)))
        axes.set(xlabel="Pixels removed (%)", ylabel=f"{y} (%)")
        _draw_key(page, index, curves, "AUC", chance, markers=True)
    return page.canvas.figure


@house_style()
def removal_curves(
    panels: Mapping[str, Sequence[Curve]], x: str = "Pixels replaced (%)", y: str = "Probability (%)", area: str = "AUC"
) -> Figure:
    """What the network answers against the share of pixels replaced, one panel a title.

    Args:
        panels: title -> one curve a model or explainer, in the same order in all; `score` is the area.
        x, y: what the axes are called; both are in percent.
        area: what the key calls the scores.

    Raises:
        XkdError: no curves, or x, y and band of unequal length.
    """
    if not panels:
        raise XkdError("panels: none; expected at least one")
    for curves in panels.values():
        _check(curves)
    page = _page(_PANEL, list(panels), max(map(len, panels.values())))
    top = max(_highest(curve) for curves in panels.values() for curve in curves)
    for index, curves in enumerate(panels.values()):
        axes = _panel(page, index)
        markers = max(len(curve.x) for curve in curves) <= _MARKED
        _draw_curves(axes, curves, markers=markers)
        axes.set(xlim=(-2, 102), xticks=range(0, 101, 20), ylim=(0, _ceiling(top)))
        axes.set(xlabel=x, ylabel=y)
        _draw_key(page, index, curves, area, None, markers=markers)
    return page.canvas.figure


@house_style()
def precision_recall_curve(curves: Sequence[Curve], prevalence: float | None = None) -> Figure:
    """Precision against recall of the foreground.

    Args:
        curves: one a model or explainer: x recall, y precision, `score` the average precision.
        prevalence: the foreground's share of the pixels, which is the precision of a random map.

    Raises:
        XkdError: no curves, or x, y and band of unequal length.
    """
    _check(curves)
    floor = None if prevalence is None else ("random map", prevalence)
    # In a paper the caption says it.
    title = "Foreground pixels (higher is better)" if current_size() is None else ""
    page = _page(_SQUARE, [title], len(curves) + (floor is not None))
    axes = _panel(page, 0)
    _draw_curves(axes, curves, markers=False)
    _draw_floor(axes, floor)
    axes.set(xlim=(0, 100), ylim=(0, 102), xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    axes.set(xlabel="Recall (%)", ylabel="Precision (%)")
    _draw_key(page, 0, curves, "AP", floor, markers=False)
    return page.canvas.figure


def _page(shape: tuple[float, float], titles: Sequence[str], key_lines: int) -> Panels:
    """Panels of (width, height) inches on a screen, and flatter ones in a paper."""
    columns = Columns.of(
        len(titles), left=_LEFT, right=_RIGHT, gap=_PANEL_GAP, panel=shape[0], narrowest=_NARROWEST, most=len(titles)
    )
    height = shape[1] if current_size() is None else min(_FLATTER * columns.panel * shape[1] / shape[0], _TALLEST)
    below = _AXIS_LABELS + key_lines * line_height(SMALL)
    return Panels.of(titles, columns, height=height, below=below, footer=_UNDER_KEY)


def _panel(page: Panels, index: int) -> Axes:
    axes = page.panel(index)
    axes.grid(axis="y", color=GRID)
    return axes


def _draw_key(
    page: Panels, index: int, curves: Sequence[Curve], area: str, floor: Floor | None, *, markers: bool
) -> None:
    canvas, width = page.canvas, page.columns.panel
    left, top = page.left(index), page.top(index) + page.height + _AXIS_LABELS
    entries = [(curve.name, curve.score, _line_style(place, markers)) for place, curve in enumerate(curves)]
    if floor is not None:
        entries.append((floor[0], floor[1] if area == "AP" else math.nan, _FLOOR_STYLE))
    for place, (label, score, style) in enumerate(entries):
        bottom = top + (place + 1) * line_height(SMALL)
        canvas.sample(left, bottom - line_height(SMALL) / 2, _SAMPLE, style)
        text = f"{area} {100 * score:.1f}" if math.isfinite(score) else ""
        room = width - _SAMPLE - 0.2 - text_width(text, SMALL)
        canvas.text(fit_text(label, room, 1, SMALL), left + _SAMPLE + 0.08, bottom, size=SMALL, align="left")
        if text:
            canvas.text([text], left + width, bottom, size=SMALL, align="right")


def _draw_curves(axes: Axes, curves: Sequence[Curve], *, markers: bool) -> None:
    for place, curve in enumerate(curves):
        style = _line_style(place, markers)
        x = 100 * np.asarray(curve.x, dtype=float)
        axes.plot(x, 100 * np.asarray(curve.y, dtype=float), clip_on=False, zorder=3, **style)
        if curve.low is not None and curve.high is not None and np.isfinite(np.asarray(curve.high, dtype=float)).any():
            low, high = 100 * np.asarray(curve.low, dtype=float), 100 * np.asarray(curve.high, dtype=float)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _draw_floor(axes: Axes, floor: Floor | None) -> None:
    if floor is not None:
        axes.axhline(100 * floor[1], **_FLOOR_STYLE)


def _line_style(place: int, markers: bool) -> dict[str, Any]:
    """By colour, and without it: by the marker, or by the dashes where there are none."""
    turn, colour = divmod(place, len(PALETTE))
    dashes = LINE_STYLES[(turn if markers else place + turn) % len(LINE_STYLES)]
    style: dict[str, Any] = {"color": PALETTE[colour], "linestyle": dashes}
    if markers:
        style |= {"marker": MARKERS[colour], "markeredgecolor": "white", "markeredgewidth": 0.5}
    return style


def _highest(curve: Curve) -> float:
    """The highest value of a curve and its band; 0 where all are undefined. One image has no band."""
    values = np.asarray([*curve.y, *(() if curve.high is None else curve.high)], dtype=float)
    return float(values[np.isfinite(values)].max(initial=0.0))


def _ceiling(top: float) -> float:
    """The end of the accuracy axis in percent: a little above the highest band, and never above 102."""
    return min(max(105 * top, 1.0), 102.0)


def _check(curves: Sequence[Curve]) -> None:
    if not curves:
        raise XkdError("curves: none; expected at least one")
    for curve in curves:
        lengths = {len(values) for values in (curve.x, curve.y, curve.low, curve.high) if values is not None}
        if len(lengths) > 1 or (curve.low is None) != (curve.high is None):
            raise XkdError(
                f"curves: {curve.name!r} has x, y, low and high of {sorted(lengths)} values; expected one length, "
                "and low and high both or neither"
            )
