"""The report's figures: perturbation curves with bands, and how agreement is spread."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from xkd_eval.comparison.result import Comparison
from xkd_eval.evaluations.perturbation import DIRECTIONS
from xkd_eval.figures.curves import Curve, perturbation_curves
from xkd_eval.figures.distributions import Distribution, distribution_panels
from xkd_eval.figures.style import HAIRLINE, INK, MUTED, save_figure

MEASURES = {
    "spearman": "Rank correlation",
    "ssim": "Structural similarity",
    "top20_iou": "Overlap of the top 20 %",
    "shared_saliency": "Shared saliency",
}
"""The measures of agreement that a figure shows, and their titles."""

_GRID = "#e4e4e4"
# A page in dark mode shows the same drawing in its own ink.
_THEMED = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    HAIRLINE: "var(--rule)",
    _GRID: "var(--grid)",
    "#000000": "var(--ink)",
}


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Name -> figure, of those for which there is something to draw."""
    figures = {}
    if len(comparison.curves):
        figures["perturbation_curves"] = perturbation_curves(_curves(comparison), _classes(comparison))
    if len(comparison.images):
        figures["agreement"] = distribution_panels(_distributions(comparison))
    return figures


def write(figures: dict[str, Figure], folder: Path) -> dict[str, str]:
    """Save each as PDF and SVG.

    Returns:
        Name -> SVG to put into a page, whose colours follow the page's.

    Raises:
        XkdError: the folder cannot be written.
    """
    inline = {}
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.pdf")
        inline[name] = _inline(save_figure(figure, folder / f"{name}.svg").read_text())
    return inline


def _inline(svg: str) -> str:
    """Without the XML header and the white paper, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    for colour, variable in _THEMED.items():
        svg = svg.replace(colour, variable)
    return svg.replace("fill: #ffffff", "fill: none")


def _curves(comparison: Comparison) -> dict[str, list[Curve]]:
    table = comparison.own(comparison.curves)
    directions = [direction for direction in DIRECTIONS if (table["direction"] == direction).any()]
    return {
        direction: [
            _curve(comparison, table, direction, model)
            for model in comparison.models
            if ((table["direction"] == direction) & (table["model"] == model)).any()
        ]
        for direction in directions
    }


def _curve(comparison: Comparison, table: pd.DataFrame, direction: str, model: str) -> Curve:
    points = table[(table["direction"] == direction) & (table["model"] == model)]
    scores = comparison.own(comparison.scores)
    area = scores[(scores["score"] == f"{direction}.auc") & (scores["model"] == model)]["value"].item()
    x, y, low, high = (points[name].to_numpy(dtype=float) for name in ("fraction", "value", "low", "high"))
    return Curve(model, x, y, low, high, area)


def _classes(comparison: Comparison) -> int | None:
    columns = comparison.rules["perturbation"]["columns"].values()
    counts = {column["model"]["num_classes"] for column in columns}
    return counts.pop() if len(counts) == 1 else None


def _distributions(comparison: Comparison) -> dict[str, list[Distribution]]:
    _, *others = comparison.rules["perturbation"]["columns"]
    images = comparison.images
    own = comparison.own(images)
    floors = [maps for maps in dict.fromkeys(images["maps"]) if maps != comparison.explainer]
    rows = {label: own[own["model"] == label] for label in others}
    rows |= {
        f"{maps} (floor)" if maps != "oracle" else "oracle (masks)": images[images["maps"] == maps] for maps in floors
    }
    return {
        title: [
            Distribution(
                label, table[measure].to_numpy(dtype=float), 1 + others.index(label) if label in others else None
            )
            for label, table in rows.items()
        ]
        for measure, title in MEASURES.items()
    }
