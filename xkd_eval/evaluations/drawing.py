"""Curves of a run, to be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xkd_eval.evaluations.base import Evaluation

if TYPE_CHECKING:
    from xkd_eval.figures.curves import Curve


def summary_curves(test: Evaluation, name: str, summary: Mapping[str, Any]) -> dict[str, list[Curve]]:
    """The curves of one run that are compared.

    Args:
        test: whose scores they are.
        name: what the key calls them.
        summary: as summary.json holds it.

    Returns:
        Name of the score -> one curve with its 95 % band and, in the key, the area under it.
    """
    from xkd_eval.figures.curves import Curve

    curves = {}
    for spec in test.specs():
        points = spec.of(summary) if spec.x is not None and spec.is_at_least("compared") else None
        if not points or any(point["value"] is None for point in points):
            continue
        area = test.spec(spec.area) if spec.area else None
        found = area.of(summary) if area is not None else None
        bounds = [point["ci95"] or (np.nan, np.nan) for point in points]
        curves[spec.name] = [
            Curve(
                name=name,
                x=spec.x or (),
                y=[point["value"] for point in points],
                low=[low for low, _ in bounds],
                high=[high for _, high in bounds],
                score=np.nan if found is None or found["value"] is None else found["value"],
            )
        ]
    return curves
