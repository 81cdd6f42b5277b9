"""The figures of a run directory: curves from the summary, and the best, median and worst maps from the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xkd_eval.devices import resolve_device
from xkd_eval.engines.eager import on_device
from xkd_eval.explanations.explain import explain
from xkd_eval.figures.curves import Curve, perturbation_curves, precision_recall_curve
from xkd_eval.figures.extremes import Extreme, extremes_figure
from xkd_eval.figures.style import save_figure
from xkd_eval.runner import Job, scored_rows

_PICTURED = 4


def write_figures(directory: Path, job: Job, summary: dict[str, Any], rows: pa.Table, device: str = "auto") -> None:
    """Write what `directory` lacks of perturbation_curves.pdf or precision_recall.pdf, and extremes.png.

    A figure of which nothing is defined, as of a set without a single object, is left out.
    """
    curves = directory / ("perturbation_curves.pdf" if summary["test"] == "perturbation" else "precision_recall.pdf")
    if not curves.exists():
        save_figure(
            _perturbation(summary) if summary["test"] == "perturbation" else _precision_recall(summary, rows), curves
        )
    scored = scored_rows(rows)
    chosen = _extreme_positions(image_scores(scored, summary["test"]))
    if any(chosen) and not (directory / "extremes.png").exists():
        job = replace(job, classifier=on_device(job.classifier, resolve_device(device)))
        best, median, worst = ([_extreme(job, scored, place, device) for place in places] for places in chosen)
        save_figure(extremes_figure(best, median, worst), directory / "extremes.png")


def image_scores(rows: pa.Table, test: str) -> np.ndarray:
    """(n,) what ranks the maps of a run, higher is better; NaN where undefined.

    Perturbation: the explained class's mean probability while irrelevant pixels go, minus while relevant ones go (one
    direction alone where only that was run). Segmentation: the foreground's average precision.
    """
    if test == "segmentation":
        return rows["foreground_ap"].to_numpy()
    score = np.zeros(rows.num_rows)
    for direction, sign in (("positive", -1.0), ("negative", 1.0)):
        name = f"{direction}_probability"
        if name in rows.column_names:
            score += sign * np.stack(rows[name].to_numpy()).mean(1)
    return score


def _perturbation(summary: dict[str, Any]) -> Any:
    directions: dict[str, list[Curve]] = {}
    for direction in ("positive", "negative"):
        if direction in summary:
            scores = summary[direction]["curve"]
            directions[direction] = [
                Curve(
                    name=summary["explainer"]["name"],
                    x=summary["fractions"],
                    y=[score["value"] for score in scores],
                    low=[score["ci95"][0] for score in scores],
                    high=[score["ci95"][1] for score in scores],
                    score=summary[direction]["auc"]["value"],
                )
            ]
    return perturbation_curves(directions, summary["model"]["num_classes"])


def _precision_recall(summary: dict[str, Any], rows: pa.Table) -> Any:
    scored = scored_rows(rows)
    objects, background = (sum(scored[f"{kind}_pixels"].to_pylist()) for kind in ("object", "background"))
    points = summary["precision_recall"]
    # Beyond the last occupied bin nothing is recalled, and precision says nothing.
    found = [place for place, recall in enumerate(points["recall"]) if recall > 0]
    curve = Curve(
        name=summary["explainer"]["name"],
        x=[points["recall"][place] for place in found],
        y=[points["precision"][place] for place in found],
    )
    return precision_recall_curve([curve], objects / max(objects + background, 1))


def _extreme_positions(scores: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Rows of the best, the median and the worst maps, disjoint."""
    order = [int(place) for place in np.argsort(-scores, kind="stable") if not np.isnan(scores[place])]
    count = min(_PICTURED, max(len(order) // 3, 1))
    if len(order) < 3:
        return order, [], []
    middle = (len(order) - count) // 2
    return order[:count], order[middle : middle + count], order[-count:]


def _extreme(job: Job, rows: pa.Table, place: int, device: str) -> Extreme:
    row = {name: rows[name][place].as_py() for name in ("position", "id", "explained", "predicted", "label")}
    sample = job.dataset.load(row["position"])
    made = explain(
        job.classifier,
        [sample.image],
        [row["explained"]],
        explainer=job.explainer,
        preprocess=job.preprocess,
        ids=[row["id"]],
        masks=None if sample.mask is None else [sample.mask],
        device=device,
    )
    return Extreme(
        image=np.asarray(sample.image),
        map=made.maps[0],
        caption=_caption(job, row, float(made.probabilities[0])),
        mask=sample.mask,
        region=job.preprocess.region(sample.image.size),
    )


def _caption(job: Job, row: dict[str, Any], probability: float) -> str:
    name = job.classifier.class_name
    caption = f"{name(row['explained'])} {100 * probability:.0f} %"
    if row["label"] >= 0 and row["label"] != row["predicted"]:
        caption += f" (is {name(row['label'])})"
    return caption
