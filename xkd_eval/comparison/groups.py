"""What is compared: the results of a model under one kind of maps, its training seeds together, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import differing_fields
from xkd_eval.evaluations.scores import PHOTOGRAPH, ScoreSpec
from xkd_eval.statistics.intervals import LEVEL, Interval, corrected_level, widened
from xkd_eval.statistics.paired import Resamples, hierarchical_interval, hierarchical_intervals
from xkd_eval.study.result import EvaluationResult


@dataclass(frozen=True)
class SeedGroup:
    """A model under one kind of maps: one result, or one a training seed, all on the same images.

    Attributes:
        name: the model's, or its group's.
        results: one a training seed.
        draws: of each, paired with every other group's.
        seed: of the draws of training seeds.
    """

    name: str
    results: tuple[EvaluationResult, ...]
    draws: tuple[Resamples, ...]
    seed: int

    @classmethod
    def of(cls, name: str, results: Sequence[EvaluationResult], seed: int) -> SeedGroup:
        """Of the results of one model's training seeds, with bootstrap draws of their images by `seed`."""
        draws = tuple(
            Resamples.of(result.test.columns(result.columns), clusters=result.columns.get(PHOTOGRAPH), seed=seed)
            for result in results
        )
        return cls(name, tuple(results), draws, seed)

    @property
    def maps(self) -> str:
        """The name of the explainer."""
        return self.results[0].maps

    @property
    def test(self) -> Evaluation:
        """The test of all of them."""
        return self.results[0].test

    def specs(self) -> list[ScoreSpec]:
        """The compared scores that every seed has: a run of one direction lacks the other's."""
        first, *others = ({spec.name: spec for spec in result.test.specs()} for result in self.results)
        return [
            spec
            for name, spec in first.items()
            if spec.is_at_least("compared") and all(name in known for known in others)
        ]

    def restricted(self, ids: Sequence[str]) -> SeedGroup:
        """The same group on the images of these ids alone, drawn anew."""
        return SeedGroup.of(self.name, [result.restricted(ids) for result in self.results], self.seed)

    def interval(self, spec: ScoreSpec, point: int | None = None) -> Interval:
        """A score's value with its interval: over images, and over seeds where there are several.

        Args:
            spec: of the score.
            point: of a curve.
        """
        score = spec.compute if point is None else lambda means: spec.compute(means)[:, point]
        if len(self.draws) == 1:
            return self.draws[0].interval(score)
        return _within(spec, hierarchical_interval(self.draws, score, seed=self.seed))

    def difference(self, other: SeedGroup, spec: ScoreSpec, comparisons: int = 1) -> tuple[Interval, Interval]:
        """This model's score less the other's, paired over images.

        Args:
            other: on the same images.
            spec: of the score.
            comparisons: how many differences are claimed by their intervals together with this one.

        Returns:
            Its 95 % interval, and the wider one of which all of them together hold the truth at 95 %.
        """
        levels = (LEVEL, corrected_level(comparisons))
        if len(self.draws) == len(other.draws) == 1:
            plain, wide = self.draws[0].difference(other.draws[0], spec.compute, levels)
            freedom = None
        else:
            plain, wide = hierarchical_intervals(self.draws, spec.compute, other.draws, levels=levels, seed=self.seed)
            freedom = len(self.draws) + len(other.draws) - 2
        return plain, widened(plain, wide, levels[1], freedom)

    def per_image(self, spec: ScoreSpec) -> np.ndarray | None:
        """(n,) values whose mean a score is; None where there are none, or several seeds.

        Where a photograph is an image once a label, its images' means: they are no observations apart.
        """
        if len(self.results) > 1 or spec.per_image is None:
            return None
        columns = self.results[0].columns
        values, photographs = spec.per_image(columns), columns.get(PHOTOGRAPH)
        return values if photographs is None else _means_of(values.astype(np.float64), photographs)


def _means_of(values: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """Over the images of each photograph that have a value; NaN without any."""
    numbers, places = np.unique(photographs, return_inverse=True)
    defined = np.isfinite(values)
    counts = np.bincount(places[defined], minlength=len(numbers))
    sums = np.bincount(places[defined], values[defined], minlength=len(numbers))
    return np.divide(sums, counts, out=np.full(len(numbers), np.nan), where=counts > 0)


def _within(spec: ScoreSpec, interval: Interval) -> Interval:
    """Cut at what the score can be: an interval over seeds is widened, past a share of 1 too."""
    least, most = spec.range or (None, None)
    low, high = interval.low, interval.high
    if low is None or high is None:
        return interval
    return Interval(
        interval.value, low if least is None else max(low, least), high if most is None else min(high, most)
    )


def check_comparable(results: Sequence[EvaluationResult]) -> None:
    """Refuse runs of different rules or images.

    Raises:
        XkdError: protocol or data differ, or the pictures under one name; the message names the fields, or the picture.
    """
    first = results[0]
    for other in results[1:]:
        beginning = f"models: {first.model} and {other.model} cannot be compared"
        if fields := differing_parts(first, other):
            raise XkdError(f"{beginning}; these differ: {', '.join(fields)}")
        if (changed := changed_picture(first, other)) is not None:
            raise XkdError(f"{beginning}; the image {changed!r} of one is not that of the other")


def differing_parts(first: EvaluationResult, other: EvaluationResult) -> list[str]:
    """What differs of the rules and the data of two runs, as "data.digest"; nothing where they can be compared."""
    ours, theirs = first.description, other.description
    fields = [
        name
        for name, our, their in (
            ("protocol.hash", ours["protocol"]["hash"], theirs["protocol"]["hash"]),
            ("data.digest", ours["data"]["digest"], theirs["data"]["digest"]),
            ("data.boxes", ours["data"].get("boxes"), theirs["data"].get("boxes")),
            ("stopped_after", ended_after(first), ended_after(other)),
            ("reference.digest", *(described.get("reference", {}).get("digest") for described in (ours, theirs))),
        )
        if our != their
    ]
    if not fields:
        return []
    more = differing_fields(ours["protocol"], theirs["protocol"])
    return [*fields, *(f"protocol.{name}" for name in more if name not in ("hash", "name"))]


def ended_after(result: EvaluationResult) -> tuple[int, int] | None:
    """How many images had come when a test ended early, and the seed of their order; None where all were scored."""
    count = result.summary.get("stopped_after")
    if count is None or count == result.summary["data"]["n_images"]:
        return None
    return count, result.summary["stopping"]["seed"]


def changed_picture(first: EvaluationResult, other: EvaluationResult) -> str | None:
    """The first image of two runs that is another picture under the same name; None where there is none."""
    theirs = _content_hashes(other)
    pictures = _content_hashes(first).items()
    return next((name for name, content in pictures if theirs.get(name, content) != content), None)


def _content_hashes(result: EvaluationResult) -> dict[str, str | None]:
    """Of the images by id, skipped ones included."""
    return dict(zip(result.rows["id"].to_pylist(), result.rows["content_hash"].to_pylist(), strict=True))


def common_ids(results: Sequence[EvaluationResult]) -> list[str]:
    """The images that all of them score, in the first one's order.

    Raises:
        XkdError: there is none.
    """
    shared = set(results[0].ids).intersection(*(result.ids for result in results[1:]))
    if not shared:
        raise XkdError("data: no image is scored for all models; check its labels")
    return [name for name in results[0].ids if name in shared]


def rightly_classified(results: Sequence[EvaluationResult]) -> list[str]:
    """The images that every model classifies correctly, in the first one's order; all of the same images."""
    right = np.logical_and.reduce([result.right for result in results])
    return [name for name, is_right in zip(results[0].ids, right, strict=True) if is_right]


def interval_cells(interval: Interval) -> dict[str, float | None]:
    """A value and its bounds as columns of a table."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}
