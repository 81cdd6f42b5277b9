"""What a reader sees first: how far each model is from the reference, score by score, drawn and as a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from xkd_eval.comparison.claims import SYMBOLS
from xkd_eval.comparison.headlines import Headline, foremost, headlines, heads_of, titles_of
from xkd_eval.comparison.result import Comparison

COLUMNS = 5
"""Scores that there is room for."""

_WORDS = {1: "better", -1: "worse", 0: "untold", None: "plain"}


@dataclass(frozen=True)
class Mark:
    """A model's cell of the forest plot.

    Attributes:
        value: the score itself, as text; "" where there is none.
        difference: from the reference, as text with its sign.
        symbol: of what is claimed.
        word: "better", "worse", "untold", or "plain" where nothing is held against the reference.
        place, low, high: of the difference, in percent of the column's width; None where nothing is drawn.
        said: for who cannot see the drawing.
        beaten_by: the floors that score better, joined by commas.
    """

    value: str
    difference: str = ""
    symbol: str = ""
    word: str = "plain"
    place: float | None = None
    low: float = 0.0
    high: float = 0.0
    said: str = ""
    beaten_by: str = ""


@dataclass(frozen=True)
class Forest:
    """A row a model, a column a headline score.

    Attributes:
        heads: of the columns.
        has_zero: of each, whether differences from the reference are drawn, about a line of zero.
        rows: model -> a mark a column, the reference first.
        won_by_floors: a sentence for each headline score, shown or not, on which maps that know nothing are better.
    """

    heads: tuple[str, ...]
    has_zero: tuple[bool, ...]
    rows: dict[str, tuple[Mark, ...]]
    won_by_floors: tuple[str, ...] = ()


def forest(comparison: Comparison) -> Forest:
    """Of the accuracy, the explanation's score, the agreement of maps, and as many others as there is room for."""
    known = headlines(comparison)
    chosen = foremost(known, COLUMNS)
    columns = [_marks(comparison, one) for one in chosen]
    return Forest(
        tuple(heads_of(chosen)),
        tuple(_is_held(comparison, one) for one in chosen),
        {model: tuple(marks[model] for marks in columns) for model in comparison.models},
        tuple(_won_by_floors(known)),
    )


def _won_by_floors(known: Sequence[Headline]) -> Iterator[str]:
    """Such a score says little of what a model's own maps have found."""
    for headline, name in zip(known, titles_of(known), strict=True):
        beaten = [(model, floors) for model in headline.values if (floors := _beaten_by(headline, model))]
        if beaten:
            models = " and ".join(f"{model} ({floors})" for model, floors in beaten)
            yield f"{name}: maps that know nothing of the model score better than the maps of {models}"


def _beaten_by(headline: Headline, model: str) -> str:
    row = headline.values.get(model)
    return "" if row is None else str(row.get("beaten_by") or "")


def _is_held(comparison: Comparison, headline: Headline) -> bool:
    """Whether models' differences from the reference are known."""
    reference, *students = comparison.models
    return any(headline.less(model, reference) is not None for model in students)


def _marks(comparison: Comparison, headline: Headline) -> dict[str, Mark]:
    """Of one column: the differences about zero, or the values themselves where the reference has none."""
    reference = comparison.models[0]
    held = _is_held(comparison, headline)
    bounds = {}
    for model in comparison.models:
        row = headline.less(model, reference) if held and model != reference else headline.values.get(model)
        if row is not None and not pd.isna(row["value"]) and not (held and model == reference):
            names = ("low_corrected", "high_corrected") if held else ("low", "high")
            low, high = (row["value"] if pd.isna(row[name]) else row[name] for name in names)
            bounds[model] = (row["value"], low, high)
    known = [number for numbers in bounds.values() for number in numbers]
    reach = max(map(abs, known), default=0.0) or 1.0
    if held:
        ends = (-reach, reach)
    else:  # from nothing to the best, or from the least where a model is below nothing
        most = headline.spec.range[1] if headline.spec.range is not None else None
        ends = (min([0.0, *known]), reach if most is None else most)
    marks = {
        model: _mark(headline, model, reference, bounds.get(model), ends, held=held) for model in comparison.models
    }
    return {model: replace(mark, beaten_by=_beaten_by(headline, model)) for model, mark in marks.items()}


def _mark(
    headline: Headline,
    model: str,
    reference: str,
    bounds: tuple[float, float, float] | None,
    column: tuple[float, float],
    *,
    held: bool,
) -> Mark:
    row = headline.values.get(model)
    if row is None:
        return Mark("")
    if pd.isna(row["value"]):
        return Mark("undefined")
    value = headline.number(row["value"])
    if bounds is None:
        return Mark(value)
    least, most = column
    place, low, high = (round(100 * (number - least) / (most - least), 1) for number in bounds)
    if not held:
        said = f"{headline.number(bounds[1])} to {headline.number(bounds[2])}"
        return Mark(value, place=place, low=low, high=high, said=said)
    claimed = headline.claim(model, reference)
    ends = " to ".join(headline.number(bound, signed=True) for bound in bounds[1:])
    return Mark(
        value,
        headline.number(bounds[0], signed=True),
        "" if claimed is None else SYMBOLS[claimed],
        _WORDS[claimed],
        place,
        low,
        high,
        f"{headline.points(bounds[0])}, interval {ends}",
    )
