"""A comparison as the tables of a page: labels, cells with intervals, what is a floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.subjects import COMMON
from xkd_eval.comparison.words import is_carried

SCORES = {
    "perturbation": {
        "clean_accuracy": "Accuracy",
        "positive.auc": "Positive AUC ↓",
        "positive.auc_relative": "… / (range × accuracy) ↓",
        "positive.auc_common": "… where all are right ↓",
        "negative.auc": "Negative AUC ↑",
        "negative.auc_relative": "… / (range × accuracy) ↑",
        "negative.auc_common": "… where all are right ↑",
    },
    "segmentation": {
        "pixel_accuracy": "Pixel accuracy ↑",
        "miou": "mIoU ↑",
        "map": "mAP (published rule) ↑",
        "foreground_ap": "Foreground AP ↑",
        "f1": "F1 over pixels ↑",
        "pointing_game": "Pointing game ↑",
        "energy_pointing_game": "Energy pointing game ↑",
    },
}
"""Test -> score -> the head of its column; arrows say which way is better."""

AGREEMENT = {
    "spearman": "Rank correlation ↑",
    "cosine": "Cosine ↑",
    "ssim": "SSIM ↑",
    "top20_iou": "IoU of the top 20 % ↑",
    "shared_saliency": "Shared saliency ↑",
    "js_divergence": "JS divergence, bits ↓",
    "peak_distance": "Distance of the maxima ↓",
}


@dataclass(frozen=True)
class Cell:
    """A figure and its interval, as text; empty where there is none."""

    value: str = ""
    interval: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        head: first cells.
        cells: figures.
        floor: of maps that know nothing of the model, or of the ceiling.
    """

    head: tuple[str, ...]
    cells: tuple[Cell, ...]
    floor: bool = False


@dataclass(frozen=True)
class Table:
    """Heads of the columns, and the rows."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def score_table(comparison: Comparison, test: str) -> Table | None:
    """A row a model, followed by its floors and ceiling; None where the test was not run."""
    return _wide(comparison, comparison.scores, SCORES[test], "score", 100)


def agreement_table(comparison: Comparison, of_class: str, outcome: str) -> Table | None:
    """A row a model and one a floor of the reference; None where nothing was measured."""
    table = comparison.agreement
    if not len(table):
        return None
    chosen = table[(table["of_class"] == of_class) & (table["outcome"] == outcome)]
    return _wide(comparison, chosen, AGREEMENT, "measure", 1, digits=2)


def difference_tables(comparison: Comparison) -> dict[str, Table]:
    """A row a score and pair, claims in bold: of models and the "reference", of "others", of maps and "floors"."""
    heads = {score for heads in SCORES.values() for score in heads}
    lines: dict[str, list[Line]] = {}
    for row in comparison.differences.to_dict("records"):
        if row["score"] in heads:
            floor = row["model"] == row["other"]
            pairs = "floors" if floor else "reference" if row["other"] == comparison.models[0] else "others"
            head = (_spelt(row["score"]), row["model"], f"{row['other_maps']} maps" if floor else row["other"])
            lines.setdefault(pairs, []).append(Line(head, (_cell(row, 100, signed=True), *_tests(row))))
    heads_of_columns = ("Score", "Model", "Less", "Difference, points", "p, Holm", "Effect")
    return {pairs: Table(heads_of_columns, tuple(found)) for pairs, found in lines.items()}


def transfer_table(comparison: Comparison) -> Table | None:
    """Who answers while whose maps choose the pixels: a model's own, another's, a floor's; None without transfer."""
    if not len(comparison.transfer):
        return None
    own = comparison.own(comparison.scores)
    rows = [row | {"maps_of": row["model"], "measured_on": row["model"]} for row in own.to_dict("records")]
    found: dict[tuple[str, str], dict[str, dict[Any, Any]]] = {}
    for row in (*rows, *comparison.transfer.to_dict("records")):
        found.setdefault((row["measured_on"], row["maps_of"]), {})[row["score"]] = row
    lines = [
        Line(
            (model, maps if maps in comparison.models else f"{maps} maps"),
            tuple(_cell(cells.get(score), 100) for score in COMMON),
            floor=maps not in comparison.models,
        )
        for model in comparison.models
        for (asked, maps), cells in found.items()
        if asked == model
    ]
    return Table(("Answers", "Maps of", *(_spelt(score) for score in COMMON)), tuple(lines))


def health_table(comparison: Comparison) -> Table:
    """What went wrong, or might have."""
    table = comparison.health
    lines = [
        Line(
            tuple(str(row[name]) for name in ("model", "test", "maps", "protocol")),
            (
                *(Cell(f"{row[name]:,}") for name in ("n_images", "skipped", "degenerate_maps")),
                Cell("" if pd.isna(row["tie_share"]) else f"{100 * row['tie_share']:.1f}"),
            ),
            floor=comparison.explainer is not None and row["maps"] != comparison.explainer,
        )
        for row in table.to_dict("records")
    ]
    heads = ("Model", "Test", "Maps", "Protocol", "Images", "Skipped", "Degenerate maps", "Tied pixels, %")
    return Table(heads, tuple(lines))


def facts(values: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested plain values as dotted names and texts."""
    if isinstance(values, Mapping):
        return [
            fact for name, value in values.items() for fact in facts(value, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [(path, ", ".join(str(value) for value in values))]
    return [(path, str(values))]


def _wide(
    comparison: Comparison, table: pd.DataFrame, heads: Mapping[str, str], key: str, scale: float, digits: int = 1
) -> Table | None:
    rows: dict[tuple[str, str], dict[str, dict[Any, Any]]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["model"], row["maps"]), {})[row[key]] = row
    present = [name for name in heads if any(name in found for found in rows.values())]
    if not present:
        return None
    place = {name: number for number, name in enumerate(comparison.models)}
    lines = [
        Line(
            _row_head(comparison, *names, next(iter(found.values()))),
            tuple(_cell(found.get(name), scale, digits=digits) for name in present),
            floor=comparison.explainer is not None and names[1] != comparison.explainer,
        )
        # The sort is stable: a model's own maps come first, as they did in the table.
        for names, found in sorted(rows.items(), key=lambda item: place[item[0][0]])
    ]
    if key == "measure":  # there the floors are not each model's, but the reference's alone
        lines.sort(key=lambda line: line.floor)
    return Table(("Model", "Maps", *(heads[name] for name in present)), tuple(lines))


def _row_head(comparison: Comparison, model: str, maps: str, row: Mapping[Any, Any]) -> tuple[str, str]:
    seeds = int(row.get("seeds", 1))
    return (f"{model}, {seeds} seeds" if seeds > 1 else model, maps)


def _cell(row: Mapping[Any, Any] | None, scale: float, *, digits: int = 1, signed: bool = False) -> Cell:
    if row is None:
        return Cell()
    if pd.isna(row["value"]):
        return Cell("undefined")
    sign = "+" if signed else ""

    def text(value: float) -> str:
        # Adding zero turns the -0.0 that rounding leaves into 0.0.
        return f"{round(scale * value, digits) + 0.0:{sign}.{digits}f}"

    if pd.isna(row["low"]):
        return Cell(text(row["value"]))
    return Cell(text(row["value"]), f"{text(row['low'])} to {text(row['high'])}", signed and is_carried(row))


def _tests(row: Mapping[Any, Any]) -> tuple[Cell, Cell]:
    p, effect = (row[name] for name in ("p_holm", "effect"))
    return (
        Cell("" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"),
        Cell("" if pd.isna(effect) else f"{effect + 0.0:+.2f}"),
    )


def _spelt(score: str) -> str:
    """The name of a score in full, as a row has room for it."""
    base, _, kind = score.partition(".")
    if not kind:
        heads = {name: head for heads in SCORES.values() for name, head in heads.items()}
        return heads[score]
    arrow = "↓" if base == "positive" else "↑"
    detail = {"auc": "", "auc_relative": " / (range × accuracy)", "auc_common": ", where all are right"}[kind]
    return f"{base.capitalize()} AUC{detail} {arrow}"
