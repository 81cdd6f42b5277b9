"""evaluate(): what students are worth, side by side and beside their teacher."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import nn

from distill.data import IMAGES
from distill.data.classes import check_one_label
from distill.data.listing import images_trained_on
from distill.students.evaluation import Evaluation
from distill.students.latency import Latency, latency_of
from distill.students.measure import Measured, Measurement, Progress, Subject, answers_from, measured, teacher_of
from distill.students.names import Models, names_of, unique_name
from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import Within, Workers, check_known, public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import open_classifier, told_of
from xkd_eval.classifiers.overrides import FIELDS
from xkd_eval.classifiers.weights.unwrapping import parted
from xkd_eval.classifiers.words import weights_in, without_words
from xkd_eval.datasets import ImageDataset, open_dataset
from xkd_eval.datasets import limit as stratified_sample
from xkd_eval.datasets.checks import checked
from xkd_eval.devices import resolve_device
from xkd_eval.errors import XkdError, renamed
from xkd_eval.explainers import Explainer
from xkd_eval.foreign import is_there, short
from xkd_eval.registry import parameters
from xkd_eval.study.choose import TestLike
from xkd_eval.study.evaluate import evaluate as evaluate_explanations
from xkd_eval.study.inputs import Data
from xkd_eval.study.models import Model
from xkd_eval.study.result import Study

_Loading = Callable[[str, Model, str | Path | None], Classifier]
"""A model's name, the model, its weights -> Classifier."""


@public(model="models")
@plain_torch()
def evaluate(
    models: Models,
    data: Data = "embedded",
    *,
    split: Literal["test", "val", "train"] = "test",
    weights: str | Path | Sequence[str | Path] | None = None,
    teacher: Model | None = None,
    teacher_weights: Path | None = None,
    limit: Annotated[int, Within(1)] | None = None,
    latency: bool = False,
    measure: TestLike | Sequence[TestLike] = (),
    explainers: str | Explainer | Sequence[str | Explainer] = ("cam",),
    measure_data: Data | None = None,
    measure_limit: Annotated[int, Within(1)] | None = None,
    runs: Path | None = None,
    device: str = "auto",
    workers: Workers = 0,
    progress: Progress | None = None,
    **overrides: Any,
) -> Evaluation:
    """Measure classifiers on labelled images: accuracy, per class too, calibration, cost, agreement with a teacher.

    Args:
        models: one, several, or a mapping from names: what `load_classifier` takes; each sees its own Preprocess.
        data: what `open_dataset` takes, or an ImageDataset.
        split: the part of the data; "val" and "test" stand in for each other where a set has one of them.
        weights: files for architectures' names, one a model in order.
        teacher: another model, which is measured too. It may know more classes than the models, or have them in another
            order: they are joined by name, and it is asked for these alone.
        teacher_weights: a file for an architecture's name.
        limit: only a label-stratified sample of so many.
        latency: time single images and batches, too.
        measure: tests of explanations that `xkd-eval tests` lists, with options where wanted
            ("perturbation:fill=blur"). The teacher is their reference.
        explainers: whose maps are tested: names that `xkd-eval explainers` lists, or Explainers.
        measure_data: images for these tests, such as a set with masks; by default those of `data`.
        measure_limit: only a label-stratified sample of so many for these tests.
        runs: where these tests keep their rows, shared with `xkd_eval.evaluate`; by default in memory.
        device: "auto", "cpu", "cuda", ...
        workers: processes that decode.
        progress: called with what is under way, how much of it is done and how much there is.
        overrides: fields of Preprocess that replace those of all models, the teacher's too: size, mean, std, ...; what
            stands behind a model's name ("student.pt,size=64") wins for that one.

    Returns:
        The results on those images that have a label among a model's classes.

    Raises:
        XkdError: bad input; a model of other classes than its teacher or the data.

    Example:
        >>> import distill
        >>> found = distill.evaluate({"small": "embedded/kd"}, teacher="embedded", limit=40)
        >>> found.table["model"].tolist()
        ['small', 'embedded (teacher)']
        >>> 0 <= found.scores["small"].agreement <= 1
        True
    """
    check_known(overrides, [*parameters(evaluate), *FIELDS])
    where = resolve_device(device)
    dataset = checked(data) if isinstance(data, ImageDataset) else open_dataset(data, split=split)
    check_one_label(dataset)
    dataset = dataset if limit is None else stratified_sample(dataset, limit)
    loading = partial(_loaded, overrides)
    subjects = _subjects(models, weights, dataset, loading)
    master = None if teacher is None else _teacher(teacher, teacher_weights, subjects, loading)
    everybody = subjects if master is None else [*subjects, master]
    tested = None
    if measure:
        # First, since an unknown name or data without masks end it.
        chosen = dataset if measure_data is None else measure_data
        options: dict[str, Any] = {
            "limit": measure_limit,
            "runs": runs,
            "device": str(where),
            "workers": workers,
            "progress": progress,
        }
        tested = _explanations(everybody, chosen, measure, explainers, options, measure_data is not None)
    elif measure_data is not None or measure_limit is not None or runs is not None:
        given = "measure_data" if measure_data is not None else "measure_limit" if measure_limit is not None else "runs"
        raise XkdError(f"{given}: found without `measure`, which alone reads it; name tests there, or leave it out")
    found = _measured(subjects, master, Measurement(where, workers, progress), str(where) if latency else None)
    seen = [] if split == "train" else _seen(everybody)
    notes = (*_unknown(subjects, dataset), *seen, *_notes(everybody))
    return Evaluation(dataset.name, split, tuple(found), tested, notes)


def _loaded(overrides: Mapping[str, Any], name: str, model: Model, weights: str | Path | None) -> Classifier:
    classifier = open_classifier(model, weights=weights, **overrides)
    told_of(classifier, model, weights, name).tell()
    return classifier


def _subjects(
    models: Models, weights: str | Path | Sequence[str | Path] | None, dataset: ImageDataset, loading: _Loading
) -> list[Subject]:
    """The models, loaded, with the images that they can be right about."""
    named = names_of(models)
    given: list[str | Path | None] = [weights] if isinstance(weights, str | Path) else list(weights or ())
    if given and len(given) != len(named):
        raise XkdError(f"weights: {len(given)} files for {len(named)} models; give one each, in the same order")
    files = given or [None] * len(named)
    return [_subject(name, model, file, dataset, loading) for (name, model), file in zip(named, files, strict=True)]


def _subject(name: str, model: Model, weights: str | Path | None, dataset: ImageDataset, loading: _Loading) -> Subject:
    classifier = loading(name, model, weights)
    return Subject.of(name, _text(model, classifier), _file(model, weights), classifier, dataset)


def _teacher(model: Model, weights: Path | None, subjects: list[Subject], loading: _Loading) -> Subject:
    try:
        ((called, given),) = names_of([model])
        classifier = loading(f"{called} (teacher)", given, weights)
    except XkdError as error:
        said = renamed(str(error), {"weights": "teacher_weights"})
        raise XkdError(re.sub(r"^models?: ", "teacher: ", said)) from None
    name = unique_name(f"{called} (teacher)", {subject.name for subject in subjects})
    return teacher_of(subjects, name, _text(given, classifier), _file(given, weights), classifier)


def _file(model: Model, weights: str | Path | None) -> Path | None:
    """The file that the weights lie in."""
    named = None if isinstance(model, nn.Module) else without_words(model)
    source = next((file for file in (weights_in(model), weights, named) if file is not None), None)
    if source is None:
        return None
    file = parted(source)[0]
    return file if is_there(file, Path.is_file) else None


def _text(model: Model, classifier: Classifier) -> str:
    return str(model) if isinstance(model, str | Path) else classifier.name


def _measured(
    subjects: list[Subject], teacher: Subject | None, measurement: Measurement, timed_on: str | None
) -> list[Measured]:
    """Everybody's answers, the teacher's first, since the others are held against them."""
    logits = None if teacher is None else measurement.logits(teacher)

    def latency(classifier: Classifier) -> Latency | None:
        return None if timed_on is None else latency_of(classifier, timed_on)

    found = [
        measured(subject, measurement.answers(subject, logits), latency(subject.classifier)) for subject in subjects
    ]
    if teacher is not None and logits is not None:
        found.append(measured(teacher, answers_from(logits, teacher.labelled.labels), latency(teacher.classifier)))
    return found


def _explanations(
    everybody: list[Subject],
    data: Data,
    measure: TestLike | Sequence[TestLike],
    explainers: str | Explainer | Sequence[str | Explainer],
    options: dict[str, Any],
    own_data: bool,
) -> Study:
    """The tests by xkd_eval, on the same images; the teacher, or else the first model, is the reference."""
    ordered = sorted(everybody, key=lambda subject: not subject.is_teacher)
    models: Mapping[str, Classifier] = {subject.name: subject.classifier for subject in ordered}
    names = {"tests": "measure", "limit": "measure_limit", **({"data": "measure_data"} if own_data else {})}
    try:
        return evaluate_explanations(models, data, tests=measure, explainers=explainers, **options)
    except XkdError as error:
        said = renamed(str(error), names)
        # What no option here names.
        raise XkdError(
            renamed(said, dict.fromkeys(("labels", "boxes"), "them to xkd-eval evaluate"), quote="")
        ) from None


def _unknown(subjects: list[Subject], dataset: ImageDataset) -> list[str]:
    """Images that are left out, since a model does not know their class."""
    said = []
    for subject in subjects:
        there = set(subject.positions)
        left = [label for place, label in enumerate(dataset.labels) if place not in there and label is not None]
        if left:
            classes = list(dict.fromkeys(map(str, left)))
            some = ", ".join(map(short, classes[:3])) + (", ..." if len(classes) > 3 else "")
            said.append(
                f"{subject.name}: {len(left):,} of {len(dataset):,} images are left out, of classes that it does not "
                f"know ({some})"
            )
    return said


def _seen(everybody: list[Subject]) -> list[str]:
    """Images that a model was trained on, where its training divided the set itself."""
    said = []
    for subject in everybody:
        images = subject.labelled.dataset
        count = 0 if subject.file is None else images_trained_on(subject.file.parent, images)
        if count:
            assert subject.file is not None
            said.append(
                f"{subject.name}: it was trained on {count:,} of these {len(images):,} images; those that it was not "
                f"trained on are the test images of {str(subject.file.parent / IMAGES)!r}, to be given as `data`"
            )
    return said


def _notes(everybody: list[Subject]) -> list[str]:
    """Rows that are of one file, in whatever words it was named, and of one part of it."""
    rows: dict[tuple[Path, str], list[str]] = defaultdict(list)
    for subject in everybody:
        if subject.file is not None:
            rows[subject.file.resolve(), subject.classifier.digest()].append(subject.name)
    return [
        f"{' and '.join(map(short, names))} are one file, {path}" for (path, _), names in rows.items() if len(names) > 1
    ]
