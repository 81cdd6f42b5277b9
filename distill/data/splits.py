"""What is trained on, held out and tested: opened by the evaluator's readers, labelled by one list of classes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import nn

from distill.data.identity import ImagesIdentity, identity_of
from distill.recipe.data import DeviceData, WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset, limit, open_dataset, resolve_labels
from xkd_eval.datasets.base import Subset
from xkd_eval.errors import XkdError


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


@dataclass(frozen=True)
class Labelled:
    """A data set and the class index of each of its images.

    Attributes:
        dataset: N images.
        labels: N class indices.
    """

    dataset: ImageDataset
    labels: list[int]


@dataclass(frozen=True)
class Splits:
    """The images of a recipe.

    Attributes:
        train: positions with labels.
        val: held out of the training images; None without `val_split`.
        test: the set's own held-out part.
        classes: their common classes.
        trained, tested: by what the images of `train` and `val`, and of `test`, are known again.
    """

    train: Labelled
    val: Labelled | None
    test: Labelled
    classes: Classes
    trained: ImagesIdentity
    tested: ImagesIdentity


def open_splits(recipe: Recipe) -> Splits:
    """Open training and test images, hold some out, and number the classes.

    Args:
        recipe: `data`, `seed` and `batch_size` are read.

    Raises:
        XkdError: no data, no labels, an empty split, a test set of other classes, fewer images than a batch.
    """
    data = recipe.data
    if data.path is None:
        raise XkdError("data: missing; give the folder or file of the data set")
    whole = _all_training_images(data)
    # Of all images: a sample may miss a class, and the student would lose its logit.
    classes = _classes(whole)
    test = open_dataset(data.path, split="test")
    if test.label_kind == "none":
        raise XkdError(f"data: the test images of {test.name} have no labels; expected them to measure accuracy")
    listings = whole.digest(), test.digest()
    # Files that are all of one size under the same names have the digest of others like them.
    if listings[0] == listings[1] and test.content_hash(0) == whole.content_hash(0):
        raise XkdError(f"data: {data.path!r} holds one part only; expected training images and test images")
    train = whole if data.images is None else limit(whole, data.images)
    splits = _hold_out(Labelled(train, _indices(train, classes)), data.val_split, recipe.seed)
    if len(splits[0].labels) < recipe.batch_size:
        raise XkdError(
            f"data: {train.name} has {len(splits[0].labels)} training images; expected at least one batch of "
            f"{recipe.batch_size}: lower batch_size"
        )
    resident = isinstance(data, DeviceData)
    trained, tested = (
        identity_of(listing, used, resident=resident) for listing, used in zip(listings, (train, test), strict=True)
    )
    return Splits(*splits, Labelled(test, _known_labels(test, classes)), classes, trained, tested)


def _all_training_images(data: DeviceData | WorkerData) -> ImageDataset:
    assert data.path is not None
    if data.path == "embedded" and data.images is not None:
        from xkd_eval.datasets.embedded import EmbeddedDataset

        return EmbeddedDataset("train", data.images)
    return open_dataset(data.path, split="train")


def _classes(train: ImageDataset) -> Classes:
    """The classes in the order of their indices."""
    if train.label_kind == "none":
        raise XkdError(f"data: the training images of {train.name} have no labels; expected one an image")
    unlabelled = [name for name, label in zip(train.ids, train.labels, strict=True) if label is None]
    if unlabelled:
        raise XkdError(f"data: {len(unlabelled)} training images have no label, the first {unlabelled[0]}")
    if train.label_kind == "index":
        return Classes(len(train.classes) if train.classes else _count(train), train.classes)
    names = train.classes or tuple(sorted({str(label) for label in train.labels}))
    return Classes(len(names), names) if train.label_kind == "name" else Classes(len(names), wordnet_ids=names)


def _count(train: ImageDataset) -> int:
    """K of labels that are 0 to K - 1; one that no image has would be a logit that nothing trains."""
    present = {int(str(label)) for label in train.labels}
    if present != set(range(len(present))):
        missing = itertools.islice((index for index in itertools.count() if index not in present), 3)
        raise XkdError(
            f"data: the labels of {train.name} run from {min(present)} to {max(present)}, and no image has "
            f"{', '.join(map(str, missing))}, ...; expected 0 to K - 1 with an image each, or a set with class names"
        )
    return len(present)


def _indices(train: ImageDataset, classes: Classes) -> list[int]:
    """Each training image's class index."""
    if train.label_kind == "index":
        return [int(str(label)) for label in train.labels]
    names = classes.names if train.label_kind == "name" else classes.wordnet_ids
    place = {name: index for index, name in enumerate(names or ())}
    return [place[str(label)] for label in train.labels]


def _known_labels(test: ImageDataset, classes: Classes) -> list[int]:
    """Each test image's index among the training images' classes."""
    student = Classifier(
        nn.Identity(),
        Preprocess(),
        name="the student",
        num_classes=classes.count,
        class_names=classes.names,
        wordnet_ids=classes.wordnet_ids,
    )
    labels = resolve_labels(test, student)
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        raise XkdError(
            f"data: {len(labels) - len(known)} test images of {test.name} have no label among the "
            f"{classes.count} classes of the training images"
        )
    return known


def _hold_out(labelled: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled | None]:
    n_held_out = round(fraction * len(labelled.labels))
    if fraction == 0:
        return labelled, None
    if n_held_out == 0 or n_held_out == len(labelled.labels):
        raise XkdError(
            f"val_split: {fraction} of {len(labelled.labels)} training images leaves an empty split; choose another one"
        )
    held_out = set(limit(labelled.dataset, n_held_out, seed).ids)
    positions = range(len(labelled.labels))
    chosen = [position for position in positions if labelled.dataset.ids[position] in held_out]
    rest = [position for position in positions if labelled.dataset.ids[position] not in held_out]
    return _part(labelled, rest), _part(labelled, chosen)


def _part(labelled: Labelled, positions: list[int]) -> Labelled:
    return Labelled(Subset(labelled.dataset, positions), [labelled.labels[position] for position in positions])
