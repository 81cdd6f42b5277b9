"""One model's rows under one explainer, ready to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Columns, Evaluation
from xkd_eval.evaluations.perturbation import DIRECTIONS, PerturbationTest, area_under_curve
from xkd_eval.evaluations.segmentation import SegmentationTest
from xkd_eval.protocol import PerturbationProtocol, SegmentationProtocol, differing_fields
from xkd_eval.results import read_run, to_columns
from xkd_eval.runner import scored_rows
from xkd_eval.statistics.bootstrap import Score
from xkd_eval.statistics.paired import Interval, Resamples

CELLS = {
    "perturbation": (
        "clean_accuracy",
        *(f"{direction}.{score}" for direction in DIRECTIONS for score in ("auc", "auc_relative", "probability_auc")),
    ),
    "segmentation": (
        "pixel_accuracy",
        "miou",
        "map",
        "foreground_ap",
        "f1",
        "pointing_game",
        "energy_pointing_game",
    ),
}
"""The scores that are compared, test by test."""

COMMON = tuple(f"{direction}.auc" for direction in DIRECTIONS)
"""Those that are computed once more on the images which every model classifies correctly."""


@dataclass(frozen=True)
class Subject:
    """One test of one model.

    Attributes:
        label: the model's, in tables.
        test: "perturbation" or "segmentation".
        maps: the explainer's name.
        description: as protocol.json holds it: the rules, the model's column, the data.
        summary: as summary.json holds it.
        ids: of the scored images.
        rows: their columns.
    """

    label: str
    test: str
    maps: str
    description: dict[str, Any]
    summary: dict[str, Any]
    ids: tuple[str, ...]
    rows: Columns

    @classmethod
    def read(cls, label: str, directory: Path) -> Subject:
        """A finished run directory.

        Raises:
            XkdError: it holds no finished run.
        """
        description, summary, rows = read_run(directory)
        scored = scored_rows(rows)
        ids = tuple(scored["id"].to_pylist())
        maps = summary["explainer"]["name"]
        return cls(label, summary["test"], maps, description, summary, ids, to_columns(scored))

    @property
    def evaluation(self) -> Evaluation:
        """The test whose functions turn the rows into scores."""
        if self.test == "segmentation":
            return SegmentationTest(SegmentationProtocol())
        fractions = tuple(self.summary["fractions"][1:])
        directions = tuple(direction for direction in DIRECTIONS if direction in self.summary)
        return PerturbationTest(PerturbationProtocol(fractions=fractions), directions)

    def compared_scores(self) -> dict[str, Score]:
        """Name -> function of means."""
        known = self.evaluation.scores()
        return {name: known[name] for name in CELLS[self.test] if name in known}

    def resamples(self, seed: int) -> Resamples:
        """Draws of its images, paired with those of every subject with as many."""
        return Resamples.of(self.evaluation.columns(self.rows), seed=seed)

    def restricted(self, ids: Sequence[str]) -> Subject:
        """The rows of some images, in the order given."""
        place = {identifier: index for index, identifier in enumerate(self.ids)}
        chosen = np.array([place[identifier] for identifier in ids], dtype=np.int64)
        return replace(self, ids=tuple(ids), rows={name: values[chosen] for name, values in self.rows.items()})

    def per_image(self, score: str) -> np.ndarray | None:
        """(n,) values whose mean a score is; None for one that is no mean over images."""
        if score == "clean_accuracy":
            return self.rows["clean_hit"].astype(np.float64)
        direction, _, kind = score.partition(".")
        outcome = {"auc": "hit", "probability_auc": "probability"}.get(kind)
        if outcome is not None:
            removed = self.rows[f"{direction}_{outcome}"].astype(np.float64)
            curve = np.concatenate([self.rows[f"clean_{outcome}"][:, None].astype(np.float64), removed], axis=1)
            # Areas of equal hits must tie: the trapezoid tells them apart by its last bits.
            return area_under_curve(curve, tuple(self.summary["fractions"][1:])).round(12)
        values = self.rows.get("ap" if score == "map" else score)
        return values.astype(np.float64) if values is not None and values.ndim == 1 else None


def check_comparable(subjects: Sequence[Subject]) -> None:
    """Refuse runs of different rules or images.

    Raises:
        XkdError: protocol or data differ; the message names the fields.
    """
    first = subjects[0]
    for other in subjects[1:]:
        fields = [
            name
            for name, ours, theirs in (
                ("protocol.hash", first.summary["protocol"]["hash"], other.summary["protocol"]["hash"]),
                ("data.digest", first.summary["data"]["digest"], other.summary["data"]["digest"]),
            )
            if ours != theirs
        ]
        if fields:
            more = differing_fields(first.description["protocol"], other.description["protocol"])
            raise XkdError(
                f"compare: {first.label} and {other.label} cannot be compared; these differ: "
                f"{', '.join([*fields, *(f'protocol.{name}' for name in more if name != 'hash')])}"
            )


def common_ids(subjects: Sequence[Subject]) -> list[str]:
    """The images that all of them score, in the first one's order."""
    shared = set(subjects[0].ids).intersection(*(subject.ids for subject in subjects[1:]))
    return [identifier for identifier in subjects[0].ids if identifier in shared]


def interval_cells(interval: Interval) -> dict[str, float | None]:
    """As columns of a table."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}
