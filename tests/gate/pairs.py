"""Pairs of results with rows that are given, for scores whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from xkd_eval.comparison.groups import SeedGroup
from xkd_eval.evaluations import Evaluation, Rules, ScoreSpec
from xkd_eval.gate.margins import AskedScore
from xkd_eval.gate.verdicts import ScoreVerdict, verdict_of
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.rows import Rows


def column(values):
    return values["value"]


class Given(Evaluation):
    """The mean of values that are given."""

    name, title, citation, needs_maps = "given", "Given", "for the test", False

    def __init__(self, better="higher", unit="%", span=(0, 1), per_image=column) -> None:
        super().__init__(Rules())
        self.spec_given = ScoreSpec(
            "mean", "mean", column, better=better, unit=unit, range=span, role="headline", per_image=per_image
        )

    def rows(self, batch):
        raise NotImplementedError

    def specs(self):
        return (self.spec_given,)


def group(name: str, values, test: Evaluation) -> SeedGroup:
    """One model's values, an image each."""
    ids = [f"{number:06d}" for number in range(len(values))]
    skipped = pa.array([None] * len(ids), pa.string())
    rows = pa.table({"id": ids, "skipped": skipped, "value": np.asarray(values)})
    return SeedGroup.of(name, [EvaluationResult(name, "none", test, test.name, {}, {}, Rows.of(rows), None)], 0)


def verdict(baseline, candidate, margin=2.0, n_asked=1, same=False, **test) -> ScoreVerdict:
    """On the mean of the candidate's values beside the baseline's."""
    given = Given(**test)
    asked = AskedScore("given", given.specs()[0], False, margin)
    groups = group("baseline", baseline, given), group("candidate", candidate, given)
    return verdict_of(asked, *groups, n_asked, len(baseline), same=same)


def hits(both: int, worse: int, better: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The baseline's hits and the candidate's: on how many images both hit, and one alone."""
    counts = (both, worse, better, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)
