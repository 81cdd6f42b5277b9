"""The curves of a comparison, drawn by the tests that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xkd_eval.comparison.result import Comparison
from xkd_eval.evaluations.base import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve


def curve_figures(comparison: Comparison) -> dict[str, Figure]:
    """TEST_curves -> figure, of the models' own maps."""
    figures = {}
    for name, test in comparison.tests.items():
        curves = _curves(comparison, name, test)
        figure = test.curve_figure(curves, _num_classes(comparison, name)) if curves else None
        if figure is not None:
            figures[f"{name}_curves"] = figure
    return figures


def _curves(comparison: Comparison, name: str, test: Evaluation) -> dict[str, list[Curve]]:
    """Score -> one curve a model."""
    from xkd_eval.figures.curves import Curve

    if not len(comparison.curves):
        return {}
    table = comparison.own(comparison.curves)
    scores = comparison.own(comparison.scores)
    found: dict[str, list[Curve]] = {}
    for (score, model), points in table[table["test"] == name].groupby(["score", "model"], sort=False):
        spec = test.spec(str(score))
        area = scores[(scores["test"] == name) & (scores["model"] == model) & (scores["score"] == (spec and spec.area))]
        x, y, low, high = (points[column].to_numpy(dtype=float) for column in ("x", "value", "low", "high"))
        curve = Curve(str(model), x, y, low, high, area["value"].item() if len(area) else float("nan"))
        found.setdefault(str(score), []).append(curve)
    return found


def _num_classes(comparison: Comparison, test: str) -> int | None:
    """Of all models; None where they differ."""
    counts = {column["model"]["num_classes"] for column in comparison.rules[test]["columns"].values()}
    return counts.pop() if len(counts) == 1 else None
