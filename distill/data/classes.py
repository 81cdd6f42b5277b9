"""The classes of a data set's training images, and the images of its other parts among them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset, resolve_labels
from xkd_eval.datasets.base import Label
from xkd_eval.datasets.labels import normalised
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import near

_MOST_NAMED = 5


@dataclass(frozen=True)
class Classes:
    """What a data set calls its classes.

    Attributes:
        count: K.
        names: K class names, or None.
        wordnet_ids: K WordNet ids, or None.
    """

    count: int
    names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None

    def said(self) -> tuple[str, ...]:
        """A text for each class: its name, its WordNet id or its index."""
        return self.names or self.wordnet_ids or tuple(map(str, range(self.count)))


def classes_of(train: ImageDataset) -> Classes:
    """The classes of training images, in the order of their indices.

    Labels that are whole numbers are class indices if they start at 0; those that do not, 1 to 102, are what the
    classes are called.

    Raises:
        XkdError: an image has no label, or no image has an index below the largest.
    """
    if train.label_kind == "none":
        raise XkdError(f"data: the training images of {train.name} have no labels; expected one an image")
    _check_labelled(train, "training")
    if train.label_kind == "index" and train.classes:
        return Classes(len(train.classes), train.classes)
    if train.label_kind == "index":
        numbers = sorted({int(str(label)) for label in train.labels})
        return Classes(len(numbers), tuple(map(str, numbers))) if numbers[0] > 0 else Classes(_count(train, numbers))
    names = train.classes or tuple(sorted({str(label) for label in train.labels}))
    return Classes(len(names), names) if train.label_kind == "name" else Classes(len(names), wordnet_ids=names)


def are_indices(train: ImageDataset, classes: Classes) -> bool:
    """Whether the labels of training images are the indices of their classes, and not what these are called."""
    return train.label_kind == "index" and classes.names == train.classes


def training_labels(train: ImageDataset, classes: Classes) -> list[int]:
    """Each training image's class index."""
    if are_indices(train, classes):
        return [int(str(label)) for label in train.labels]
    place = {name: index for index, name in enumerate(classes.said())}
    return [place[str(label)] for label in train.labels]


def labels_among(part: ImageDataset, classes: Classes, *, by_index: bool, called: str) -> list[int]:
    """The index of each image of another part among the classes of the training images.

    Indices hold as they are or as both sides' class names say; other labels are the classes of that name, or else of
    that name but for case, underscores, and zeros before a number.

    Args:
        part: of the same data set.
        classes: of the training images.
        by_index: whether the training images are labelled by index too.
        called: the part, for the messages: "test", "validation".

    Raises:
        XkdError: an image without a label, or with one that the training images do not have: it is named, and the
            nearest that they have.
    """
    if part.label_kind == "none":
        raise XkdError(f"data: the {called} images of {part.name} have no labels; expected one an image")
    _check_labelled(part, called)
    if part.label_kind == "index" and (by_index or part.classes):
        # Without names on both sides nothing says that indices are other ones.
        known = classes if part.classes else replace(classes, names=None)
        labels = resolve_labels(part, _student(known))
    else:
        table = _table(part, classes)
        labels = [table.get(label) for label in part.labels]
    unknown = Counter(label for label, index in zip(part.labels, labels, strict=True) if index is None)
    if unknown:
        raise XkdError(
            f"data: {unknown.total()} {called} images of {part.name} are of classes that the training images do not "
            f"have: {_compared(unknown, classes)}; rename them, or leave them out"
        )
    return [index for index in labels if index is not None]


def without_images(classes: Classes, labels: Iterable[int]) -> tuple[str, ...]:
    """A sentence on the classes that no training image is of; none where each has one."""
    present = set(labels)
    empty = [name for index, name in enumerate(classes.said()) if index not in present]
    if not empty:
        return ()
    listed = ", ".join(map(short, empty[:_MOST_NAMED])) + (", ..." if len(empty) > _MOST_NAMED else "")
    return (f"{len(empty)} of {classes.count} classes have no training image, so nothing trains them: {listed}",)


def check_one_label(part: ImageDataset) -> None:
    """Raise XkdError for a set in which a photograph is an image once a label: no class is right or wrong there."""
    if part.label_sets is not None:
        raise XkdError(f"data: the photographs of {part.name} have several labels each; expected one an image")


def _check_labelled(part: ImageDataset, called: str) -> None:
    check_one_label(part)
    unlabelled = [name for name, label in zip(part.ids, part.labels, strict=True) if label is None]
    if unlabelled:
        raise XkdError(
            f"data: {len(unlabelled)} {called} images of {part.name} have no label, the first {unlabelled[0]}"
        )


def _count(train: ImageDataset, numbers: list[int]) -> int:
    """K of labels that are 0 to K - 1; one that no image has would be a logit that nothing trains."""
    if numbers != list(range(len(numbers))):
        present = set(numbers)
        missing = itertools.islice((index for index in itertools.count() if index not in present), 3)
        raise XkdError(
            f"data: the labels of {train.name} run from {numbers[0]} to {numbers[-1]}, and no image has "
            f"{', '.join(map(str, missing))}, ...; expected 0 to K - 1 with an image each, or a set with class names"
        )
    return len(numbers)


def _student(classes: Classes) -> Classifier:
    """What `resolve_labels` reads of a network of these classes."""
    return Classifier(
        nn.Identity(),
        Preprocess(),
        name="the student",
        num_classes=classes.count,
        class_names=classes.names,
        wordnet_ids=classes.wordnet_ids,
    )


def _table(part: ImageDataset, classes: Classes) -> dict[Label, int | None]:
    """Label -> class index, by what they are called."""
    exact = {name: index for index, name in enumerate(classes.said())}
    counts = Counter(map(_plain, exact))
    loose = {_plain(name): index for name, index in exact.items() if counts[_plain(name)] == 1}
    return {label: exact.get(str(label), loose.get(_plain(str(label)))) for label in set(part.labels)}


def _plain(name: str) -> str:
    """A class name for comparing: "Tabby_cat" and "tabby cat" are one, and so are "007" and "7"."""
    return str(int(name)) if name.isascii() and name.isdecimal() and len(name) < 10 else normalised(name)


def _compared(unknown: Counter[Label], classes: Classes) -> str:
    """Labels, and which of the training images' are most like them."""
    texts = sorted(map(str, unknown))
    said = [f"{short(text)} ({_like(text, classes.said())})" for text in texts[:_MOST_NAMED]]
    return ", ".join(said) + (f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else "")


def _like(text: str, names: Sequence[str]) -> str:
    like = near(text, names, count=2)
    return f"the training images have {' and '.join(map(short, like or names[:2]))}{'' if like else ', ...'}"
