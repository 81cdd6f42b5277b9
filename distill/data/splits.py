"""What is trained on, held out and tested: opened by the evaluator's readers, labelled by one list of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from distill.data.augmentation import OwnChanges
from distill.data.classes import Classes, are_indices, classes_of, labels_among, training_labels, without_images
from distill.data.identity import ImagesIdentity, identity_of
from distill.recipe.data import DeviceData, WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.datasets import ImageDataset, limit, open_dataset, open_parts
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.remote.urls import told
from xkd_eval.errors import XkdError

# Of its own: trainings that differ in their seed are tested on the same images.
_TEST_SEED = 0

HeldOutFrom = Literal["validation images", "held-out training images"]
"""Where the images that select an epoch come from, if they are not the test images."""


@dataclass(frozen=True)
class Labelled:
    """A data set and the class index of each of its images.

    Attributes:
        dataset: N images.
        labels: N class indices.
        whole: places of the N images in the set that they are a part of, and its size; None of a set as a whole.
    """

    dataset: ImageDataset
    labels: list[int]
    whole: tuple[list[int], int] | None = None

    def own_changes(self, seed: int, rounds: int | None) -> OwnChanges:
        """By what each image's own changes are drawn in a training."""
        places, n_all = self.whole or (range(len(self.labels)), len(self.labels))
        return OwnChanges(seed, places, n_all, rounds)


@dataclass(frozen=True)
class Splits:
    """The images of a recipe.

    Attributes:
        train: positions with labels.
        val: those that select the epoch: the set's own, or held out of the training images by `val_split`; or None.
        val_from: which of the two they are; None without any.
        test: the set's own, of which validation images without test images beside them are some; or `test_split`'s.
        classes: their common classes.
        trained, tested: by what the images of `train` and those held out of them, and of `test`, are known again.
        validated: the same of `val` where it is of the set's own; else None.
        notes: what the user should know of them, a sentence each.
    """

    train: Labelled
    val: Labelled | None
    val_from: HeldOutFrom | None
    test: Labelled
    classes: Classes
    trained: ImagesIdentity
    tested: ImagesIdentity
    validated: ImagesIdentity | None
    notes: tuple[str, ...]

    def identities(self) -> dict[str, Any]:
        """`trained`, `validated` and `tested`, as an Origin has them."""
        return {"trained": self.trained, "validated": self.validated, "tested": self.tested}


def open_splits(recipe: Recipe) -> Splits:
    """Open training, validation and test images, hold some out, and number the classes.

    Args:
        recipe: `data`, `seed` and `batch_size` are read.

    Raises:
        XkdError: no data, no labels, an empty split, test images of other classes, fewer images than a batch.
    """
    data = recipe.data
    if data.path is None:
        raise XkdError("data: missing; give the folder or file of the data set")
    parts = _opened(data.path, data)
    # Of all images: a sample may miss a class, and the student would lose its logit.
    classes = classes_of(parts.train)
    by_index = are_indices(parts.train, classes)
    listings = {called: part.digest() for called, part in parts.called().items()}
    _check_apart(data.path, parts, listings)
    whole = parts.train if data.images is None else limit(parts.train, data.images)
    train, held_out = _hold_out(Labelled(whole, training_labels(whole, classes)), data.val_split, recipe.seed)
    if len(train.labels) < recipe.batch_size:
        raise XkdError(
            f"data: {whole.name} has {len(train.labels)} training images; expected at least one batch of "
            f"{recipe.batch_size}: lower batch_size"
        )
    own = {
        called: Labelled(part, labels_among(part, classes, by_index=by_index, called=called))
        for called, part in parts.called().items()
        if called != "training"
    }
    known = {
        called: identity_of(listings[called], part, resident=isinstance(data, DeviceData))
        for called, part in {**parts.called(), "training": whole}.items()
    }
    val = own.get("validation", held_out)
    val_from: HeldOutFrom = "held-out training images" if parts.val is None else "validation images"
    return Splits(
        *(train, val, None if val is None else val_from, own["test"], classes),
        *(known["training"], known["test"], known.get("validation")),
        without_images(classes, train.labels),
    )


def split_off_test_images(dataset: ImageDataset, fraction: float) -> tuple[ImageDataset, ImageDataset]:
    """The images of a set without test images that are trained on, and those that are tested on.

    Args:
        dataset: of one part.
        fraction: that is tested on, stratified by label; the same images whatever a training's seed.

    Raises:
        XkdError: an image without a label, or a fraction that leaves nothing on either side.
    """
    classes_of(dataset)  # which refuses what cannot be divided by its labels
    return _divided(dataset, fraction, _TEST_SEED, "test_split")


class _Parts(NamedTuple):
    train: ImageDataset
    val: ImageDataset | None
    test: ImageDataset

    def called(self) -> dict[str, ImageDataset]:
        """Those that are there, as messages call them."""
        val = {} if self.val is None else {"validation": self.val}
        return {"training": self.train, **val, "test": self.test}


def _opened(path: str, data: DeviceData | WorkerData) -> _Parts:
    """The parts of a data set, or test images split off the training images of one that has none."""
    parts, what = open_parts(path), repr(told(path))
    test = parts.get("test", parts.get("val"))
    if data.test_split and test is not None:
        has = "test" if "test" in parts else "validation"
        raise XkdError(f"test_split: {what} has {has} images of its own to test on; leave it out, or set it to 0")
    train = parts["train"] if "train" in parts else open_dataset(path, split="train")
    if data.test_split:
        rest, test = split_off_test_images(train, data.test_split)
        return _Parts(rest, None, test)
    if test is None:
        has = "training images" if "train" in parts else "one part"
        raise XkdError(
            f"data: {what} holds {has} only; expected training images and test images, or give `test_split`, the "
            "fraction of them to test on"
        )
    if path == "embedded" and data.images is not None:
        from xkd_eval.datasets.embedded import EmbeddedDataset

        train = EmbeddedDataset("train", data.images)
    val = parts["val"] if "test" in parts and "val" in parts else None
    if val is not None and data.val_split:
        raise XkdError(
            f"val_split: {what} has validation images of its own, which select the epoch; leave it out, or set it to 0"
        )
    return _Parts(train, val, test)


def _check_apart(path: str, parts: _Parts, listings: dict[str, str]) -> None:
    """Refuse parts that are one; files of one size under the same names have the digest of others like them."""
    called, what = list(parts.called().items()), repr(told(path))
    for place, (one, images) in enumerate(called):
        for other, others in called[place + 1 :]:
            if listings[one] == listings[other] and images.content_hash(0) == others.content_hash(0):
                raise XkdError(f"data: the {one} and the {other} images of {what} are the same; expected others")


def _hold_out(labelled: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled | None]:
    if fraction == 0:
        return labelled, None
    rest, chosen = _divided(labelled.dataset, fraction, seed, "val_split")
    return _part(labelled, rest.positions), _part(labelled, chosen.positions)


def _divided(dataset: ImageDataset, fraction: float, seed: int, option: str) -> tuple[Subset, Subset]:
    """What stays, and a label-stratified fraction that is split off; each label keeps an image.

    Raises:
        XkdError: either is empty.
    """
    count = round(fraction * len(dataset))
    ids = set(limit(dataset, count, seed).ids) if count else set()
    positions = range(len(dataset))
    kept = {dataset.labels[position] for position in positions if dataset.ids[position] not in ids}
    for position in positions:  # the first image of a class that is split off whole
        if dataset.labels[position] not in kept:
            kept.add(dataset.labels[position])
            ids.remove(dataset.ids[position])
    chosen = [position for position in positions if dataset.ids[position] in ids]
    rest = [position for position in positions if dataset.ids[position] not in ids]
    if not chosen or not rest:
        raise XkdError(
            f"{option}: {fraction} of {len(dataset)} training images leaves an empty split; choose another one"
        )
    return Subset(dataset, rest), Subset(dataset, chosen)


def _part(labelled: Labelled, positions: list[int]) -> Labelled:
    labels = [labelled.labels[position] for position in positions]
    return Labelled(Subset(labelled.dataset, positions), labels, (positions, len(labelled.labels)))
