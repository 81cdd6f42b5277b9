"""The report's figures: curves with bands, differences from the reference, and how agreement is spread."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from xkd_eval.comparison.drawing import agreement_figure, curve_figures, difference_figure
from xkd_eval.comparison.result import Comparison
from xkd_eval.escapes import file_names
from xkd_eval.figures.style import save_figure
from xkd_eval.report.page import inlined

AGREEMENT = "agreement"
"""The name of the figure on agreement."""

FOREST = "differences"
"""The name of the figure on differences from the reference."""


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Name -> figure, of those for which there is something to draw."""
    others = {FOREST: difference_figure(comparison), AGREEMENT: agreement_figure(comparison)}
    return curve_figures(comparison) | {name: figure for name, figure in others.items() if figure is not None}


def write(figures: dict[str, Figure], folder: Path) -> dict[str, str]:
    """Save each as PDF and SVG.

    Returns:
        Name -> SVG to put into a page, whose colours follow the page's.

    Raises:
        XkdError: the folder cannot be written.
    """
    inline = {}
    files = file_names(figures)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{files[name]}.pdf")
        inline[name] = inlined(save_figure(figure, folder / f"{files[name]}.svg").read_text())
    return inline
