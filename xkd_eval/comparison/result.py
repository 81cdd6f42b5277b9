"""What a comparison comes to: tidy tables, one row a figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xkd_eval.comparison.tables import latex, markdown
from xkd_eval.errors import XkdError

_TABLES = ("scores", "differences", "agreement", "transfer", "curves", "health")


@dataclass(frozen=True)
class Comparison:
    """Models scored on the same images under the same protocol.

    Values and bounds are fractions of 1 unless the measure says otherwise; bounds are 95 % intervals over images, and
    over training seeds where a model has several (`seeds`).

    Attributes:
        models: names, the reference first; several training seeds have one.
        explainer: of the models' own maps; None for run directories, whose maps each row names.
        scores: model, maps (the explainer, or a floor or ceiling), score, value, low, high, n_images, seeds.
        differences: score, model, maps, other, other_maps, value (model - other), low, high, and where a score is a
            mean over images and each model has one seed: p, p_holm (corrected over the pairs of models, or over the
            floors) and effect (rank-biserial). Rows of a model and itself hold its own maps against its floors.
        agreement: model, maps, of_class ("predicted", "labelled" or "reference's"), outcome ("all", "both right", ...),
            measure, value, low, high, n_images, seeds, uninformative (a map under 4x4). The reference's own rows are
            its floors, over all images. Empty for run directories.
        transfer: maps_of, measured_on, score, value, low, high: one model's maps remove pixels, the other answers.
        curves: model, maps, direction, fraction, value, low, high.
        images: id, model, maps, label, predicted, probability, right, and each measure of agreement, seed by seed; of
            the reference's floors only the agreement. Empty for run directories.
        health: model, test, maps, protocol, n_images, skipped, degenerate_maps, tie_share.
        rules: the protocol, the data and each model's column of every test, as summary.json has them.
    """

    models: tuple[str, ...]
    explainer: str | None
    scores: pd.DataFrame
    differences: pd.DataFrame
    agreement: pd.DataFrame
    transfer: pd.DataFrame
    curves: pd.DataFrame
    images: pd.DataFrame
    health: pd.DataFrame
    rules: dict[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Name -> table, of those that are not empty."""
        tables = {name: getattr(self, name) for name in (*_TABLES, "images")}
        return {name: table for name, table in tables.items() if len(table)}

    def own(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table with a column `maps` that are of the models' own maps, without floors and ceiling."""
        return table if self.explainer is None else table[table["maps"] == self.explainer]

    def write(self, directory: Path) -> None:
        """NAME.csv, NAME.md and NAME.tex (booktabs) of every table; of the images, which are many, only the first.

        Raises:
            XkdError: the directory cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, table in self.tables().items():
                (directory / f"{name}.csv").write_text(table.to_csv(index=False))
                if name != "images":
                    (directory / f"{name}.md").write_text(markdown(table))
                    (directory / f"{name}.tex").write_text(latex(table))
        except OSError as error:
            raise XkdError(f"output {directory}: cannot be written ({error.strerror or error})") from None
