"""What stands beside a map: its range in its own units as a colour bar, or the word for why it has none."""

from __future__ import annotations

import math

import numpy as np

from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.heatmap import Heatmap, find_colormap
from xkd_eval.figures.style import INK, MUTED
from xkd_eval.figures.text import line_height, text_width

_BAR = 0.075
_COLOURS = 256


def colour_bar_height(size: float) -> float:
    """Inches that a bar and its numbers take at a type size in points."""
    return _BAR + line_height(size)


def draw_colour_bar(
    canvas: Canvas, shown: Heatmap, colormap: str, centre: float, top: float, width: float, size: float
) -> None:
    """Draw the bar of a map that has a range.

    Args:
        canvas: where to.
        shown: its `low` and `high` are the bar's ends.
        colormap: the one that `shown` was made with.
        centre, top, width: inches.
        size: of the numbers, in points.
    """
    left, right = centre - width / 2, centre + width / 2
    bottom = top + colour_bar_height(size)
    axes = canvas.picture(find_colormap(colormap)(np.linspace(0, 1, _COLOURS))[None], left, top, width, _BAR)
    low, high = _fitting_labels(shown, width, size)
    canvas.text([low], left, bottom, size=size, align="left", colour=MUTED)
    canvas.text([high], right, bottom, size=size, align="right", colour=MUTED)
    if not shown.low < 0 < shown.high:
        return
    share = -shown.low / (shown.high - shown.low)
    axes.axvline(share * _COLOURS - 0.5, color="white", linewidth=1.8)
    axes.axvline(share * _COLOURS - 0.5, color=INK, linewidth=0.8)
    zero = left + share * width
    room = 0.05 + text_width("0", size) / 2
    if left + text_width(low, size) + room < zero < right - text_width(high, size) - room:
        canvas.text(["0"], zero, bottom, size=size, colour=MUTED)


def _fitting_labels(shown: Heatmap, width: float, size: float) -> tuple[str, str]:
    """The ends of a bar as text; none, as on a figure without numbers, where a narrow bar has no room for two."""
    for digits in (3, 2):
        low, high = end_labels(shown.low, shown.high, digits)
        if text_width(low, size) + text_width(high, size) + 0.06 <= width:
            return low, high
    return "", ""


def end_labels(low: float, high: float, digits: int = 3) -> tuple[str, str]:
    """The two ends of a bar as text: so many digits of their difference, or more, and never the same twice."""
    span = high - low
    if span >= 1e-3 and max(-low, high) < 1e5:
        decimals = max(0, digits - 1 - math.floor(math.log10(span)))
        # Adding zero turns the -0.0 that rounding leaves into 0.0.
        texts = (f"{round(low, decimals) + 0.0:.{decimals}f}", f"{round(high, decimals) + 0.0:.{decimals}f}")
    else:
        digits = next((more for more in range(digits, 17) if f"{low:.{more}g}" != f"{high:.{more}g}"), 17)
        texts = (f"{low:.{digits}g}", f"{high:.{digits}g}")
    return texts[0].replace("-", "−"), texts[1].replace("-", "−")


def note_lines(shown: Heatmap) -> list[str]:
    """What a map without a range says in place of its colours: why, and its value where it has one."""
    value = [f"{shown.low:.3g}".replace("-", "−")] if math.isfinite(shown.low) else []
    return [shown.note, *value]
