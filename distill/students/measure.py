"""Measure any classifier on labelled images: what `xkd-distill evaluate` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.photographs import HeldOutPhotographs
from distill.data.splits import Labelled
from distill.students.scores import Scores, score
from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import Workers, public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.datasets import ImageDataset, open_dataset, resolve_labels
from xkd_eval.datasets import limit as stratified_sample
from xkd_eval.datasets.base import Subset
from xkd_eval.devices import resolve_device
from xkd_eval.engines.eager import prepare
from xkd_eval.errors import XkdError, renamed

_AT_ONCE = 250


@public()
@plain_torch()
def measure(
    model: str,
    data: str,
    *,
    weights: Path | None = None,
    teacher: str | None = None,
    teacher_weights: Path | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: Workers = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Accuracy, loss, calibration, and agreement with a teacher.

    Args:
        model, teacher: what `load_classifier` takes; each sees its own Preprocess.
        data: what `open_dataset` takes, its held-out part.
        weights, teacher_weights: files for an architecture's name.
        limit: only a label-stratified sample of so many.
        device: "auto", "cpu", "cuda", ...
        workers: processes that decode.
        progress: called with the images done and the images in all, after every batch.

    Returns:
        The scores on those images that have a label among the model's classes.

    Raises:
        XkdError: bad input; a model of other classes than its teacher or the data.
    """
    where = resolve_device(device)
    dataset = open_dataset(data, split="test")
    if limit is not None:
        dataset = stratified_sample(dataset, limit)
    student = load_classifier(model, weights=weights)
    labelled = _labelled(dataset, student)
    n_images, passes = len(labelled.labels), 1 if teacher is None else 2
    report = progress or (lambda done, total: None)

    def batches(classifier: Classifier, done: int) -> Iterator[LabelledBatch]:
        images = HeldOutPhotographs(labelled, classifier.preprocess, where, ProcessRank(), workers)
        for batch in images.batches(_AT_ONCE):
            yield batch
            done += len(batch.labels)
            report(done, passes * n_images)

    answers: dict[int, Tensor] = {}
    if teacher is not None:
        other = _load_teacher(teacher, teacher_weights, dataset, labelled)
        forward = _forward(other, where)
        with torch.inference_mode():
            answers = {int(batch.indices[0]): forward(batch.pixels).argmax(1) for batch in batches(other, 0)}
    return score(
        _forward(student, where),
        batches(student, (passes - 1) * n_images),
        None if teacher is None else lambda batch: answers[int(batch.indices[0])],
    )


def _forward(classifier: Classifier, device: torch.device) -> Callable[[Tensor], Tensor]:
    prepared = prepare(classifier, device)
    return lambda pixels: prepared(classifier.preprocess.normalise(pixels))


def _load_teacher(model: str, weights: Path | None, dataset: ImageDataset, labelled: Labelled) -> Classifier:
    try:
        teacher = load_classifier(model, weights=weights)
        labels = _labelled(dataset, teacher).labels
    except XkdError as error:
        raise XkdError(f"teacher: {str(error).removeprefix('model: ').removeprefix('data: ')}") from None
    if labels != labelled.labels:
        raise XkdError(f"teacher: the classes of {teacher.name} have another order than those of the model")
    return teacher


def _labelled(dataset: ImageDataset, classifier: Classifier) -> Labelled:
    """The images that have a label; the others can be neither right nor wrong."""
    try:
        labels = resolve_labels(dataset, classifier)
    except XkdError as error:
        raise XkdError(renamed(str(error), {"class_map": "folders that are named by WordNet ids"}, quote="")) from None
    positions = [position for position, label in enumerate(labels) if label is not None]
    if not positions:
        raise XkdError(f"data: no image of {dataset.name} has a label among the classes of {classifier.name}")
    known = [label for label in labels if label is not None]
    return Labelled(dataset if len(known) == len(labels) else Subset(dataset, positions), known)
