"""A comparison as the tables of a page: labels, cells with intervals, what is a floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from xkd_eval.comparison.findings import is_carried
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.evaluations.scores import ScoreSpec


@dataclass(frozen=True)
class Column:
    """A score as a column: its head, and how its figures are shown."""

    head: str
    spec: ScoreSpec


@dataclass(frozen=True)
class Cell:
    """A figure and its interval, as text; empty where there is none.

    Attributes:
        value, interval: the texts.
        marked: a difference that the interval carries.
        beaten_by: the floors that score better.
    """

    value: str = ""
    interval: str = ""
    marked: bool = False
    beaten_by: str = ""


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


def score_tables(comparison: Comparison) -> dict[str, Table]:
    """Title of a test -> a row a model, followed by its floors and ceiling."""
    tables = {}
    for name, test in comparison.tests.items():
        columns: dict[str, Column] = {}
        for spec in test.specs():
            if spec.x is None and spec.is_at_least("shown"):
                columns[spec.name] = Column(spec.head, spec)
                columns[f"{spec.name}{WHERE_RIGHT}"] = Column("… where all are right", spec)
        rows = comparison.scores
        table = _wide(comparison, rows[rows["test"] == name], columns, "score")
        if table is not None:
            tables[test.title] = table
    return tables


def agreement_table(comparison: Comparison, target: str, outcome: str) -> Table | None:
    """A row a model and one a floor of the reference; None where nothing was measured.

    Args:
        comparison: with its agreement.
        target: the class that is explained.
        outcome: by who is right.
    """
    table = comparison.agreement
    if not len(table):
        return None
    chosen = table[(table["target"] == target) & (table["outcome"] == outcome)]
    columns = {
        spec.name: Column(spec.head, spec)
        for test in comparison.tests.values()
        if test.is_of_pairs()
        for spec in test.specs()
        if spec.is_at_least("shown")
    }
    return _wide(comparison, chosen, columns, "measure")


def difference_tables(comparison: Comparison) -> dict[str, Table]:
    """A row a score and pair, claims in bold: of models and the "reference", of "others", of maps and "floors"."""
    lines: dict[str, list[Line]] = {}
    for row in comparison.differences.to_dict("records"):
        spec = comparison.spec(row["score"], row["test"])
        if spec is not None and spec.is_at_least("shown"):
            floor = row["model"] == row["other"]
            pairs = "floors" if floor else "reference" if row["other"] == comparison.models[0] else "others"
            head = (_spelt(spec, row["score"]), row["model"], f"{row['other_maps']} maps" if floor else row["other"])
            lines.setdefault(pairs, []).append(Line(head, (_cell(row, spec, signed=True), *_tests(row))))
    heads_of_columns = ("Score", "Model", "Less", "Difference", "p, Holm", "Effect")
    return {pairs: Table(heads_of_columns, tuple(found)) for pairs, found in lines.items()}


def transfer_table(comparison: Comparison) -> Table | None:
    """Who answers while whose maps choose the pixels: a model's own, another's, a floor's; None without transfer."""
    if not len(comparison.transfer):
        return None
    columns = {
        (test, score): spec
        for test, score in dict.fromkeys(zip(comparison.transfer["test"], comparison.transfer["score"], strict=True))
        if (spec := comparison.spec(score, test)) is not None
    }
    own = comparison.own(comparison.scores)
    rows = [row | {"maps_of": row["model"], "measured_on": row["model"]} for row in own.to_dict("records")]
    found: dict[tuple[str, str], dict[tuple[str, str], dict[Any, Any]]] = {}
    for row in (*rows, *comparison.transfer.to_dict("records")):
        found.setdefault((row["measured_on"], row["maps_of"]), {})[row["test"], row["score"]] = row
    lines = [
        Line(
            (model, maps if maps in comparison.models else f"{maps} maps"),
            tuple(_cell(cells.get(name), spec) for name, spec in columns.items()),
            floor=maps not in comparison.models,
        )
        for model in comparison.models
        for (asked, maps), cells in found.items()
        if asked == model
    ]
    return Table(("Answers", "Maps of", *(spec.head for spec in columns.values())), tuple(lines))


def score_agreement_table(comparison: Comparison) -> Table | None:
    """A row a pair of scores, a column a model: do two tests rank the images alike? None for a single test."""
    table = comparison.score_agreement
    if not len(table):
        return None
    models = list(dict.fromkeys(table["model"]))
    pairs: dict[tuple[str, str], dict[str, Cell]] = {}
    for row in table.to_dict("records"):
        names = [(row["test"], row["score"]), (row["other_test"], row["other_score"])]
        first, second = (_pair_head(comparison, *name) for name in names)
        pairs.setdefault((first, second), {})[row["model"]] = _correlation(row)
    lines = [Line(heads, tuple(cells.get(model, Cell()) for model in models)) for heads, cells in pairs.items()]
    return Table(("Score", "and", *models), tuple(lines))


def _pair_head(comparison: Comparison, test: str, score: str) -> str:
    spec = comparison.spec(score, test)
    return score if spec is None else spec.heading


def _correlation(row: Mapping[Any, Any]) -> Cell:
    if pd.isna(row["spearman"]):
        return Cell("undefined")
    shown = f"{row['spearman'] + 0.0:.2f}"
    return Cell(shown) if pd.isna(row["low"]) else Cell(shown, f"{row['low']:.2f} to {row['high']:.2f}")


def health_table(comparison: Comparison) -> Table:
    """What went wrong, or might have."""
    table = comparison.health
    lines = [
        Line(
            tuple(str(row[name]) for name in ("model", "test", "maps", "protocol")),
            (*(Cell(f"{row[name]:,}") for name in ("n_images", "skipped", "degenerate_maps")), Cell(row["notes"])),
            floor=not comparison.is_own(row["maps"]),
        )
        for row in table.to_dict("records")
    ]
    heads = ("Model", "Test", "Maps", "Protocol", "Images", "Skipped", "Degenerate maps", "Notes")
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


def _wide(comparison: Comparison, table: pd.DataFrame, columns: Mapping[str, Column], key: str) -> Table | None:
    """A row a model and kind of maps, a column a score that is there."""
    rows: dict[tuple[str, str], dict[str, dict[Any, Any]]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["model"], row["maps"]), {})[row[key]] = row
    present = [name for name in columns if any(name in found for found in rows.values())]
    if not present:
        return None
    place = {name: number for number, name in enumerate(comparison.models)}
    lines = [
        Line(
            _row_head(comparison, *names, next(iter(found.values()))),
            tuple(_cell(found.get(name), columns[name].spec) for name in present),
            floor=not comparison.is_own(names[1]),
        )
        # The sort is stable: a model's own maps come first, as they did in the table.
        for names, found in sorted(rows.items(), key=lambda item: place[item[0][0]])
    ]
    if key == "measure":  # there the floors are not each model's, but the reference's alone
        lines.sort(key=lambda line: line.floor)
    return Table(("Model", "Maps", *(columns[name].head for name in present)), tuple(lines))


def _row_head(comparison: Comparison, model: str, maps: str, row: Mapping[Any, Any]) -> tuple[str, str]:
    seeds = int(row.get("seeds", 1))
    return (f"{model}, {seeds} seeds" if seeds > 1 else model, maps)


def _cell(row: Mapping[Any, Any] | None, spec: ScoreSpec, *, signed: bool = False) -> Cell:
    if row is None:
        return Cell()
    if pd.isna(row["value"]):
        return Cell("undefined")
    sign, digits = "+" if signed else "", 1 if spec.unit == "%" else 2

    def text(value: float) -> str:
        # Adding zero turns the -0.0 that rounding leaves into 0.0.
        return f"{round(spec.scale * value, digits) + 0.0:{sign}.{digits}f}"

    beaten = str(row.get("beaten_by") or "")
    if pd.isna(row["low"]):
        return Cell(text(row["value"]), beaten_by=beaten)
    interval = f"{text(row['low'])} to {text(row['high'])}"
    return Cell(text(row["value"]), interval, signed and is_carried(row), beaten)


def _tests(row: Mapping[Any, Any]) -> tuple[Cell, Cell]:
    p, effect = (row[name] for name in ("p_holm", "effect"))
    return (
        Cell("" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"),
        Cell("" if pd.isna(effect) else f"{effect + 0.0:+.2f}"),
    )


def _spelt(spec: ScoreSpec, score: str) -> str:
    """A score's heading in full, as a row has room for it."""
    if score == spec.name:
        return spec.head
    arrow = spec.head.removeprefix(spec.heading)
    return f"{spec.heading}, where all are right{arrow}"
