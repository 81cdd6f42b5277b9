"""What was measured, as data frames: a row a model, a class, a mistake, an image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from distill.students.confusion import class_scores, confusion_matrix, most_confused
from distill.students.measure import Measured
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.study.result import EvaluationResult, Study


@dataclass(frozen=True)
class Measure:
    """A column of the table of models.

    Attributes:
        name: in data frames and files.
        heading: for people.
        values: model -> number; those without one are absent.
        shown: a number for people.
    """

    name: str
    heading: str
    values: dict[str, float]
    shown: Callable[[float], str]


def measures(models: Sequence[Measured], study: Study | None) -> list[Measure]:
    """Everything that any of the models has a number of: scores, costs, explanation scores."""
    found = [
        Measure(name, heading, {model.name: number for model in models if (number := of(model)) is not None}, shown)
        for name, heading, of, shown in _COLUMNS
    ]
    return [measure for measure in found if measure.values] + list(_of_study(study))


def model_table(models: Sequence[Measured], study: Study | None) -> pd.DataFrame:
    """A row a model: "model", and a column a measure in its own unit; NaN where a model has none."""
    columns: dict[str, Any] = {"model": [model.name for model in models]}
    for measure in measures(models, study):
        values = [measure.values.get(model.name) for model in models]
        columns[measure.name] = (
            pd.array(values) if all(isinstance(v, int) for v in values) else pd.Series(values, dtype=float)
        )
    return pd.DataFrame(columns)


def class_table(models: Sequence[Measured]) -> pd.DataFrame:
    """A row a model and class, those without images included, in the classes' order."""
    return pd.concat([_classes(model) for model in models], ignore_index=True)


def mistake_table(models: Sequence[Measured]) -> pd.DataFrame:
    """A row a model and kind of mistake, each model's most frequent first."""
    rows = [
        (model.name, model.classes[true], model.classes[predicted], images, images / support[true])
        for model in models
        for matrix in [matrix_of(model)]
        for support in [matrix.sum(1)]
        for true, predicted, images in most_confused(matrix)
    ]
    return pd.DataFrame(rows, columns=["model", "true", "predicted", "images", "share"])


def confusion_table(model: Measured) -> pd.DataFrame:
    """(K, K) counts: rows true, columns predicted, both by name; names that several classes have are numbered."""
    names = distinct_names(model.classes)
    table = pd.DataFrame(matrix_of(model), index=names, columns=names)
    return table.rename_axis(index="true", columns="predicted")


def prediction_table(models: Sequence[Measured]) -> pa.Table:
    """A row a model and image, see `Evaluation.predictions`."""
    return pa.concat_tables([_predictions(model) for model in models])


def matrix_of(model: Measured) -> np.ndarray:
    """See `confusion_matrix`."""
    return confusion_matrix(model.answers, len(model.classes))


def distinct_names(names: Sequence[str]) -> list[str]:
    """Class names; those that several classes have, as ImageNet's two cranes, with their index behind them."""
    seen = Counter(names)
    return [name if seen[name] == 1 else f"{name} ({index})" for index, name in enumerate(names)]


def _classes(model: Measured) -> pd.DataFrame:
    scores = class_scores(matrix_of(model))
    return pd.DataFrame(
        {
            "model": model.name,
            "class": range(len(model.classes)),
            "name": list(model.classes),
            "images": scores.support,
            "accuracy": scores.accuracy,
            "precision": scores.precision,
            "f1": scores.f1,
        }
    )


def _predictions(model: Measured) -> pa.Table:
    answers, names = model.answers, np.array(model.classes, dtype=object)
    none = pa.nulls(len(model.ids))
    teacher = None if answers.teacher is None else answers.teacher.numpy()
    columns = {
        "model": pa.array([model.name] * len(model.ids)),
        "image": pa.array(model.ids),
        "label": pa.array(answers.labels.numpy()),
        "label_name": pa.array(names[answers.labels.numpy()]),
        "predicted": pa.array(answers.predicted.numpy()),
        "predicted_name": pa.array(names[answers.predicted.numpy()]),
        "correct": pa.array(answers.correct.numpy()),
        "probability_predicted": pa.array(answers.probabilities[:, 0].numpy()),
        "probability_label": pa.array(answers.loss.double().neg().exp().numpy()),
        "loss": pa.array(answers.loss.numpy()),
        "teacher": none.cast(pa.int64()) if teacher is None else pa.array(teacher),
        "teacher_name": none.cast(pa.string()) if teacher is None else _named(model, teacher),
        "divergence": none.cast(pa.float32()) if answers.divergence is None else pa.array(answers.divergence.numpy()),
        "top5": pa.array(answers.top.tolist(), pa.list_(pa.int64())),
        "top5_probabilities": pa.array(answers.probabilities.tolist(), pa.list_(pa.float32())),
    }
    return pa.table(columns)


def _named(model: Measured, classes: np.ndarray) -> pa.Array:
    """A teacher may answer a class that the model does not have."""
    known = len(model.classes)
    return pa.array([model.classes[index] if index < known else None for index in classes], pa.string())


def _of_study(study: Study | None) -> Iterator[Measure]:
    """A measure an explanation score that tables show, of each test and kind of maps."""
    groups: dict[tuple[str, str], list[EvaluationResult]] = {}
    for result in study.results if study is not None else ():
        groups.setdefault((result.test_name, result.maps), []).append(result)
    several_maps = len({maps for _, maps in groups}) > 1
    tests = {test: _specs(results[0]) for (test, _), results in groups.items()}
    heads = Counter(spec.head for specs in tests.values() for spec in specs)
    for (test, maps), results in groups.items():
        for spec in tests[test]:
            values = {result.model: _value(spec, result) for result in results}
            known = {model: value for model, value in values.items() if value is not None}
            beside = [*([test] if heads[spec.head] > 1 else []), *([maps] if several_maps else [])]
            heading = spec.head + (", %" if spec.unit == "%" else "") + (f" ({', '.join(beside)})" if beside else "")
            name = ".".join([*([maps] if several_maps else []), test, spec.name])
            yield Measure(name, heading, known, _shown_as(spec))


def _specs(result: EvaluationResult) -> list[ScoreSpec]:
    """Those that tables show, of maps alone: how often the model is right stands beside them."""
    return [spec for spec in result.test.specs() if spec.x is None and spec.is_at_least("shown") and spec.of_maps]


def _value(spec: ScoreSpec, result: EvaluationResult) -> float | None:
    found = spec.of(result.summary)
    value = None if found is None else found["value"]
    return None if value is None or math.isnan(value) else float(value)


def _shown_as(spec: ScoreSpec) -> Callable[[float], str]:
    return lambda value: f"{spec.scale * value:.{1 if spec.unit == '%' else 3}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _macro(column: str) -> Callable[[Measured], float]:
    """The mean over classes with images; an undefined precision makes an F1 of 0, as the literature has it."""
    return lambda model: float(np.nanmean(getattr(class_scores(matrix_of(model)), column)[_present(model)]))


def _present(model: Measured) -> np.ndarray:
    return np.unique(model.answers.labels.numpy())


def _timed(field: str) -> Callable[[Measured], float | None]:
    return lambda model: None if model.latency is None else getattr(model.latency, field)


def _large(value: float) -> str:
    """1,814,073,344 -> 1.81 G."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.0f}"


_COLUMNS: tuple[tuple[str, str, Callable[[Measured], float | None], Callable[[float], str]], ...] = (
    ("images", "images", lambda model: model.scores.n_images, lambda value: f"{value:,}"),
    ("top1", "top-1, %", lambda model: model.scores.top1, _percent),
    ("top5", "top-5, %", lambda model: model.scores.top5, _percent),
    ("mean_class_accuracy", "mean class accuracy, %", _macro("accuracy"), _percent),
    ("macro_f1", "macro F1, %", _macro("f1"), _percent),
    ("loss", "loss", lambda model: model.scores.loss, lambda value: f"{value:.4f}"),
    ("calibration_error", "calibration error, %", lambda model: model.scores.calibration_error, _percent),
    ("agreement", "agrees with teacher, %", lambda model: model.scores.agreement, _percent),
    ("divergence", "KL to teacher, nats", lambda model: model.scores.divergence, lambda value: f"{value:.4f}"),
    ("parameters", "parameters", lambda model: model.cost.parameters, _large),
    ("macs", "multiply-accumulates", lambda model: model.cost.macs, _large),
    ("file_bytes", "file, MB", lambda model: model.file_bytes, lambda value: f"{value / 1e6:.2f}"),
    (
        "milliseconds",
        "ms, one image",
        _timed("milliseconds"),
        lambda value: f"{value:.3g}",
    ),
    (
        "images_per_second",
        "images/s, in batches",
        _timed("images_per_second"),
        lambda value: f"{value:,.0f}",
    ),
)
