"""The scores that much is made of, model by model: what stands first wherever a comparison is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from xkd_eval.comparison.agreement import ALL
from xkd_eval.comparison.claims import claim
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import WHERE_RIGHT, Row
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import ScoreSpec

_BOUNDS = {"low": "high", "high": "low", "low_corrected": "high_corrected", "high_corrected": "low_corrected"}


@dataclass(frozen=True)
class Headline:
    """A headline score of a comparison.

    Attributes:
        test: that measures it.
        spec: what is known of it.
        where_right: whether it is of the images that every model classifies correctly.
        values: model -> its row of Comparison.scores, or of Comparison.agreement.
        differences: (model, other) -> its row of Comparison.differences.
    """

    test: Evaluation
    spec: ScoreSpec
    where_right: bool
    values: Mapping[str, Row]
    differences: Mapping[tuple[str, str], Row]

    @property
    def title(self) -> str:
        """The score's heading."""
        return self.spec.heading

    @property
    def is_of_agreement(self) -> bool:
        """Whether it holds a model against the reference, which has none then."""
        return self.test.needs_reference or self.test.is_of_pairs()

    def less(self, model: str, other: str) -> Row | None:
        """The difference of two models, the first less the second; None where there is none."""
        if (model, other) in self.differences:
            return self.differences[model, other]
        turned = self.differences.get((other, model))
        if turned is None:
            return None
        signs = {name: -turned[name] for name in ("value", "effect") if not pd.isna(turned[name])}
        bounds = {name: -turned[found] for name, found in _BOUNDS.items() if not pd.isna(turned[found])}
        maps = {"maps": turned["other_maps"], "other_maps": turned["maps"]}
        return {**turned, "model": model, "other": other, **maps, **signs, **bounds}

    def claim(self, model: str, other: str) -> int | None:
        """1 where the model is better than the other, -1 worse, 0 where that is not told; None if undefined.

        Nor is there a claim where neither direction is better.
        """
        row = self.less(model, other)
        return None if row is None or pd.isna(row["value"]) or not self.spec.sign else claim(row, self.spec)

    def best_first(self, models: Sequence[str]) -> list[str]:
        """Those of the models that have a value, the best first."""
        known = [model for model in models if model in self.values and not pd.isna(self.values[model]["value"])]
        return sorted(known, key=lambda model: -self.spec.sign * self.values[model]["value"])

    def number(self, value: float, *, signed: bool = False) -> str:
        """A value as it is shown."""
        return self.spec.text(value, signed=signed)

    def points(self, value: float) -> str:
        """A difference in words: "+1.2 points"."""
        return f"{self.number(value, signed=True)}{' points' if self.spec.unit == '%' else ''}"


def headlines(result: Comparison) -> list[Headline]:
    """All of them: each test's in the order of the tests, agreement of maps last."""
    tests = sorted(result.tests.values(), key=lambda test: test.is_of_pairs())
    found = [
        _headline(result, test, spec)
        for test in tests
        for spec in test.specs()
        if spec.x is None and spec.is_at_least("headline")
    ]
    return [headline for headline in found if headline.values]


def foremost(found: Sequence[Headline], count: int) -> list[Headline]:
    """Those that a first screen has room for: the answers' and the maps' first, the agreement last.

    Args:
        found: all of them.
        count: at most, but for these three.
    """
    answers, maps, agreement = first_of_answers(found), first_of_maps(found), first_of_agreement(found)
    known = [one for one in (answers, maps, agreement) if one is not None]
    # Those of which neither direction is better come after the others.
    rest = sorted((one for one in found if one not in known), key=lambda one: not one.spec.sign)
    room = max(count - len(known), 0)
    return [*(one for one in (answers, maps) if one), *rest[:room], *([agreement] if agreement else [])]


def heads_of(found: Sequence[Headline]) -> list[str]:
    """Of columns; two tests' scores of one title are told apart by their tests."""
    return [
        f"{one.spec.head}{test}{' *' if one.where_right else ''}"
        for one, test in zip(found, _tests_of(found), strict=True)
    ]


def titles_of(found: Sequence[Headline]) -> list[str]:
    """Within sentences, told apart likewise."""
    return [f"{one.title}{test}" for one, test in zip(found, _tests_of(found), strict=True)]


def _tests_of(found: Sequence[Headline]) -> list[str]:
    titles = Counter(one.spec.head for one in found)
    return [f" ({one.test.title.lower()})" if titles[one.spec.head] > 1 else "" for one in found]


def first_of_answers(found: Sequence[Headline]) -> Headline | None:
    """The score that says how good a model's answers are, such as the accuracy."""
    return next((one for one in found if not one.spec.of_maps and not one.is_of_agreement and one.spec.sign), None)


def first_of_maps(found: Sequence[Headline]) -> Headline | None:
    """The score that says how well a model explains itself."""
    return next((one for one in found if one.spec.of_maps and not one.is_of_agreement and one.spec.sign), None)


def first_of_agreement(found: Sequence[Headline]) -> Headline | None:
    """The score that says how far a model's maps are the reference's."""
    return next((one for one in found if one.test.is_of_pairs() and one.spec.sign), None)


def _headline(result: Comparison, test: Evaluation, spec: ScoreSpec) -> Headline:
    right = f"{spec.name}{WHERE_RIGHT}"
    # What grows with accuracy is compared where all models are right.
    table = result.scores
    known = set(zip(table["test"], table["score"], strict=True)) if len(table) else set()
    where_right = spec.where_right and (test.name, right) in known
    score = right if where_right else spec.name
    values = {row["model"]: row for row in _values(result, test, score)}
    differences = {
        (row["model"], row["other"]): row
        for row in result.differences.to_dict("records")
        if (row["test"], row["score"]) == (test.name, score) and row["model"] != row["other"]
    }
    return Headline(test, spec, where_right, values, differences)


def _values(result: Comparison, test: Evaluation, score: str) -> Iterator[dict[Any, Any]]:
    if test.is_of_pairs():
        table = result.agreement
        if len(table):
            table = table[(table["outcome"] == ALL) & (table["target"] != "reference") & (table["measure"] == score)]
    else:
        table = result.scores
        table = table[table["score"] == score] if len(table) else table
    if not len(table):
        return
    table = table[table["test"] == test.name]
    for row in result.own(table).to_dict("records"):
        if row["model"] != result.models[0] or not test.is_of_pairs():
            yield row
