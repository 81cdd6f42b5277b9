"""The figures of a run directory: the test's own, and the best, median and worst maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xkd_eval.bands import displayed
from xkd_eval.devices import resolve_device
from xkd_eval.engines.eager import on_device
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.evaluations.scores import StoredColumns
from xkd_eval.explanations.explain import explain
from xkd_eval.figures.extremes import Extreme, extremes_figure
from xkd_eval.figures.style import save_figure
from xkd_eval.study.cells import Cell, MapSource
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.rows import Rows

EXTREMES = "extremes.png"

_PICTURED = 4


def write_figures(directory: Path, cell: Cell, inputs: StudyInputs, summary: Mapping[str, Any], rows: Rows) -> None:
    """Write what `directory` lacks of the test's figures (NAME.pdf) and of extremes.png.

    A figure of which nothing is defined, as of a set without a single object, is left out.

    Args:
        directory: of the run.
        cell: what was scored.
        inputs: models and options.
        summary: as summary.json holds it.
        rows: of all images.
    """
    columns = rows.columns
    if not all((directory / f"{name}.pdf").exists() for name in cell.test.figure_names):
        for name, figure in cell.test.figures(summary["explainer"]["name"], summary, columns).items():
            save_figure(figure, directory / f"{name}.pdf")
    quality = cell.test.quality(columns)
    if quality is None or cell.source is None or (directory / EXTREMES).exists():
        return
    chosen = _extreme_places(quality)
    if any(chosen):
        facts = {name: columns[name] for name in ("position", "id", "target", "predicted", "label")}
        best, median, worst = (
            [_extreme(cell, cell.source, inputs, facts, place) for place in places] for places in chosen
        )
        save_figure(extremes_figure(best, median, worst), directory / EXTREMES)


def _extreme_places(quality: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Rows of the best, the median and the worst maps, disjoint."""
    order = [int(place) for place in np.argsort(-quality, kind="stable") if not np.isnan(quality[place])]
    count = min(_PICTURED, max(len(order) // 3, 1))
    if len(order) < 3:
        return order, [], []
    middle = (len(order) - count) // 2
    return order[:count], order[middle : middle + count], order[-count:]


def _extreme(cell: Cell, maps: MapSource, inputs: StudyInputs, facts: StoredColumns, place: int) -> Extreme:
    row = {name: values[place : place + 1].tolist()[0] for name, values in facts.items()}
    try:
        sample = cell.dataset.load(row["position"])
    except UnreadableImageError as error:
        raise XkdError(f"data: {error}; restore it and run the same command, which draws {EXTREMES}") from None
    preprocess, options = inputs.preprocess(cell.model), inputs.options
    made = explain(
        on_device(inputs.classifiers[cell.model], resolve_device(options.device)),
        [sample.image],
        [row["target"]],
        explainer=maps.explainer,
        preprocess=preprocess,
        ids=[row["id"]],
        masks=None if sample.mask is None else [sample.mask],
        device=options.device,
    )
    return Extreme(
        image=displayed(sample.image),
        map=made.maps[0],
        caption=_caption(inputs.classifiers[cell.model].class_name, row, _shown(cell, float(made.probabilities[0]))),
        mask=sample.mask,
        region=preprocess.region(sample.image.size),
    )


def _shown(cell: Cell, probability: float) -> str:
    """A probability by softmax, which says nothing where a photograph may hold several classes."""
    return f" {100 * probability:.0f} %" if cell.test.protocol.probability == "softmax" else ""


def _caption(name: Any, row: Mapping[str, Any], probability: str) -> str:
    caption = f"{name(row['target'])}{probability}"
    if row["label"] >= 0 and row["label"] not in (row["predicted"], row["target"]):
        caption += f" (is {name(row['label'])})"
    return caption
