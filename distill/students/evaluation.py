"""Evaluation: what models came to, as tables, files and pictures."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.students.formats import CONFUSION, FIGURES, PREDICTIONS, SCORES, check_suffix
from distill.students.measure import Measured
from distill.students.tables import (
    Measure,
    class_table,
    confusion_table,
    distinct_names,
    matrix_of,
    measures,
    mistake_table,
    model_table,
    prediction_table,
)
from xkd_eval.arguments import public
from xkd_eval.errors import XkdError
from xkd_eval.escapes import csv_bytes, visible
from xkd_eval.files import replacing, writing
from xkd_eval.registry import nearest
from xkd_eval.study.result import Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Models measured on the same images, a teacher last.

    Attributes:
        data: the set's name.
        split: the part of it that was asked for.
        models: what each came to.
        study: explanation scores, where `measure` named tests, with their rows and curves; else None.
        notes: what a reader must know, a sentence each.

    Example:
        >>> import distill
        >>> found = distill.evaluate(["embedded/plain", "embedded/kd"], teacher="embedded", limit=60)
        >>> found.table.columns[:3].tolist()
        ['model', 'images', 'top1']
        >>> found.scores["embedded/kd"].n_images
        60
        >>> found.per_class.query("model == 'embedded/kd'").sort_values("accuracy").name.size
        10
        >>> figure = found.plot("embedded/kd")
    """

    data: str
    split: str
    models: tuple[Measured, ...]
    study: Study | None = None
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, Any]:
        """Model -> its Scores."""
        return {model.name: model.scores for model in self.models}

    @cached_property
    def measures(self) -> list[Measure]:
        """The columns of `table`, with headings for people."""
        return measures(self.models, self.study)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a model: "model", "images", scores as fractions of 1 ("top1", "top5", "mean_class_accuracy",
        "macro_f1", "calibration_error", "agreement"), in nats ("loss", "divergence"), costs ("parameters", "macs",
        "file_bytes", "milliseconds", "images_per_second"), and explanation scores ("TEST.SCORE", or
        "MAPS.TEST.SCORE" of several kinds of maps); what no model has is left out.
        """
        return model_table(self.models, self.study)

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """A row a model and class: model, class, name, images, accuracy (recall), precision, f1; NaN is undefined."""
        return class_table(self.models)

    @cached_property
    def mistakes(self) -> pd.DataFrame:
        """A row a model and pair of classes: model, true, predicted, images, share (of the true class's images)."""
        return mistake_table(self.models)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row a model and image: model, image, label, label_name, predicted, predicted_name, correct,
        probability_predicted, probability_label, loss, teacher, teacher_name, divergence, top5, top5_probabilities.
        """
        return prediction_table(self.models).to_pandas()

    @public()
    def confusion(self, model: str | None = None) -> pd.DataFrame:
        """(K, K) counts by class name: rows are the true classes, columns the predicted ones.

        Args:
            model: its name; by default the first.

        Raises:
            XkdError: there is none of that name.
        """
        return confusion_table(self._model(model))

    @public()
    def plot(self, model: str | None = None) -> Figure:
        """The confusion matrix; arguments as for `confusion`."""
        from distill.students.confusion_figure import confusion_figure

        chosen = self._model(model)
        title = f"{chosen.name}: {chosen.scores.n_images:,} images of {self.data}"
        return confusion_figure(matrix_of(chosen), distinct_names(chosen.classes), title)

    def to_dict(self) -> dict[str, Any]:
        """All but the single images as plain values: what `write` writes as JSON; None where a score is undefined."""
        return {
            "data": {"name": self.data, "split": self.split},
            "models": {model.name: self._described(model) for model in self.models},
            "notes": list(self.notes),
        }

    @public()
    def write(self, path: Path) -> None:
        """`to_dict` as JSON, or `table` as CSV or Markdown, by the path's suffix.

        Raises:
            XkdError: another suffix, or the file cannot be written; a former one survives.
        """
        check_suffix("output", path, SCORES)
        if path.suffix == ".json":
            content = (json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n").encode()
        elif path.suffix == ".csv":
            content = csv_bytes(self.table)
        else:
            content = _markdown(self)
        _replace(path, content, "output")

    @public()
    def write_predictions(self, path: Path) -> None:
        """`predictions` as Parquet.

        Raises:
            XkdError: another suffix, or the file cannot be written; a former one survives.
        """
        import pyarrow.parquet as pq

        check_suffix("predictions", path, PREDICTIONS)
        buffer = BytesIO()
        pq.write_table(prediction_table(self.models), buffer)
        _replace(path, buffer.getvalue(), "predictions")

    @public()
    def write_confusion(self, path: Path) -> None:
        """The confusion matrices of all models as CSV, or the first model's as a figure, by the path's suffix.

        Raises:
            XkdError: another suffix, or the file cannot be written; a former one survives.
        """
        import pandas as pd

        check_suffix("confusion", path, CONFUSION)
        if path.suffix in FIGURES:
            from xkd_eval.figures.style import save_figure

            save_figure(self.plot(), path)
            return
        tables = {model.name: confusion_table(model) for model in self.models}
        rows = pd.concat(tables, names=["model", "true"]).astype("Int64").reset_index()
        _replace(path, csv_bytes(rows.rename(columns=str)), "confusion")

    def _model(self, name: str | None) -> Measured:
        for model in self.models:
            if name in (None, model.name):
                return model
        raise XkdError(f"model: {name!r} was not evaluated; {nearest(str(name), list(self.scores))}")

    def _described(self, model: Measured) -> dict[str, Any]:
        numbers = {m.name: m.values[model.name] for m in measures([model], None)}
        latency = {} if model.latency is None else {"latency": asdict(model.latency)}
        classes = self.per_class[self.per_class["model"] == model.name].drop(columns="model")
        mistakes = self.mistakes[self.mistakes["model"] == model.name].drop(columns="model")
        return {
            "model": model.model,
            "is_teacher": model.is_teacher,
            **numbers,
            **latency,
            "explanations": _explanations(self.study, model.name),
            "classes": _records(classes),
            "mistakes": _records(mistakes),
        }

    def __repr__(self) -> str:
        said = ", ".join(f"{model.name} {100 * model.scores.top1:.1f} %" for model in self.models)
        return visible(f"<Evaluation on {self.data}: top-1 {said}; see .table, .per_class, .plot()>")

    def _repr_html_(self) -> str:
        from html import escape

        said = "".join(f"<p>{escape(visible(note))}</p>" for note in self.notes)
        shown = self.table.map(lambda cell: visible(cell) if isinstance(cell, str) else cell)
        return f"<p>{escape(visible(self.data))}</p>{shown.to_html(index=False, na_rep='')}{said}"


def _explanations(study: Study | None, model: str) -> list[dict[str, Any]]:
    if study is None:
        return []
    return _records(study.scores[study.scores["model"] == model].drop(columns="model"))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, NaN as None."""
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _markdown(evaluation: Evaluation) -> bytes:
    """A row a measure and a column a model, as the terminal shows it."""
    import pandas as pd

    from xkd_eval.comparison.formats import markdown
    from xkd_eval.escapes import markdown_text

    names = list(evaluation.scores)
    rows = [
        [measure.heading, *(measure.shown(measure.values[name]) if name in measure.values else "" for name in names)]
        for measure in evaluation.measures
    ]
    return markdown(pd.DataFrame(rows, columns=["", *map(markdown_text, names)])).encode()


def _replace(path: Path, content: bytes, argument: str) -> None:
    with writing(f"{argument} {path}:"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
