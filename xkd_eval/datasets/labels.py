"""A set's raw labels -> a classifier's class indices; whatever does not fit is an error, not a wrong accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from xkd_eval.datasets.base import ImageDataset, Label, Subset
from xkd_eval.datasets.label_texts import whole_number
from xkd_eval.errors import XkdError
from xkd_eval.foreign import printable, short

if TYPE_CHECKING:
    from xkd_eval.classifiers.classifier import Classifier

_REMEDY = "give the `model` that belongs to the data, or `class_map`"


def resolve_labels(
    dataset: ImageDataset, classifier: Classifier, class_map: Mapping[str, int] | None = None
) -> list[int | None]:
    """The classifier's class index of each image.

    WordNet ids go through `classifier.wordnet_ids`, or the ILSVRC-2012 order for a head of 1000 classes without ids.
    Names go through `classifier.class_names` (as they are, or else case and underscores aside, any of comma-separated
    synonyms), or WordNet ids; for a classifier without names those that are 0 and other numbers below its count of
    classes are its indices, or the sorted class folders, if there are as many. Indices hold as they are, unless both
    sides name the same classes in another order, or they are ILSVRC-2012 indices and the classifier's WordNet ids say
    where its classes are (heads of 1001 or 21k classes). Where the classifier's class names are numbers (folders that
    are called 1 to 102), those of a set without names are these.

    Args:
        dataset: with raw labels.
        classifier: only its classes are read.
        class_map: raw label (WordNet id, name, or index as text) -> class index; takes precedence.

    Returns:
        One an image; None where the set has no label, or one that is not among the classifier's classes.

    Raises:
        XkdError: no label is among the classes, a label is out of range, the class counts do not fit, or numbers may
            be indices or names.
    """
    present = {label for label in dataset.labels if label is not None}
    if not present:
        return [None] * len(dataset)
    table = _table(dataset, classifier, class_map, present)
    if not any(label in table for label in present):
        some = ", ".join(printable(str(label), 60) for label in sorted(present, key=str)[:3])
        raise XkdError(
            f"data: none of the {len(present)} labels of {dataset.name} ({some}, ...) is among the "
            f"{classifier.num_classes} classes of {classifier.name}; {_REMEDY}"
        )
    resolved = [table.get(label) if label is not None else None for label in dataset.labels]
    _check_range(dataset, classifier, resolved)
    return resolved


def resolve_label_sets(
    dataset: ImageDataset, classifier: Classifier, class_map: Mapping[str, int] | None = None
) -> list[frozenset[int]]:
    """The classifier's class indices of all that each image's photograph holds, as `resolve_labels` finds them.

    Args:
        dataset: with `label_sets`.
        classifier, class_map: as there.

    Raises:
        XkdError: as there.
    """
    assert dataset.label_sets is not None
    held = dataset.label_sets.labels
    table = _table(dataset, classifier, class_map, {label for labels in held for label in labels if label is not None})
    return [frozenset(table[label] for label in labels if label in table) for labels in held]


@cache
def ilsvrc_wordnet_ids() -> tuple[str, ...]:
    """The 1000 WordNet ids of ILSVRC-2012 in the order of its class indices."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def normalised(name: str) -> str:
    """A class name for comparing: case folded, underscores as spaces."""
    return " ".join(name.replace("_", " ").casefold().split())


def _table(
    dataset: ImageDataset, classifier: Classifier, class_map: Mapping[str, int] | None, present: set[int | str]
) -> dict[Label, int]:
    """Raw label -> class index."""
    if class_map is not None:
        return _mapped(dataset, class_map, present)
    if dataset.label_kind == "wordnet":
        return _index_of(wordnet_ids_of(classifier))
    if dataset.label_kind == "name":
        return _named(dataset, classifier, present)
    return _indexed(dataset, classifier, present)


def _mapped(dataset: ImageDataset, class_map: Mapping[str, int], present: set[int | str]) -> dict[Label, int]:
    table: dict[Label, int] = {}
    for label in present:
        keys = [str(label)]
        if isinstance(label, int) and dataset.classes is not None and 0 <= label < len(dataset.classes):
            keys.append(dataset.classes[label])
        meant = {key: class_map[key] for key in keys if key in class_map}
        if len(set(meant.values())) > 1:
            said = " and ".join(f"{short(key)} to class {index}" for key, index in meant.items())
            raise XkdError(f"class_map: it takes {said}, which are one class of {dataset.name}; remove one")
        if meant:
            table[label] = next(iter(meant.values()))
    return table


def wordnet_ids_of(classifier: Classifier) -> Sequence[str]:
    """The WordNet ids of a classifier's classes, in order; those of ILSVRC-2012 for a head of 1000 without ids.

    Raises:
        XkdError: it has none.
    """
    if classifier.wordnet_ids is not None:
        return classifier.wordnet_ids
    if classifier.num_classes == 1000:
        return ilsvrc_wordnet_ids()
    raise XkdError(
        f"data is labelled by WordNet ids, and {classifier.name} has {classifier.num_classes} classes without any; "
        f"{_REMEDY}"
    )


def _named(dataset: ImageDataset, classifier: Classifier, present: set[int | str]) -> dict[Label, int]:
    if classifier.class_names is None and classifier.wordnet_ids is None:
        if numbered := _counted_from_0(dataset.classes or (), classifier.num_classes):
            return numbered
        if dataset.classes is None or len(dataset.classes) != classifier.num_classes:
            raise XkdError(
                f"data: {dataset.name} has {len(dataset.classes or present)} named classes, and {classifier.name} "
                f"{classifier.num_classes} without names; {_REMEDY}"
            )
        return _index_of(dataset.classes)
    ids = _index_of(classifier.wordnet_ids or ())
    names = places_by_name(map(str, present), classifier.class_names or ())
    found = {label: names.get(str(label), ids.get(normalised(str(label)))) for label in present}
    return {label: index for label, index in found.items() if index is not None}


def _counted_from_0(classes: Sequence[str], num_classes: int) -> dict[Label, int]:
    """Class folders 0, 2 and 5 of a classifier of ten -> these indices; nothing of such as may count from 1."""
    numbers = [int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else -1 for name in classes]
    are_indices = 0 in numbers and len(set(numbers)) == len(numbers) and -1 < min(numbers) <= max(numbers) < num_classes
    return dict(zip(classes, numbers, strict=True)) if are_indices else {}


def _indexed(dataset: ImageDataset, classifier: Classifier, present: set[int | str]) -> dict[Label, int]:
    # Out-of-range indices stay in the table: they are an error of their own.
    table: dict[Label, int] = {label: label for label in present if isinstance(label, int)}
    if is_ilsvrc(dataset):
        place = _index_of(wordnet_ids_of(classifier))
        for index, wordnet_id in enumerate(ilsvrc_wordnet_ids()):
            table.pop(index, None)
            if wordnet_id in place:
                table[index] = place[wordnet_id]
        return table
    if dataset.classes is not None:
        return table | _by_class_names(dataset, dataset.classes, classifier)
    if numbered := _numbered(classifier):
        if 0 not in numbered and 0 in _whole(dataset).labels:
            raise XkdError(
                f"data: {dataset.name} has the label 0, and the class names of {classifier.name} are other numbers "
                f"({', '.join(map(str, list(numbered)[:3]))}, ...), so its labels may be indices or names; {_REMEDY}"
            )
        return numbered
    if classifier.wordnet_ids is not None and classifier.num_classes > 1000 > max(table.values()):
        raise XkdError(
            f"data: the indices of {dataset.name} could be those of ILSVRC-2012, which are not those of "
            f"{classifier.name} with its {classifier.num_classes} classes; give `class_map`"
        )
    return table


def _whole(dataset: ImageDataset) -> ImageDataset:
    """What a set is a part of: few of its images need not show how its labels are meant."""
    return _whole(dataset.dataset) if isinstance(dataset, Subset) else dataset


def _numbered(classifier: Classifier) -> dict[Label, int]:
    """Class names that are numbers, others than the classes' indices, -> index: folders that are called 1 to 102."""
    names = classifier.class_names or ()
    numbers = [number for name in names if (number := whole_number(name)) is not None and number.isdecimal()]
    table: dict[Label, int] = {int(number): index for index, number in enumerate(numbers)}
    return table if len(table) == len(names) and table != {index: index for index in range(len(names))} else {}


def _by_class_names(dataset: ImageDataset, classes: Sequence[str], classifier: Classifier) -> dict[Label, int]:
    """What the names on both sides say about indices: nothing, where they are merely worded differently."""
    if len(classes) != classifier.num_classes:
        raise XkdError(
            f"data: {dataset.name} has {len(classes)} classes, and {classifier.name} {classifier.num_classes}; "
            f"{_REMEDY}"
        )
    if classifier.class_names is None:
        return {}
    ours, theirs = ([normalised(name) for name in names] for names in (classes, classifier.class_names))
    if set(ours) == set(theirs) and len(set(ours)) == len(ours):
        return {index: theirs.index(name) for index, name in enumerate(ours)}
    if not name_table(ours).keys() & name_table(theirs).keys():
        raise XkdError(
            f"data: the classes of {dataset.name} ({', '.join(classes[:3])}, ...) and of {classifier.name} "
            f"({', '.join(classifier.class_names[:3])}, ...) have no name in common; {_REMEDY}"
        )
    return {}


def is_ilsvrc(dataset: ImageDataset) -> bool:
    """Whether indices are those of ILSVRC-2012."""
    if dataset.classes is not None:
        return len(dataset.classes) == 1000 and dataset.classes[0].startswith("tench")
    return all(identifier.rpartition("/")[2].startswith("ILSVRC2012_") for identifier in dataset.ids)


def places_by_name(wanted: Iterable[str], names: Sequence[str]) -> dict[str, int]:
    """Those of some names that are found among class names -> the index: as they are, or else by `name_table`."""
    exact, table = _unambiguous((name, index) for index, name in enumerate(names)), name_table(names)
    found = {name: exact.get(name, table.get(normalised(name))) for name in wanted}
    return {name: index for name, index in found.items() if index is not None}


def name_table(names: Sequence[str]) -> dict[Label, int]:
    """Normalised names and their comma-separated synonyms -> index; what names two classes names neither."""
    table = _unambiguous((normalised(name), index) for index, name in enumerate(names))
    synonyms = _unambiguous(
        (normalised(part), index) for index, name in enumerate(names) if "," in name for part in name.split(",")
    )
    return synonyms | table


def _unambiguous(pairs: Iterable[tuple[str, int]]) -> dict[Label, int]:
    unique = set(pairs)
    counts = Counter(name for name, _ in unique)
    return {name: index for name, index in unique if counts[name] == 1}


def _index_of(names: Sequence[str]) -> dict[Label, int]:
    return {name: index for index, name in enumerate(names)}


def _check_range(dataset: ImageDataset, classifier: Classifier, resolved: list[int | None]) -> None:
    for identifier, index in zip(dataset.ids, resolved, strict=True):
        if index is not None and not 0 <= index < classifier.num_classes:
            raise XkdError(
                f"data: image {identifier} of {dataset.name} has the label {index}, and {classifier.name} knows 0 to "
                f"{classifier.num_classes - 1}; {_REMEDY}"
            )
