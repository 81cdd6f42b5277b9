"""What evaluations come to: one finished test, and the table of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.escapes import visible
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import Columns, Role, ScoreSpec, to_columns
from xkd_eval.figures.drawn import Drawn
from xkd_eval.study.rows import Rows, scored_rows
from xkd_eval.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class EvaluationResult(Drawn):
    """One finished test of one model on one kind of maps.

    Attributes:
        model: its name.
        maps: the explainer's name; of several of one name in a study, as it was spelt.
        test: under its protocol.
        test_name: its name; of several of one name in a study, as it was spelt ("perturbation:fill=blur").
        description: the rules, the model's column and the data, as protocol.json holds them.
        summary: the scores, as summary.json holds them; docs/summary.schema.json describes it.
        stored: its rows, which `rows` has as a table; more than 200,000 are read when they are asked for.
        directory: where all of it lies; None for a run kept in memory.
        continued: how many images the directory already held.
        floors: the same test of maps that know nothing of the model, and of the masks, by the explainer's name; where
            they were asked for.

    Example:
        >>> import xkd_eval
        >>> result = xkd_eval.perturbation_test("embedded/kd", limit=8)
        >>> result.summary["n_images"], result.rows.num_rows
        (8, 8)
    """

    model: str
    maps: str
    test: Evaluation
    test_name: str
    description: dict[str, Any]
    summary: dict[str, Any]
    stored: Rows
    directory: Path | None
    continued: int = 0
    floors: Mapping[str, EvaluationResult] = field(default_factory=dict)

    @classmethod
    @public()
    def read(cls, directory: Path, model: str | None = None) -> EvaluationResult:
        """A finished run directory.

        Args:
            directory: that a test left.
            model: its name in tables; by default its own.

        Raises:
            XkdError: it holds no finished run, or one of a test that is not installed.
        """
        from xkd_eval.study.directory import read_run

        description, summary, rows = read_run(directory)
        test = TESTS[str(summary.get("test"))].from_description(description["protocol"], description["settings"])
        model, maps = model or summary["model"]["name"], summary["explainer"]["name"]
        return cls(model, maps, test, test.name, description, summary, rows, directory)

    @property
    def rows(self) -> pa.Table:
        """One row an image in the data set's order, skipped ones included."""
        return self.stored.table

    @cached_property
    def columns(self) -> Columns:
        """The rows of the images that were scored, as arrays."""
        return to_columns(scored_rows(self.rows))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the images that were scored."""
        return tuple(scored_rows(self.rows)["id"].to_pylist())

    @property
    def right(self) -> np.ndarray:
        """(n,) booleans: where the label is the prediction; or, where a photograph holds several, likelier than not."""
        found = self.columns.get("label_found")
        return self.columns["predicted"] == self.columns["label"] if found is None else found.astype(bool)

    @property
    def scores(self) -> pd.DataFrame:
        """A row a score: model, maps, test, score, value, low, high (95 % interval); fractions of 1."""
        import pandas as pd

        return pd.DataFrame(list(self._score_rows()), columns=_SCORE_COLUMNS)

    @public()
    def by_class(self) -> pd.DataFrame:
        """Each score over the images of each true class.

        Returns:
            class, n_images, and a column a score (fractions of 1, NaN where it is undefined), a row a class. Of a few
            images each, as classes have, a score is a rough one.

        Example:
            >>> import xkd_eval
            >>> table = xkd_eval.perturbation_test("embedded/kd", limit=20).by_class()
            >>> int(table["n_images"].sum()), "positive.auc" in table
            (20, True)
        """
        from xkd_eval.study.by_class import scores_by_class

        return scores_by_class(self.test, self.stored)

    def restricted(self, ids: Sequence[str]) -> EvaluationResult:
        """The rows of some of the scored images, in the order given; the summary stays that of all."""
        scored = scored_rows(self.rows)
        place = {name: number for number, name in enumerate(self.ids)}
        chosen = np.array([place[name] for name in ids], dtype=np.int64)
        return replace(self, stored=Rows.of(scored.take(chosen)))

    @public()
    def plot(self, paper: str | None = None) -> Figure:
        """The test's own figure: perturbation curves, or the precision-recall curve.

        Args:
            paper: see `figures`.

        Raises:
            XkdError: the test draws none, or another size.
        """
        figures = self.figures(paper)
        if not figures:
            raise XkdError(f"plot: the test {self.test.name} draws no figure; its numbers are in `scores`")
        return next(iter(figures.values()))

    def _drawn(self) -> dict[str, Figure]:
        return dict(self.test.figures(self.maps, self.summary, self.columns))

    def _score_rows(self) -> Any:
        for spec in self.test.specs():
            found = spec.of(self.summary)
            if spec.x is None and found is not None:
                low, high = found["ci95"] or (None, None)
                yield (self.model, self.maps, self.test_name, spec.name, found["value"], low, high)

    def _shown(self) -> list[tuple[ScoreSpec, dict[str, Any]]]:
        return [
            (spec, found)
            for spec in self.test.specs()
            if spec.x is None and spec.is_at_least("shown") and (found := spec.of(self.summary)) is not None
        ]

    def __repr__(self) -> str:
        shown = ", ".join(f"{spec.title} {_figure(spec, found)}" for spec, found in self._shown()[:3])
        where = f", in {self.directory}" if self.directory else ""
        images = counted(self.summary["n_images"], "image")
        return visible(f"<{self.test_name} of {self.model}, {self.maps}, {images}: {shown}{where}>")

    def _repr_html_(self) -> str:
        return _html(self.scores, f"{self.test.title} of {self.model}, {counted(self.summary['n_images'], 'image')}")


@dataclass(frozen=True)
class Study(Drawn):
    """Models evaluated side by side.

    Attributes:
        models: labels, the reference first.
        results: one a model, kind of maps and test, in that order of tests.
        directory: where the tables lie; None for a study kept in memory.
        left_out: a sentence for each test of the core that models or data lack something for.

    Example:
        >>> import xkd_eval
        >>> study = xkd_eval.evaluate(["embedded/teacher", "embedded/kd"], limit=8)
        >>> list(study.scores.columns)
        ['model', 'maps', 'test', 'score', 'value', 'low', 'high']
        >>> study.models
        ('teacher', 'kd')
    """

    models: tuple[str, ...]
    results: tuple[EvaluationResult, ...]
    directory: Path | None = None
    left_out: tuple[str, ...] = ()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a score: model, maps, test, score, value, low, high (95 % interval); fractions of 1."""
        import pandas as pd

        rows = [row for result in self.results for row in result._score_rows()]
        return pd.DataFrame(rows, columns=_SCORE_COLUMNS)

    @public()
    def result(self, model: str, test: str, maps: str | None = None) -> EvaluationResult:
        """One of the results.

        Args:
            model: its name.
            test: its name.
            maps: what its maps are called; by default the first.

        Raises:
            XkdError: there is none.
        """
        for found in self.results:
            if found.model == model and found.test_name == test and maps in (None, found.maps):
                return found
        known = ", ".join(f"{found.model} / {found.test_name} / {found.maps}" for found in self.results)
        raise XkdError(f"model: no result {model!r} / {test!r} / {maps or 'any maps'}; the study has {known}")

    @public()
    def agreement_of_scores(self, role: Role = "headline") -> pd.DataFrame:
        """Do the tests say the same? For each pair of tests, the rank correlation of their scores over images.

        Scores count in the direction in which they are better: 1 says that two tests rank the images alike.

        Args:
            role: scores of which at least as much is made: "headline", "shown", "compared" or "detail".

        Returns:
            model, maps, test, score, other_test, other_score, spearman, low, high (95 %), n_images: a row a pair of
            scores of two tests, one model and one kind of maps.

        Example:
            >>> import xkd_eval
            >>> fills = ["perturbation:fill=black", "perturbation:fill=mean"]
            >>> study = xkd_eval.evaluate("embedded/kd", tests=fills, limit=8)
            >>> bool(study.agreement_of_scores()["spearman"].abs().max() <= 1)
            True
        """
        import pandas as pd

        from xkd_eval.study.score_agreement import COLUMNS, score_agreement

        groups: dict[tuple[str, str], list[EvaluationResult]] = {}
        for result in self.results:
            groups.setdefault((result.model, result.maps), []).append(result)
        rows = [row for group in groups.values() for row in score_agreement(group, role)]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @public()
    def plot(self, paper: str | None = None) -> Figure:
        """The curves of all models and maps, of the first test that has curves.

        Args:
            paper: see `figures`.

        Raises:
            XkdError: no test has, or another size.
        """
        figures = self.figures(paper)
        if not figures:
            raise XkdError("plot: none of the study's tests has curves; its numbers are in `scores`")
        return next(iter(figures.values()))

    def _drawn(self) -> dict[str, Figure]:
        by_test: dict[str, list[EvaluationResult]] = {}
        for result in self.results:
            by_test.setdefault(result.test_name, []).append(result)
        drawn: dict[str, Figure] = {}
        for test, results in by_test.items():
            joint = curves_of(results)
            if joint is not None:
                drawn[f"{test}_curves"] = joint
                continue
            for result in results:
                own = result._drawn().items()
                drawn |= {f"{name}-{result.model}-{result.maps}": figure for name, figure in own}
        return drawn

    def __repr__(self) -> str:
        tests = dict.fromkeys(result.test_name for result in self.results)
        maps = dict.fromkeys(result.maps for result in self.results)
        what = f"{', '.join(self.models)}: {', '.join(tests)}; maps {', '.join(maps)}"
        return visible(f"<Study of {what}; see .scores, .plot()>")

    def _repr_html_(self) -> str:
        return _html(self.scores, repr(self).strip("<>"))


def curves_of(results: Sequence[EvaluationResult]) -> Figure | None:
    """The curves of several results of one test in one figure; None where the test has none."""
    from xkd_eval.evaluations.drawing import summary_curves

    several = len({result.maps for result in results}) > 1
    curves: dict[str, list[Any]] = {}
    for result in results:
        name = f"{result.model}, {result.maps}" if several else result.model
        for score, found in summary_curves(result.test, name, result.summary).items():
            curves.setdefault(score, []).extend(found)
    classes = {result.summary["model"]["num_classes"] for result in results}
    return results[0].test.curve_figure(curves, classes.pop() if len(classes) == 1 else None)


_SCORE_COLUMNS = ["model", "maps", "test", "score", "value", "low", "high"]


def _figure(spec: ScoreSpec, found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "undefined"
    return f"{spec.text(found['value'])}{' %' if spec.unit == '%' else ''}"


def _html(table: pd.DataFrame, caption: str) -> str:
    from html import escape

    return f"<p>{escape(caption)}</p>{table.to_html(index=False, float_format='{:.4f}'.format, na_rep='')}"
