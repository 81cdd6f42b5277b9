"""What a comparison comes to: tidy tables, one row a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from xkd_eval.arguments import public
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.datasets import ImageDataset
from xkd_eval.errors import XkdError
from xkd_eval.escapes import csv_bytes, file_names, visible
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.figures.drawn import Drawn
from xkd_eval.figures.paper import made_for
from xkd_eval.files import replacing, writing
from xkd_eval.study.cells import NO_MAPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TABLES = ("scores", "differences", "agreement", "transfer", "curves", "score_agreement", "health")
_UNDRAWN = {
    "curves": "none of the tests has curves; the numbers are in `scores`",
    "differences": "no headline score of a model beside the reference's; the numbers are in `scores`",
    "agreement": "finished runs hold no maps that agreement could be measured of; compare the models themselves",
}


@dataclass(frozen=True)
class Pictured:
    """Where pictures of a comparison come from.

    Attributes:
        dataset: the photographs.
        maps: model -> folder of the model's own maps, see `StoredMaps`.
        preprocess: model -> input convention.
    """

    dataset: ImageDataset
    maps: Mapping[str, Path]
    preprocess: Mapping[str, Preprocess]


@dataclass(frozen=True, repr=False)
class Comparison(Drawn):
    """Models scored on the same images under the same protocol.

    Values and bounds are fractions of 1 unless the measure says otherwise; bounds are 95 % intervals over images, and
    over training seeds where a model has several (`seeds`).

    Attributes:
        models: names, the reference first; several training seeds have one.
        explainer: of the models' own maps; None for run directories, whose maps each row names.
        scores: model, maps (the explainer, a floor or the oracle), test, score, value, low, high, n_images, seeds,
            beaten_by (the floors that score better than a model's own maps). A score that ends in "_common" is of the
            images that every model classifies correctly.
        differences: test, score, model, maps, other, other_maps, value (model - other), low, high, low_corrected and
            high_corrected (bounds that hold together over the pairs of models, or over the floors), and where a score
            is a mean over images and each model has one seed: p, p_holm (corrected likewise) and effect
            (rank-biserial). Rows of a model and itself hold its own maps against its floors.
        agreement: model, maps, test, target ("predicted", "true" or "reference"), outcome ("all", "both right", ...),
            measure, value, low, high, n_images, seeds, uninformative (a map under 4x4). The reference's own rows are
            its floors, over all images. Empty for run directories.
        transfer: maps_of, measured_on, test, score, value, low, high: one model's maps are scored, the other answers.
        curves: model, maps, test, score, x, value, low, high.
        images: id, model, maps, label, predicted, probability, right, each score of maps that is a mean over images,
            and each measure of agreement, seed by seed; of the reference's floors only the agreement. Empty for run
            directories.
        score_agreement: model (seed by seed), maps, test, score, other_test, other_score, spearman, low, high,
            n_images: whether two tests rank the images alike, see `Study.agreement_of_scores`.
        health: model, test, maps, protocol, n_images, skipped, degenerate_maps, notes.
        rules: the protocol, the data and each model's column of every test, as summary.json has them.
        tests: by name; their specs say what a score is called, and which direction is better.
        members: the names of all models, the training seeds one by one.
        left_out: a sentence for each test that does not fit a model.
        pictured: where photographs and maps lie; None where no maps were kept.

    Example:
        >>> import xkd_eval
        >>> found = xkd_eval.compare(["embedded/teacher", "embedded/kd"], floors=False, limit=8)
        >>> found.models
        ('teacher', 'kd')
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
    score_agreement: pd.DataFrame = field(default_factory=pd.DataFrame)
    rules: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, Evaluation] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    pictured: Pictured | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        """Name -> table, of those that are not empty."""
        tables = {name: getattr(self, name) for name in (*_TABLES, "images")}
        return {name: table for name, table in tables.items() if len(table)}

    def spec(self, score: str, test: str | None = None) -> ScoreSpec | None:
        """What is known of a score or measure by its name in the tables; "_common" behind it makes no difference.

        Args:
            score: its name.
            test: its test; None looks through all.
        """
        asked = [known for name, known in self.tests.items() if test in (None, name)]
        found = (known.spec(score.removesuffix(WHERE_RIGHT)) for known in asked)
        return next((spec for spec in found if spec is not None), None)

    def first_seed(self, model: str) -> str:
        """The name of a model, or of the first of its training seeds."""
        return next(name for name in self.members if name in (model, f"{model} (1)"))

    def own(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table with a column `maps` that are of the models themselves, without floors and oracle."""
        return table[[self.is_own(maps) for maps in table["maps"]]] if len(table) else table

    def is_own(self, maps: str) -> bool:
        """Whether maps of that name are the models' own, or none at all as of a test on the answers alone."""
        return self.explainer is None or maps in (self.explainer, NO_MAPS)

    @public()
    def write(self, directory: Path) -> None:
        """Every table as NAME.csv; and those to be read, a model a row, as NAME.md and NAME.tex (booktabs).

        Raises:
            XkdError: the directory cannot be written.
        """
        from xkd_eval.comparison.formats import latex_to_read, markdown_to_read
        from xkd_eval.comparison.shown import legend, tables_to_read

        files = {f"{name}.csv": csv_bytes(table) for name, table in self.tables().items()}
        to_read = tables_to_read(self)
        for name, file_name in file_names(to_read).items():
            note = legend(self, to_read[name])
            files[f"{file_name}.md"] = markdown_to_read(to_read[name], note).encode()
            files[f"{file_name}.tex"] = latex_to_read(to_read[name], note).encode()
        with writing(f"output: {str(directory)!r}"):
            directory.mkdir(parents=True, exist_ok=True)
            for file_name, content in files.items():
                with replacing(directory / file_name) as file:
                    file.write(content)

    @public()
    def plot(self, kind: Literal["curves", "differences", "agreement"] = "curves", paper: str | None = None) -> Figure:
        """One of the report's figures.

        Args:
            kind: "curves" of the models' own maps, with 95 % bands, of the first test that has curves; "differences" of
                each model from the reference in the headline scores, with the intervals that hold together, in colour
                where a difference is claimed; "agreement" of the maps with the reference's, image by image.
            paper: see `figures`.

        Raises:
            XkdError: there is nothing of that kind to draw, or another size.
        """
        from xkd_eval.comparison.drawing import agreement_figure, curve_figures, difference_figure

        def drawn() -> dict[str, Figure]:
            if kind == "curves":
                return curve_figures(self)
            figure = difference_figure(self) if kind == "differences" else agreement_figure(self)
            return {} if figure is None else {kind: figure}

        figures = made_for(paper, drawn)
        if not figures:
            raise XkdError(f"plot: {_UNDRAWN[kind]}")
        return next(iter(figures.values()))

    def _drawn(self) -> dict[str, Figure]:
        from xkd_eval.comparison.drawing import figures_of

        return figures_of(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({len(table):,})" for name, table in self.tables().items())
        return visible(f"<Comparison of {', '.join(self.models)}; rows: {sizes}>")

    def _repr_html_(self) -> str:
        from xkd_eval.comparison.formats import html_to_read
        from xkd_eval.comparison.shown import headline_table, legend
        from xkd_eval.comparison.verdict import verdict

        table = headline_table(self)
        said, note = (escape(visible(text)) for text in (verdict(self), legend(self, table)))
        return f"<p><b>{said}</b></p>{html_to_read(table)}<p>{note}</p>"
