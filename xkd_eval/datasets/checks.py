"""What every data set is held to where it is opened, before any image is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from xkd_eval.datasets.base import ImageDataset, LabelKind, LabelSets
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_text, reading, short

_LABEL_TYPES: dict[str, type] = {"index": int, "wordnet": str, "name": str}


def checked(dataset: ImageDataset) -> ImageDataset:
    """The data set, where it has a name, ids that tell its images apart and can be written, and a label or None each.

    Raises:
        XkdError: the first fault.
    """
    name = getattr(dataset, "name", None)
    if not isinstance(name, str) or not name.strip() or not is_writable_text(name):
        raise XkdError(f"data: {type(dataset).__name__} has the name {short(name)}; expected a short text")
    _check_ids(dataset)
    _check_labels(dataset)
    _check_label_sets(dataset)
    classes = dataset.classes
    if classes is not None:
        names = _listed(dataset, "classes", classes)
        if odd := [one for one in names if not isinstance(one, str) or not is_writable_text(one)]:
            raise XkdError(f"data: {name}: the class {short(odd[0])} found; expected texts, or None for `classes`")
    for what in ("has_masks", "has_boxes"):
        if not isinstance(found := getattr(dataset, what), bool):
            raise XkdError(f"data: {name}: {what} is {short(found)}; expected True or False")
    return dataset


def _check_ids(dataset: ImageDataset) -> None:
    ids = _listed(dataset, "ids", getattr(dataset, "ids", None))
    seen: set[str] = set()
    for identifier in ids:
        if not isinstance(identifier, str) or identifier in seen:
            fault = "stands for two images" if isinstance(identifier, str) else "is no text"
            raise XkdError(f"data: {dataset.name}: the id {short(identifier)} {fault}; expected one text an image")
        seen.add(identifier)
    with reading(f"data: {dataset.name} has ids that cannot be written", "expected text that is valid as UTF-8"):
        "".join(ids).encode()
    with reading(f"data: {dataset.name} does not say how many images it has", "expected as many as ids"):
        count = len(dataset)
    if count != len(ids) or count == 0:
        raise XkdError(f"data: {dataset.name} has {count} images and {len(ids)} ids; expected as many, 1 or more")


def _check_labels(dataset: ImageDataset) -> None:
    labels = _listed(dataset, "labels", getattr(dataset, "labels", None))
    name, kind = dataset.name, dataset.label_kind
    if len(labels) != len(dataset.ids):
        raise XkdError(f"data: {name} has {len(labels)} labels for {len(dataset.ids)} images")
    if kind not in get_args(LabelKind):
        raise XkdError(f"data: {name}: label_kind is {short(kind)}; expected one of {', '.join(get_args(LabelKind))}")
    expected = _LABEL_TYPES.get(kind, type(None))
    fits = {one: one is type(None) or (issubclass(one, expected) and one is not bool) for one in set(map(type, labels))}
    if not all(fits.values()):
        odd = next(label for label in labels if not fits[type(label)])
        what = "None alone" if kind not in _LABEL_TYPES else f"{expected.__name__} or None"
        raise XkdError(f"data: {name}: its label_kind is {kind!r} and a label is {short(odd)}; expected {what}")
    if expected is str:
        texts = "".join(label for label in labels if isinstance(label, str))
        with reading(f"data: {name} has labels that cannot be written", "expected text that is valid as UTF-8"):
            texts.encode()


def _check_label_sets(dataset: ImageDataset) -> None:
    sets, name = dataset.label_sets, dataset.name
    if sets is None:
        return
    count = len(dataset.ids)
    if not isinstance(sets, LabelSets) or not len(sets.photographs) == len(sets.labels) == count:
        raise XkdError(f"data: {name}: label_sets is {short(sets)}; expected LabelSets of its {count} images, or None")
    for identifier, label, held in zip(dataset.ids, dataset.labels, sets.labels, strict=True):
        if label is not None and label not in held:
            raise XkdError(
                f"data: {name}: the label {short(label)} of {short(identifier)} is not among those that its photograph "
                "holds; add it to label_sets"
            )


def _listed(dataset: ImageDataset, what: str, given: Any) -> Sequence[Any]:
    """Several, which can be counted and asked for by their place."""
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str | bytes) or getattr(given, "ndim", 1) != 1:
        raise XkdError(f"data: {dataset.name}: its {what} are {short(given)}; expected a list, one an image")
    return given  # type: ignore[return-value]
