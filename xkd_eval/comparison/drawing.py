"""The figures of a comparison: the curves of the tests that have some, differences, and how agreement is spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xkd_eval.comparison.claims import claim
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.study.floors import ORACLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve
    from xkd_eval.figures.distributions import Distribution
    from xkd_eval.figures.forest import Difference

_DISTRIBUTIONS = 4  # measures of agreement that the figure has room for


def figures_of(comparison: Comparison) -> dict[str, Figure]:
    """Name -> figure, of those for which there is something to draw."""
    others = {"differences": difference_figure(comparison), "agreement": agreement_figure(comparison)}
    return curve_figures(comparison) | {name: figure for name, figure in others.items() if figure is not None}


def curve_figures(comparison: Comparison) -> dict[str, Figure]:
    """TEST_curves -> figure, of the models' own maps."""
    figures = {}
    for name, test in comparison.tests.items():
        curves = _curves(comparison, name, test)
        figure = test.curve_figure(curves, _num_classes(comparison, name)) if curves else None
        if figure is not None:
            figures[f"{name}_curves"] = figure
    return figures


def difference_figure(comparison: Comparison) -> Figure | None:
    """Each model's difference from the reference in the headline scores, with its interval; None without any."""
    from xkd_eval.figures.forest import forest_panels

    note = (
        f"Minus {comparison.models[0]}; intervals hold together at 95 %. "
        "Arrow up: claimed better; arrow down: claimed worse; circle: not told apart"
    )
    panels = _differences(comparison)
    return forest_panels(panels, note) if panels else None


def agreement_figure(comparison: Comparison) -> Figure | None:
    """How the images' agreement with the reference is spread; None for run directories, which have none."""
    from xkd_eval.figures.distributions import distribution_panels

    return distribution_panels(_distributions(comparison)) if len(comparison.images) else None


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


def _differences(comparison: Comparison) -> dict[str, list[Difference]]:
    """Headline score -> each model's difference from the reference, of what grows with accuracy where all are right."""
    table = comparison.differences
    students = list(comparison.models[1:])
    rows = {
        (row["test"], row["score"], row["model"]): row
        for row in table.to_dict("records")
        if row["other"] == comparison.models[0] and row["model"] in students
    }
    scores = comparison.own(comparison.scores).to_dict("records")
    # Of run directories the first need not be what the others were held against: it has a row of its own then.
    held = {row["test"] for row in scores if row["model"] == comparison.models[0]}
    rows |= {
        (row["test"], row["score"], row["model"]): found
        for row in scores
        if row["test"] not in held and (found := _from_the_references_own(comparison, row)) is not None
    }
    panels = {}
    for name, test in comparison.tests.items():
        for spec in test.specs():
            if spec.x is not None or not spec.is_at_least("headline"):
                continue
            common = f"{spec.name}{WHERE_RIGHT}"
            score = common if (name, common, students[0]) in rows else spec.name
            found = {model: rows.get((name, score, model)) for model in students}
            if any(found.values()):
                title = spec.head if spec.head not in panels else f"{spec.head} ({test.title})"
                panels[title] = [_difference(found[model], spec, model) for model in found]
    return panels


def _from_the_references_own(comparison: Comparison, row: dict[Any, Any]) -> dict[Any, Any] | None:
    """What a score that holds a model against the reference is short of: the reference's with itself is the best."""
    test = comparison.tests[row["test"]]
    spec = test.spec(row["score"])
    if not test.needs_reference or test.is_of_pairs() or spec is None or spec.range is None or not spec.sign:
        return None
    best = spec.range[1] if spec.sign > 0 else spec.range[0]
    if best is None:
        return None
    value, low, high = (np.nan if pd.isna(row[name]) else row[name] - best for name in ("value", "low", "high"))
    # Nothing is better than the reference's own: that a model is worse is no claim.
    return {"value": value, "low_corrected": min(low, 0.0), "high_corrected": max(high, 0.0)}


def _difference(row: dict[Any, Any] | None, spec: ScoreSpec, model: str) -> Difference:
    from xkd_eval.figures.forest import Difference

    cells = [None if row is None else row[name] for name in ("value", "low_corrected", "high_corrected")]
    value, low, high = (np.nan if cell is None or pd.isna(cell) else spec.scale * cell for cell in cells)
    return Difference(model, value, low, high, 0 if row is None else claim(row, spec))


def _distributions(comparison: Comparison) -> dict[str, list[Distribution]]:
    from xkd_eval.figures.distributions import Distribution

    others = comparison.members[1:]
    images = comparison.images
    own = comparison.own(images)
    floors = [maps for maps in dict.fromkeys(images["maps"]) if maps != comparison.explainer]
    rows = {name: own[own["model"] == name] for name in others}
    rows |= {
        f"{maps} (masks)" if maps == ORACLE else f"{maps} (floor)": images[images["maps"] == maps] for maps in floors
    }
    specs = [spec for test in comparison.tests.values() if test.is_of_pairs() for spec in test.specs()]
    return {
        spec.heading: [
            Distribution(
                name, table[spec.name].to_numpy(dtype=float), 1 + others.index(name) if name in others else None
            )
            for name, table in rows.items()
        ]
        for spec in specs[:_DISTRIBUTIONS]
    }
