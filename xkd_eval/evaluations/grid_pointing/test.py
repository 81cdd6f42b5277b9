"""Grid pointing game: several photographs side by side, of which each class's map should point at its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Self

import numpy as np
import torch

from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.grids import Grids
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.answers import Answers
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.grid_pointing.drawing import draw_grids
from xkd_eval.evaluations.grid_pointing.options import GridPointingOptions
from xkd_eval.evaluations.grid_pointing.protocol import GridPointingProtocol
from xkd_eval.evaluations.grid_pointing.shares import tile_shares
from xkd_eval.evaluations.means import mean_score
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import is_degenerate
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns


class GridPointingTest(Evaluation):
    """GridPG: the share of a class's positive attribution that lies in its own photograph of a grid."""

    name = "grid_pointing"
    title = "Grid pointing game"
    citation = (
        "Böhle et al., Convolutional Dynamic Alignment Networks for Interpretable Classifications, CVPR 2021; "
        "photographs as in Rao et al., Towards Better Understanding Attribution Methods, CVPR 2022"
    )
    question = "Of several photographs shown at once, does the map of a class point at the photograph of that class?"
    cost = "1, of a grid, and an explanation a tile"
    is_core = True
    explains_again = True
    reads_answers = False
    in_comparisons = False
    about = (
        "Each grid is tiled of photographs of distinct classes that all models know; a map's score is the share of its "
        "positive part inside its class's tile."
    )
    Options = GridPointingOptions
    Protocol = GridPointingProtocol
    protocol: GridPointingProtocol

    @classmethod
    def create(cls, rules: Rules, options: GridPointingOptions) -> Self:
        """See Evaluation.create."""
        return cls(GridPointingProtocol(**rules.shared(), **vars(options)))

    @classmethod
    def suited(cls, offered: Collection[str]) -> str:
        """See Evaluation.suited; without labels nothing is known to be right, and confidence has to do."""
        return "" if "labels" in offered else "correct_only=false"

    def images(self, dataset: ImageDataset, answers: Answers) -> ImageDataset:
        """Grids of photographs that every model knows. See Evaluation.images.

        Raises:
            XkdError: a model that takes no grid, a set without labels, or too few photographs.
        """
        rules = self.protocol
        needs_labels = rules.correct_only or rules.target == "true"
        if needs_labels and dataset.label_kind == "none":
            raise XkdError(
                f"data: {dataset.name} has no labels; {self.name} takes photographs that are classified rightly: give "
                "`labels`, or correct_only=false"
            )
        answers.check_grids(rules.side)
        found = {model: answers.of(model, labels=needs_labels) for model in answers.models}
        tiles = draw_grids(dataset, found, rules)
        chosen = {model: one.label if rules.target == "true" else one.predicted for model, one in found.items()}
        return Grids(dataset, rules.side, tiles, {model: classes[np.array(tiles)] for model, classes in chosen.items()})

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows; the network is not asked again for maps that are made of its features."""
        if batch.tiles is None:
            raise XkdError(f"data: {self.name} scores grids of photographs, and the batch has none")
        side = self.protocol.side
        scores, degenerate = [], []
        for number in range(side**2):
            maps = batch.required_maps() if number == 0 else self._maps(batch, number)
            finite = maps.isfinite().all(2).all(1)
            # A map that is not finite points nowhere: as one that is the same everywhere.
            shares = tile_shares(torch.where(finite[:, None, None], maps, 1.0), batch.preprocess.size, side)
            scores.append(shares[:, number])
            degenerate.append(is_degenerate(maps).cpu().numpy())
        tiles = np.stack(scores, 1)
        return {
            "degenerate": np.any(degenerate, axis=0),
            "grid_pointing": tiles.mean(1),
            "tile_scores": tiles,
            "tile_scale": np.full(len(batch.ids), batch.tile_scale),
        }

    @staticmethod
    def _maps(batch: Batch, number: int) -> torch.Tensor:
        """(B, h, w) of the class of one tile; what looks at no class is made once."""
        if batch.explainer is not None and batch.explainer.model_free:
            return batch.required_maps()
        assert batch.tiles is not None
        return batch.explain(batch.images, batch.tiles[:, number], features=batch.features)

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        return {"grid_pointing": rows["grid_pointing"]}

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        note = f"chance is {100 / self.protocol.side**2:.3g} %"
        return (
            mean_score(
                "grid_pointing", "grid pointing game", better="higher", range=(0, 1), role="headline", note=note
            ),
        )

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {"chance": 1 / self.protocol.side**2, "tile_scale": float(rows["tile_scale"].min())}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        side, scale = self.protocol.side, summary["tile_scale"]
        found = [
            f"grids of {side} x {side} photographs: a map that points nowhere scores {100 * summary['chance']:.3g} %"
        ]
        if scale < 1:
            found.append(f"the network takes one input size: grids were scaled down, tiles to {scale:.3g} of theirs")
        return found
