"""Ask a classifier about the labelled images of a set: every answer, from which all scores follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.joining import class_places
from distill.data.photographs import HeldOutPhotographs
from distill.data.splits import Classes, Labelled
from distill.students.cost import Cost, cost_of
from distill.students.latency import Latency
from distill.students.scores import Answers, Scores, answers_of, logits_of, scores_of
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets import ImageDataset, resolve_labels
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.labels import wordnet_ids_of
from xkd_eval.engines.eager import check_finite, prepare
from xkd_eval.errors import XkdError, renamed

_AT_ONCE = 250

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Measured:
    """One classifier on one set of labelled images.

    Attributes:
        name: what tables call it.
        model: as it was given.
        is_teacher: whether the others are held against it.
        classes: K names.
        ids: of the N images that have a label among them.
        answers: to these images, on the CPU.
        scores: of all answers.
        cost: parameters and multiply-accumulates.
        file_bytes: of the file with its weights; None where they lie in none.
        latency: None where it was not asked for.
    """

    name: str
    model: str
    is_teacher: bool
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    answers: Answers
    scores: Scores
    cost: Cost
    file_bytes: int | None = None
    latency: Latency | None = None


@dataclass(frozen=True)
class Subject:
    """A classifier that is to be measured.

    Attributes:
        name, model, is_teacher: see Measured.
        file: with its weights; None where they lie in none.
        classifier: as loaded.
        labelled: the images with a label among its classes.
        positions: their places in the whole set.
        places: of a teacher, (K,) where it has each class of the first model; None where its classes are these.
    """

    name: str
    model: str
    file: Path | None
    is_teacher: bool
    classifier: Classifier
    labelled: Labelled
    positions: list[int]
    places: list[int] | None = None

    @classmethod
    def of(cls, name: str, model: str, file: Path | None, classifier: Classifier, dataset: ImageDataset) -> Subject:
        """A classifier and those images of a set that it can be right or wrong about.

        Raises:
            XkdError: no image has a label among its classes, or the set's classes are others.
        """
        try:
            labels = resolve_labels(dataset, classifier)
        except XkdError as error:
            folders = "folders that are named by WordNet ids"
            raise XkdError(renamed(str(error), {"class_map": folders}, quote="")) from None
        positions = [position for position, label in enumerate(labels) if label is not None]
        if not positions:
            raise XkdError(f"data: no image of {dataset.name} has a label among the classes of {classifier.name}")
        known = [label for label in labels if label is not None]
        part = dataset if len(known) == len(labels) else Subset(dataset, positions)
        return cls(name, model, file, False, classifier, Labelled(part, known), positions)

    def asked(self) -> tuple[list[int], list[int], Classes]:
        """Which images, and what their classes are."""
        return self.positions, self.labelled.labels, self.classes()

    def classes(self) -> Classes:
        """Its classes as `class_places` takes them: by what the data is labelled by."""
        classifier, kind = self.classifier, self.labelled.dataset.label_kind
        ids = tuple(wordnet_ids_of(classifier)) if kind == "wordnet" else None
        return Classes(classifier.num_classes, classifier.class_names, ids)


def teacher_of(
    subjects: Sequence[Subject], name: str, model: str, file: Path | None, classifier: Classifier
) -> Subject:
    """The teacher of all models, asked about the images of the first.

    Args:
        subjects: at least one.
        name, model, file, classifier: the teacher's.

    Raises:
        XkdError: it does not know a class of the first model, or the others are not about the same images and classes.
    """
    first = subjects[0]
    for other in subjects[1:]:
        if first.asked() != other.asked():
            raise XkdError(
                f"teacher: {first.name} and {other.name} have other classes, or have them in another order; evaluate "
                "them apart"
            )
    places = class_places(first.classes(), classifier)
    return Subject(name, model, file, True, classifier, first.labelled, first.positions, places)


class Measurement:
    """Asks one classifier after the other, the teacher once for all.

    Args:
        device: where they run.
        workers: processes that decode.
        progress: told after every batch.
    """

    def __init__(self, device: torch.device, workers: int, progress: Progress | None) -> None:
        self._device = device
        self._workers = workers
        self._progress = progress or (lambda what, done, total: None)

    def logits(self, teacher: Subject) -> Tensor:
        """(N, K) float32 of the first model's classes, on the CPU."""
        forward = self._forward(teacher.classifier)
        found = logits_of(forward, self._batches(teacher), len(teacher.positions)).cpu()
        return found if teacher.places is None else found[:, teacher.places]

    def answers(self, subject: Subject, teacher: Tensor | None) -> Answers:
        """On the CPU.

        Args:
            subject: that is asked.
            teacher: (N, K) logits of the teacher on the same images, or None.
        """
        known = None if teacher is None else teacher.to(self._device)
        told = None if known is None else lambda batch: known[batch.indices]
        return answers_of(self._forward(subject.classifier), self._batches(subject), told).each(Tensor.cpu)

    def _forward(self, classifier: Classifier) -> Callable[[Tensor], Tensor]:
        prepared = prepare(classifier, self._device)

        def forward(pixels: Tensor) -> Tensor:
            logits = prepared(classifier.preprocess.normalise(pixels))
            check_finite(logits, classifier.name, "some of the images")
            return logits

        return forward

    def _batches(self, subject: Subject) -> Iterator[LabelledBatch]:
        preprocess, done, total = subject.classifier.preprocess, 0, len(subject.positions)
        images = HeldOutPhotographs(subject.labelled, preprocess, self._device, ProcessRank(), self._workers)
        for batch in images.batches(_AT_ONCE):
            yield batch
            done += len(batch.labels)
            self._progress(subject.name, done, total)


def answers_from(logits: Tensor, labels: list[int]) -> Answers:
    """The answers of a classifier whose (N, K) logits are known already, as the teacher's are."""
    return answers_of(lambda given: given, [LabelledBatch(logits, torch.tensor(labels), torch.arange(len(labels)))])


def measured(subject: Subject, answers: Answers, latency: Latency | None) -> Measured:
    """A classifier with its answers, scores and cost."""
    return Measured(
        name=subject.name,
        model=subject.model,
        is_teacher=subject.is_teacher,
        classes=_class_names(subject),
        ids=tuple(subject.labelled.dataset.ids),
        answers=answers,
        scores=scores_of(answers),
        cost=cost_of(subject.classifier),
        file_bytes=None if subject.file is None else _bytes_of(subject.file),
        latency=latency,
    )


def _bytes_of(file: Path) -> int:
    """Of a file of weights; OpenVINO's lie beside it."""
    beside = file.with_suffix(".bin")
    return file.stat().st_size + (beside.stat().st_size if file.suffix == ".xml" and beside.is_file() else 0)


def _class_names(subject: Subject) -> tuple[str, ...]:
    """K names: the classifier's, or else the set's, whose indices or sorted folders are its classes then."""
    classifier, dataset = subject.classifier, subject.labelled.dataset
    own = classifier.class_names or classifier.wordnet_ids
    if own is not None and subject.places is not None:
        own = tuple(own[place] for place in subject.places)
    if own is None and dataset.label_kind in ("index", "name") and len(dataset.classes or ()) == classifier.num_classes:
        own = dataset.classes
    return tuple(own) if own else tuple(map(str, range(classifier.num_classes)))
