"""A figure laid out by hand, in inches from its top left corner, so that pictures align and nothing is clipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xkd_eval.figures.paper import PRINT_DPI, current_size
from xkd_eval.figures.shown import ShownFigure
from xkd_eval.figures.style import BODY, HAIRLINE, HAIRLINE_WIDTH, INK
from xkd_eval.figures.text import line_height

# The share of a line's height that lies under its baseline.
_DESCENT = 0.27


class Canvas:
    """A white page of a given size.

    Args:
        width, height: inches.

    Attributes:
        figure: what is drawn so far.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self.figure = ShownFigure(figsize=(width, height), facecolor="white")
        if current_size() is not None:
            self.figure.set_dpi(PRINT_DPI)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Empty axes whose frame is exactly this box."""
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def picture(self, pixels: np.ndarray, left: float, top: float, width: float, height: float) -> Axes:
        """Pixels (H, W, 3) uint8 or (H, W, 4) float, filling this box."""
        axes = self.axes(left, top, width, height)
        axes.imshow(pixels, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=HAIRLINE_WIDTH, edgecolor=HAIRLINE)
        return axes

    def text(
        self,
        lines: Sequence[str],
        x: float,
        bottom: float,
        *,
        size: float = BODY,
        weight: str = "normal",
        align: str = "center",
        colour: str = INK,
        plate: bool = False,
    ) -> None:
        """Lines of text, the last of which stands on `bottom`; `x` is their centre or the side that `align` names.

        With `plate` they stand on a white ground, to be read over a photo.
        """
        step = line_height(size)
        for above, line in enumerate(reversed(lines)):
            baseline = bottom - above * step - _DESCENT * step
            self.figure.text(
                x / self.width,
                1 - baseline / self.height,
                line,
                size=size,
                weight=weight,
                color=colour,
                horizontalalignment=align,
                verticalalignment="baseline",
                # A class may be called "$ bill"; nothing here is meant as a formula.
                parse_math=False,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0} if plate else None,
            )

    def rule(self, left: float, right: float, y: float) -> None:
        """A horizontal hairline."""
        x = [left / self.width, right / self.width]
        level = 1 - y / self.height
        self.figure.add_artist(Line2D(x, [level, level], linewidth=HAIRLINE_WIDTH, color=HAIRLINE))

    def sample(self, left: float, y: float, width: float, style: Mapping[str, Any]) -> None:
        """A piece of a curve, as a key shows it; its marker, if it has one, in the middle."""
        x = [(left + share * width) / self.width for share in (0.0, 0.5, 1.0)]
        level = 1 - y / self.height
        self.figure.add_artist(Line2D(x, [level] * 3, markevery=[1], **style))


def fit_box(image: np.ndarray, width: float, height: float) -> tuple[float, float]:
    """The largest (width, height) in inches with the ratio of an image (H, W, ...) that fits into a box."""
    rows, columns = image.shape[:2]
    scale = min(width / columns, height / rows)
    return columns * scale, rows * scale
