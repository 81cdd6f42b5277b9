"""One sentence: which model explains itself best, is the most accurate, and looks most where the reference looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from xkd_eval.comparison.headlines import (
    Headline,
    first_of_agreement,
    first_of_answers,
    first_of_maps,
    headlines,
)
from xkd_eval.comparison.result import Comparison

_BEGINNINGS = ("of the students", "the images")


def verdict(result: Comparison) -> str:
    """What the images carry of it; no claim that the intervals do not carry."""
    found = headlines(result)
    reference, *students = result.models
    asked = {
        "explains itself best": first_of_maps(found),
        "is the most accurate": first_of_answers(found),
        f"looks most where {reference} looks": first_of_agreement(found),
    }
    known = {does: headline for does, headline in asked.items() if headline is not None}
    parts = list(_among(known, students) if len(students) > 1 else _beside(found, students[0], reference))
    if not parts:
        return f"Nothing says which of {_joined(result.models)} is better."
    said = f"{'; '.join(parts)}."
    # A model's name stays as it is.
    return f"{said[0].upper()}{said[1:]}" if said.startswith(_BEGINNINGS) else said


def _among(known: Mapping[str, Headline], students: list[str]) -> Iterator[str]:
    """Each question's best student, or those of whom one is the best."""
    said: dict[str, list[str]] = {}
    undecided = []
    shared = []
    for does, headline in known.items():
        first, *others = headline.best_first(students) or [""]
        beaten = [other for other in others if headline.claim(first, other) == 1]
        if not beaten:
            undecided.append(does)
        elif len(beaten) == len(others):
            said.setdefault(first, []).append(f"{does} ({_ahead(headline, first, others[0])})")
        else:
            level = [first, *(other for other in others if other not in beaten)]
            # Each on its own: the one of them that leads in this need not be the one that leads in that.
            shared.append(f"{_joined(level, 'or')} {does}")
    best = [*(f"{who} {_joined(all_that)}" for who, all_that in said.items()), *shared]
    if best:
        # The reference is not asked, and may be better than all of them.
        yield f"of the students, {'; '.join(best)}"
    if undecided:
        yield f"the images do not tell which student {_joined(undecided, 'or')}"


def _ahead(headline: Headline, first: str, second: str) -> str:
    """By how much the best is better than the next."""
    row = headline.less(first, second)
    if headline.spec.unit == "%" and row is not None:
        return f"{headline.points(row['value'])} on {second}"
    ours, theirs = (headline.number(headline.values[model]["value"]) for model in (first, second))
    return f"{ours}, {second} {theirs}"


def _beside(found: list[Headline], student: str, reference: str) -> Iterator[str]:
    """A single student beside the reference."""
    asked = {
        "explains itself {} than": ("better", "worse", first_of_maps(found)),
        "is {} accurate than": ("more", "less", first_of_answers(found)),
    }
    for does, (better, worse, headline) in asked.items():
        if headline is None:
            continue
        row, said = headline.less(student, reference), headline.claim(student, reference)
        if row is None or said is None:
            yield f"{headline.spec.title} is undefined"
        elif row["low"] == row["high"] == 0:
            yield f"{student} and {reference} have the same {headline.spec.title}"
        elif said == 0:
            yield f"the images do not tell whether {student} {does.format(better)} {reference}"
        else:
            held = does.format(better if said > 0 else worse)
            yield f"{student} {held} {reference} ({headline.points(row['value'])})"
    agreement = first_of_agreement(found)
    if agreement is not None and student in agreement.values:
        value = agreement.values[student]["value"]
        shown = "undefined" if pd.isna(value) else agreement.number(value)
        yield f"{agreement.spec.title} of their maps: {shown}"


def _joined(names: list[str] | tuple[str, ...], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
