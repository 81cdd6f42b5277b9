"""What the models of a study answer to a data set: a run of its own, for tests that choose among the photographs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from xkd_eval.datasets import ImageDataset
from xkd_eval.evaluations.answers import ModelAnswers
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.scores import Columns, ScoreSpec
from xkd_eval.study.cells import Cell, default_directory
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.rows import scored_rows
from xkd_eval.study.run import run_study
from xkd_eval.study.stream import Progress


class CleanPass(Evaluation):
    """The clean pass alone, of which a study records each image's label, prediction and probability."""

    name = "answers"
    title = "Answers"
    citation = "none: what later tests choose photographs by"
    question = "What does the network answer to the photograph itself?"
    cost = "1"
    needs_maps = False
    needs_all_images = True

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows."""
        return {"confidence": batch.logits.softmax(1).amax(1).cpu().numpy()}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return (mean_score("confidence", "mean confidence", range=(0, 1), of_maps=False),)


class StudyAnswers:
    """See `evaluations.answers.Answers`. All models answer in one stream, whose rows lie beside the study's others: a
    study that continues, or another one of these models and images, asks none of them again.

    Args:
        inputs: models and options.
        root: where the runs of single cells lie; None keeps the answers in memory.
        progress: told after every batch.
        dataset: of the photographs.
    """

    def __init__(
        self, inputs: StudyInputs, root: Path | None, progress: Progress | None, dataset: ImageDataset
    ) -> None:
        self._inputs, self._root, self._progress, self._dataset = inputs, root, progress, dataset

    @property
    def models(self) -> tuple[str, ...]:
        """Names, the reference first."""
        return tuple(self._inputs.classifiers)

    def of(self, model: str, *, labels: bool = False) -> ModelAnswers:
        """See Answers.of."""
        if labels:
            for name in self.models:  # before any photograph is read
                self._inputs.labels(self._dataset, name, required=True)
        return self._found[model]

    def check_grids(self, side: int) -> None:
        """See Answers.check_grids."""
        for model in self.models:
            self._inputs.grid_input(model, side)

    @cached_property
    def _found(self) -> dict[str, ModelAnswers]:
        inputs, root = self._inputs, self._root
        test = CleanPass(CleanPass.Protocol(**{**inputs.rules.shared(), "target": "predicted"}))
        cells = [Cell(test, model, self._dataset, None) for model in self.models]
        results = run_study(
            cells, inputs, lambda described: root and default_directory(described, root), progress=self._progress
        )
        return {result.model: _answers(scored_rows(result.rows), len(self._dataset)) for result in results}


def _answers(rows: pa.Table, n_images: int) -> ModelAnswers:
    positions = rows["position"].to_numpy()

    def whole(column: str, missing: float, kind: type[np.generic]) -> np.ndarray:
        values: np.ndarray = np.full(n_images, missing, dtype=kind)
        values[positions] = rows[column].to_numpy()
        return values

    return ModelAnswers(
        predicted=whole("predicted", -1, np.int64),
        probability=whole("probability", np.nan, np.float64),
        label=whole("label", -1, np.int64),
    )
