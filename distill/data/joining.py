"""Where a teacher has the classes of the data: by their names, whatever its order and whatever else it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.data.classes import Classes
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets.labels import places_by_name, wordnet_ids_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_REMEDY = "give the `teacher` that belongs to the data"


def class_places(classes: Classes, teacher: Classifier) -> list[int] | None:
    """The teacher's index of each class of the data.

    WordNet ids are looked up among the teacher's; names among its class names, as they are or else case and underscores
    aside, each of comma-separated synonyms. Without names on either side the indices are taken for the same, if there
    are as many.

    Args:
        classes: of the data, K.
        teacher: as loaded.

    Returns:
        K indices; None where they are 0 to K - 1 and the teacher knows no others.

    Raises:
        XkdError: a class that the teacher has not, or has not by name; another number of classes without names.
    """
    if classes.wordnet_ids is not None:
        places = _found(classes.wordnet_ids, _wordnet_places(teacher), teacher)
    elif classes.names is not None and teacher.class_names is not None:
        places = _by_names(classes.names, teacher)
    elif classes.count == teacher.num_classes:
        return None
    else:
        raise XkdError(
            f"teacher: {teacher.name} has {teacher.num_classes} classes and the data has {classes.count}, and they "
            f"cannot be joined by name; {_REMEDY}"
        )
    return None if places == list(range(teacher.num_classes)) else places


def _wordnet_places(teacher: Classifier) -> dict[str, int]:
    try:
        return {name: index for index, name in enumerate(wordnet_ids_of(teacher))}
    except XkdError as error:
        raise XkdError(f"teacher: {str(error).removeprefix('data: ').removeprefix('data ')}") from None


def _by_names(names: Sequence[str], teacher: Classifier) -> list[int]:
    assert teacher.class_names is not None
    table = places_by_name(names, teacher.class_names)
    found = [table.get(name) for name in names]
    worded_differently = len(names) == teacher.num_classes and any(place is not None for place in found)
    if worded_differently and all(place in (None, index) for index, place in enumerate(found)):
        return list(range(len(names)))
    return _found(names, table, teacher)


def _found(names: Sequence[str], places: Mapping[str, int], teacher: Classifier) -> list[int]:
    unknown = [name for name in names if name not in places]
    if unknown:
        some = ", ".join(map(short, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise XkdError(
            f"teacher: {teacher.name} does not know {len(unknown)} of the {len(names)} classes of the data ({some}); "
            f"{_REMEDY}"
        )
    found = [places[name] for name in names]
    if len(set(found)) < len(found):
        twice = next(index for index in found if found.count(index) > 1)
        both = ", ".join(short(name) for name, index in zip(names, found, strict=True) if index == twice)
        raise XkdError(f"teacher: {teacher.name} has one class for {both}; {_REMEDY}")
    return found
