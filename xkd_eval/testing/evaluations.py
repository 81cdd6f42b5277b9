"""The contract of a test."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from xkd_eval.arguments import public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.study.evaluate import evaluate
from xkd_eval.study.result import EvaluationResult, Study

_IMAGES = 6


@public()
def check_test(
    test: str | type[Evaluation] | Evaluation,
    dataset: ImageDataset | None = None,
    classifier: str | Classifier = "embedded/kd",
    reference: str | Classifier = "embedded/teacher",
) -> None:
    """Check what every study relies on in a test.

    It is made again from what its run directory records, with the same protocol hash. Its rows are one value or list an
    image, each of which depends on its own image alone: neither on the batch nor on the order. Each score is finite or
    undefined, as are the values whose mean it is, and their mean is the score. Summary and settings are plain values.

    Args:
        test: by name, as a class, or as it is to be run.
        dataset: with what the test needs; None is a few images of the embedded set.
        classifier: to be evaluated.
        reference: for a test that needs one.

    Raises:
        AssertionError: something is violated; the message says what.
        XkdError: no such test, data that lacks what the test needs, or what every run of a test would refuse.
    """
    images = EmbeddedDataset("test", size=_IMAGES) if dataset is None else dataset
    result = _run(test, images, classifier, reference)
    made = result.test
    _check_made_again(made)
    _check_rows(made, result)
    _check_alone(made, result, test, images, classifier, reference)
    _check_scores(made, result)


def _run(test: Any, images: ImageDataset, classifier: Any, reference: Any, **options: Any) -> EvaluationResult:
    first, second = (load_classifier(model) for model in (reference, classifier))
    study: Study = evaluate({"reference": first, "model": second}, images, tests=[test], **options)
    return study.result("model", study.results[0].test.name)


def _check_made_again(test: Evaluation) -> None:
    again = type(test).from_description(test.protocol.to_dict(), test.settings())
    if again.protocol.hash != test.protocol.hash:
        _fail(test, "`from_description` makes a test of another protocol hash")
    if [spec.name for spec in again.specs()] != [spec.name for spec in test.specs()]:
        _fail(test, "`from_description` makes a test of other scores")


def _check_rows(test: Evaluation, result: EvaluationResult) -> None:
    for name, values in test.columns(result.columns).items():
        if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
            _fail(test, f"its column {name!r} is not finite; `columns` returns finite values alone")
    if test.columns_of_all:
        return
    whole = test.columns(result.columns)
    halves = [
        test.columns({name: values[part] for name, values in result.columns.items()})
        for part in (slice(None, _IMAGES // 2), slice(_IMAGES // 2, None))
    ]
    for name, values in whole.items():
        parts = [half[name] for half in halves if name in half]
        if len(parts) < 2 or not _equal(values, np.concatenate(parts)):
            _fail(
                test,
                f"its `columns` makes another {name!r} of some of the rows than of all; set `columns_of_all = True`",
            )


def _check_alone(
    test: Evaluation, result: EvaluationResult, given: Any, images: ImageDataset, classifier: Any, reference: Any
) -> None:
    """In other batches, and in the reverse order."""
    for order, options in ((range(len(images)), {"batch_size": 1}), (range(len(images))[::-1], {"batch_size": 4})):
        other = _run(given, Subset(images, list(order)), classifier, reference, **options)
        places = {name: place for place, name in enumerate(other.ids)}
        shared = [name for name in result.ids if name in places]
        mine = [result.ids.index(name) for name in shared]
        theirs = [places[name] for name in shared]
        for name, values in result.columns.items():
            if name != "position" and not _equal(values[mine], other.columns[name][theirs]):
                _fail(test, f"its column {name!r}: values depend on the other images of the batch, or on their order")


def _check_scores(test: Evaluation, result: EvaluationResult) -> None:
    for spec in test.specs():
        found = spec.of(result.summary)
        if found is None:
            _fail(test, f"its score {spec.name!r} is not in the summary")
        if spec.per_image is None or spec.x is not None or found["value"] is None:
            continue
        values = np.asarray(spec.per_image(result.columns), dtype=np.float64)
        mean = values[~np.isnan(values)].mean()
        if abs(mean - found["value"]) > 1e-6 * max(1.0, abs(mean)):
            _fail(test, f"the mean of `per_image` of {spec.name!r} is {mean:.6g}, and the score {found['value']:.6g}")


def _equal(values: np.ndarray, others: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return np.array_equal(values, others, equal_nan=True)
    return np.array_equal(values, others)


def _fail(test: Evaluation, violated: str) -> NoReturn:
    raise AssertionError(f"{getattr(test, 'name', type(test).__name__)}: {violated}")
