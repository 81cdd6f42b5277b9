"""Rows of the tables that follow from the tests' rows: scores, differences, curves, transfer, health."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from xkd_eval.comparison.subjects import COMMON, Subject, interval_cells
from xkd_eval.evaluations.perturbation import DIRECTIONS
from xkd_eval.statistics.bootstrap import Score
from xkd_eval.statistics.paired import (
    Interval,
    Resamples,
    hierarchical_interval,
    holm,
    mcnemar_p,
    rank_biserial,
    wilcoxon_p,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """A model under one kind of maps: one subject, or one a training seed, all on the same images.

    Attributes:
        name: the model's, or its group's.
        subjects: its members.
        draws: of each, paired with every other's.
        seed: of the draws of training seeds.
    """

    name: str
    subjects: tuple[Subject, ...]
    draws: tuple[Resamples, ...]
    seed: int

    @classmethod
    def of(cls, name: str, subjects: Sequence[Subject], seed: int) -> Scored:
        """Draw the images."""
        return cls(name, tuple(subjects), tuple(subject.resamples(seed) for subject in subjects), seed)

    @property
    def maps(self) -> str:
        """The explainer."""
        return self.subjects[0].maps

    def scores(self) -> dict[str, Score]:
        """Name -> function of means, of those that every member has: a run of one direction lacks the other's."""
        first, *others = (subject.compared_scores() for subject in self.subjects)
        return {name: score for name, score in first.items() if all(name in known for known in others)}

    def restricted(self, ids: Sequence[str]) -> Scored:
        """On some images."""
        return Scored.of(self.name, [subject.restricted(ids) for subject in self.subjects], self.seed)

    def interval(self, score: Score) -> Interval:
        """Of a score: over images, and over seeds where there are several."""
        if len(self.draws) == 1:
            return self.draws[0].interval(score)
        return hierarchical_interval(self.draws, score, seed=self.seed)

    def difference(self, other: Scored, score: Score) -> Interval:
        """Of this model's score less the other's."""
        if len(self.draws) == len(other.draws) == 1:
            return self.draws[0].difference(other.draws[0], score)
        return hierarchical_interval(self.draws, score, other.draws, seed=self.seed)


def score_rows(scored: Scored, suffix: str = "") -> list[Row]:
    """A row a score; with a suffix, only those of COMMON, under their name and it."""
    return [
        {
            "model": scored.name,
            "maps": scored.maps,
            "score": f"{name}{suffix}",
            **interval_cells(scored.interval(score)),
            "n_images": len(scored.subjects[0].ids),
            "seeds": len(scored.subjects),
        }
        for name, score in scored.scores().items()
        if not suffix or name in COMMON
    ]


def difference_rows(models: Sequence[Scored], suffix: str = "") -> list[Row]:
    """Every pair: later models less earlier ones, a student less its teacher."""
    return [row for first, second in combinations(models, 2) for row in _differences(second, first, suffix)]


def floor_rows(models: Sequence[Scored], floors: Sequence[Scored]) -> list[Row]:
    """Each model's own maps less each floor of the same model."""
    return [
        row
        for model in models
        for floor in floors
        if floor.name == model.name
        for row in _differences(model, floor)
        # Maps do not change what the unharmed image is taken for.
        if row["score"] != "clean_accuracy"
    ]


def common_rows(models: Sequence[Scored], floors: Sequence[Scored]) -> tuple[list[Row], list[Row]]:
    """Scores and differences on the images that all models classify correctly; none where there is no such image."""
    members = [subject for model in models for subject in model.subjects]
    right = [
        identifier
        for place, identifier in enumerate(members[0].ids)
        if all(bool(subject.rows["clean_hit"][place]) for subject in members)
    ]
    if not right:
        return [], []
    chosen, beside = ([scored.restricted(right) for scored in group] for group in (models, floors))
    rows = [row for scored in (*chosen, *beside) for row in score_rows(scored, "_common")]
    return rows, difference_rows(chosen, "_common")


def corrected(rows: Sequence[Row]) -> list[Row]:
    """With Holm's correction over the pairs of models, and over the floors, of each score."""
    families: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        if row["p"] is not None:
            families.setdefault((row["score"], row["model"] == row["other"]), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    order = ("score", "model", "maps", "other", "other_maps", "value", "low", "high", "p", "p_holm", "effect", "seeds")
    return [{name: row.get(name) for name in order} for row in rows]


def curve_rows(scored: Scored) -> Iterator[Row]:
    """A row a direction and share of pixels removed, the clean accuracy at 0."""
    subject = scored.subjects[0]
    known = subject.evaluation.scores()
    for direction in (direction for direction in DIRECTIONS if f"{direction}.curve" in known):
        curve = known[f"{direction}.curve"]
        for place, fraction in enumerate(subject.summary["fractions"]):
            interval = scored.interval(lambda means, curve=curve, place=place: curve(means)[:, place])  # type: ignore[misc]
            yield {
                "model": scored.name,
                "maps": scored.maps,
                "direction": direction,
                "fraction": fraction,
                **interval_cells(interval),
            }


def transfer_rows(source: str, scored: Scored) -> list[Row]:
    """The areas of one model while another's maps choose the pixels."""
    known = scored.scores()
    return [
        {
            "maps_of": source,
            "measured_on": scored.name,
            "score": score,
            **interval_cells(scored.interval(known[score])),
        }
        for score in COMMON
        if score in known
    ]


def health_row(subject: Subject) -> Row:
    """What went wrong, or might have."""
    summary = subject.summary
    return {
        "model": subject.label,
        "test": subject.test,
        "maps": subject.maps,
        "protocol": f"{summary['protocol']['name']} ({summary['protocol']['hash']})",
        "n_images": summary["n_images"],
        "skipped": summary["skipped"]["count"],
        "degenerate_maps": summary["degenerate_maps"],
        "tie_share": summary["tie_share"]["value"] if "tie_share" in summary else None,
    }


def _differences(model: Scored, other: Scored, suffix: str = "") -> Iterator[Row]:
    theirs = other.scores()
    for name, score in model.scores().items():
        if name not in theirs or (suffix and name not in COMMON):
            continue
        yield {
            "score": f"{name}{suffix}",
            "model": model.name,
            "maps": model.maps,
            "other": other.name,
            "other_maps": other.maps,
            **interval_cells(model.difference(other, score)),
            **_tested(model, other, name),
            "seeds": min(len(model.subjects), len(other.subjects)),
        }


def _tested(model: Scored, other: Scored, score: str) -> dict[str, float | None]:
    """Tests over images alone: they say nothing about seeds, so with several there is none."""
    if len(model.subjects) > 1 or len(other.subjects) > 1:
        return {"p": None, "effect": None}
    ours, theirs = model.subjects[0].per_image(score), other.subjects[0].per_image(score)
    if ours is None or theirs is None:
        return {"p": None, "effect": None}
    # A score may be undefined for an image, as foreground AP is without an object.
    defined = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[defined], theirs[defined]
    hits = score == "clean_accuracy"
    p = mcnemar_p(ours > 0, theirs > 0) if hits else wilcoxon_p(ours - theirs)
    return {"p": p, "effect": rank_biserial(ours - theirs)}
