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
    parts = list(_among(_asked(found, reference), students) if students[1:] else _beside(found, students[0], reference))
    if not parts:
        return f"Nothing says which of {_joined(result.models)} is better."
    said = f"{'; '.join(parts)}."
    # A model's name stays as it is.
    return f"{said[0].upper()}{said[1:]}" if said.startswith(_BEGINNINGS) else said


def _maps_headline(found: list[Headline]) -> Headline | None:
    """What explanations are held to; not where it grows with accuracy, and no image is right for all models."""
    headline = first_of_maps(found)
    return None if headline is None or (headline.spec.where_right and not headline.where_right) else headline


def _asked(found: list[Headline], reference: str) -> dict[str, Headline]:
    """What may be said of a student -> by which score."""
    asked = {
        "explains itself best": _maps_headline(found),
        "is the most accurate": first_of_answers(found),
        f"looks most where {reference} looks": first_of_agreement(found),
    }
    known = {does: headline for does, headline in asked.items() if headline is not None}
    return known or {f"has the best {one.spec.title}": one for one in found if one.spec.sign}


def _among(known: Mapping[str, Headline], students: list[str]) -> Iterator[str]:
    """Each question's best student, or those of whom one is the best."""
    said: dict[str, list[str]] = {}
    undecided = []
    for does, headline in known.items():
        # Which score it is goes without saying of accuracy alone.
        named = f"{headline.spec.title} " if headline.spec.of_maps and headline.spec.title not in does else ""
        first, *others = headline.best_first(students) or [""]
        beaten = [other for other in others if headline.claim(first, other) == 1]
        if not beaten or len(others) + 1 < len(students):  # one that has no value may be the best
            undecided.append(does)
        elif len(beaten) == len(others):
            said.setdefault(first, []).append(f"{does} ({named}{_ahead(headline, first, others[0])})")
        else:
            level = [first, *(other for other in others if other not in beaten)]
            by = f" (by {named.strip()})" if named else ""
            # Each on its own: the one of them that leads in this need not be the one that leads in that.
            said[f"{_joined(level, 'or')} {does}{by}"] = []
    if said:
        # The reference is not asked, and may be better than all of them.
        yield f"of the students, {'; '.join(f'{who} {_joined(does)}' if does else who for who, does in said.items())}"
    if undecided:
        yield f"the images do not tell which student {_joined(undecided, 'or')}"


def _ahead(headline: Headline, first: str, second: str) -> str:
    """By how much the best is better than the next."""
    row = headline.less(first, second)
    if headline.spec.unit == "%" and row is not None:
        return f"{headline.points(row['value'])} against {second}"
    ours, theirs = (headline.number(headline.values[model]["value"]) for model in (first, second))
    return f"{ours}, {second} {theirs}"


def _beside(found: list[Headline], student: str, reference: str) -> Iterator[str]:
    """A single student beside the reference."""
    maps, answers, agreement = _maps_headline(found), first_of_answers(found), first_of_agreement(found)
    asked = {"explains itself {}": ("better", "worse", maps), "is {} accurate": ("more", "less", answers)}
    if maps is answers is None:
        asked = {f"has a {{}} {one.spec.title}": ("better", "worse", one) for one in found if one.spec.sign}
    undecided = []
    for does, (better, worse, headline) in asked.items():
        if headline is None:
            continue
        row, said = headline.less(student, reference), headline.claim(student, reference)
        if row is None or said is None:
            yield f"{headline.spec.title} is undefined"
        elif row["low"] == row["high"] == 0:
            yield f"{student} and {reference} have the same {headline.spec.title}"
        elif said == 0:
            undecided.append(does.format(better))
        else:
            named = f"{headline.spec.title} " if headline.spec.of_maps and headline.spec.title not in does else ""
            held = does.format(better if said > 0 else worse)
            yield f"{student} {held} than {reference} ({named}{headline.points(row['value'])})"
    if undecided:
        yield f"the images do not tell whether {student} {_joined(undecided, 'or')} than {reference}"
    if agreement is not None and student in agreement.values:
        value = agreement.values[student]["value"]
        shown = "undefined" if pd.isna(value) else agreement.number(value)
        yield f"{agreement.spec.title} of their maps: {shown}"


def _joined(names: list[str] | tuple[str, ...], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
