"""The scores of a card: those of finished runs, and the accuracy that their rows say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xkd_eval.evaluations.scores import PHOTOGRAPH, ScoreSpec
from xkd_eval.statistics.bootstrap import clustered, scores_with_intervals
from xkd_eval.study.result import EvaluationResult

ACCURACY = ScoreSpec("accuracy", "accuracy", lambda means: means["right"], "higher", (0, 1), of_maps=False)


@dataclass(frozen=True)
class CardScore:
    """One score with all that says what it is of.

    Attributes:
        test: its name.
        protocol: name and hash of the rules; None of the accuracy, which is the same under all.
        maps: what was explained by; None of a score that no map changes.
        spec: of the score.
        value: as summary.json has it; None where it is undefined.
        interval: of 95 %; None where there is none.
        data: name, digest and number of images scored.
    """

    test: str
    protocol: tuple[str, str] | None
    maps: str | None
    spec: ScoreSpec
    value: float | None
    interval: tuple[float, float] | None
    data: tuple[str, str, int]

    @property
    def shown(self) -> str:
        """63.1 % (60.2 to 66.0)"""
        if self.value is None:
            return "undefined"
        unit = " %" if self.spec.unit == "%" else ""
        value, *bounds = map(self.spec.text, (self.value, *(self.interval or ())))
        return f"{value}{unit} ({' to '.join(bounds)})" if bounds else f"{value}{unit}"


def scores_of(results: Sequence[EvaluationResult]) -> list[CardScore]:
    """The accuracy of each data set, once, and the scores that stand in printed tables.

    Args:
        results: finished tests of one model.
    """
    found: dict[tuple[Any, ...], CardScore] = {}
    for result in results:
        accuracy = list(_accuracy(result))
        # What a test calls the accuracy on clean images is said once, by its common name.
        others = (score for score in _scores(result) if not any(_is_the_same(score, known) for known in accuracy))
        for score in (*accuracy, *others):
            found.setdefault((score.test, score.protocol, score.maps, score.spec.name, score.data), score)
    return list(found.values())


def _is_the_same(score: CardScore, accuracy: CardScore) -> bool:
    alike = (score.value, score.interval, score.data) == (accuracy.value, accuracy.interval, accuracy.data)
    return alike and not score.spec.of_maps


def _accuracy(result: EvaluationResult) -> Iterator[CardScore]:
    """Over the images that were scored; nothing where one has no label."""
    if not result.ids or (result.columns["label"] < 0).any():
        return
    columns = clustered({"right": result.right.astype(np.float64)}, result.columns.get(PHOTOGRAPH))
    (entry,) = scores_with_intervals(columns, {ACCURACY.name: ACCURACY.compute}).values()
    yield _score(result, ACCURACY, entry)


def _scores(result: EvaluationResult) -> Iterator[CardScore]:
    for spec in result.test.specs():
        entry = spec.of(result.summary)
        if spec.x is None and spec.is_at_least("shown") and entry is not None:
            yield _score(result, spec, entry)


def _score(result: EvaluationResult, spec: ScoreSpec, entry: dict[str, Any]) -> CardScore:
    summary = result.summary
    own = spec is not ACCURACY
    bounds = entry["ci95"]
    return CardScore(
        test=result.test_name if own else spec.name,
        protocol=(summary["protocol"]["name"], summary["protocol"]["hash"]) if own else None,
        maps=result.maps if own and spec.of_maps else None,
        spec=spec,
        value=entry["value"],
        interval=None if bounds is None or None in bounds else (bounds[0], bounds[1]),
        data=(summary["data"]["name"], summary["data"]["digest"], summary["n_images"]),
    )
