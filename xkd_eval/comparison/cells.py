"""Cells of tables to be read: figures as text with their intervals, and where they lie among the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from xkd_eval.comparison.claims import is_claimed
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.study.floors import FLOORS, ORACLE


@dataclass(frozen=True)
class Column:
    """A score as a column: its head, and how its figures are shown."""

    head: str
    spec: ScoreSpec


@dataclass(frozen=True)
class Band:
    """Where a figure lies among the others of its column, in percent of the column's span.

    Attributes:
        value, low, high: the figure and its interval.
        floor: least and greatest of the maps that know nothing of this model; None where there are none.
        masks: of the objects' masks themselves; None where there are none.
    """

    value: float
    low: float
    high: float
    floor: tuple[float, float] | None
    masks: float | None


@dataclass(frozen=True)
class Cell:
    """A figure and its interval, as text; empty where there is none.

    Attributes:
        value, interval: the texts.
        marked: whether a difference is claimed.
        beaten_by: the floors that score better.
        symbol: of `SYMBOLS`, beside the reference; "" where that is not asked.
        band: where it lies among the others; None where nothing is drawn.
    """

    value: str = ""
    interval: str = ""
    marked: bool = False
    beaten_by: str = ""
    symbol: str = ""
    band: Band | None = None


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        head: first cells.
        cells: figures.
        floor: of maps that know nothing of the model, or of the masks.
    """

    head: tuple[str, ...]
    cells: tuple[Cell, ...]
    floor: bool = False


@dataclass(frozen=True)
class Table:
    """Heads of the columns, and the rows."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def span_of(rows: Iterable[Mapping[Any, Any] | None], is_own: Callable[[str], bool]) -> tuple[float, float]:
    """The least and the greatest of a column's figures, and of the bounds of models' own maps."""
    known = [
        row[bound]
        for row in rows
        if row is not None
        for bound in ("value", *(("low", "high") if is_own(row["maps"]) else ()))
        if not pd.isna(row[bound])
    ]
    return (min(known), max(known)) if known else (0.0, 0.0)


def band_of(
    row: Mapping[Any, Any] | None,
    span: tuple[float, float],
    rows: Mapping[tuple[str, str], Mapping[str, Mapping[Any, Any]]],
    model: str,
    name: str,
    *,
    of_maps: bool = True,
) -> Band | None:
    """Where a model's figure lies among the others of its column.

    Args:
        row: of the figure.
        span: of the column.
        rows: (model, maps) -> score -> row, the floors' among them.
        model, name: of the row, and of its score.
        of_maps: whether the score depends on maps; no floor stands beside one that does not.
    """
    least, most = span
    if row is None or pd.isna(row["value"]) or not most > least:
        return None

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 1)

    beside = {
        maps: found[name]["value"]
        for (owner, maps), found in rows.items()
        if of_maps and owner == model and name in found
    }
    floors = [place(beside[maps]) for maps in FLOORS if maps in beside and not pd.isna(beside[maps])]
    low, high = (row["value"] if pd.isna(row[bound]) else row[bound] for bound in ("low", "high"))
    return Band(
        place(row["value"]),
        place(low),
        place(high),
        (min(floors), max(floors)) if floors else None,
        place(beside[ORACLE]) if ORACLE in beside and not pd.isna(beside[ORACLE]) else None,
    )


def cell_of(row: Mapping[Any, Any] | None, spec: ScoreSpec, *, signed: bool = False) -> Cell:
    if row is None:
        return Cell()
    if pd.isna(row["value"]):
        return Cell("undefined")
    text = partial(spec.text, signed=signed)
    beaten = str(row.get("beaten_by") or "")
    if pd.isna(row["low"]):
        return Cell(text(row["value"]), beaten_by=beaten)
    # Of a difference the interval by which it is claimed, which holds together with those of the other pairs.
    low, high = ("low_corrected", "high_corrected") if signed else ("low", "high")
    interval = f"{text(row[low])} to {text(row[high])}"
    return Cell(text(row["value"]), interval, signed and is_claimed(row), beaten)
