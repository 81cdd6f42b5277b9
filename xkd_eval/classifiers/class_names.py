"""Which class a logit stands for: names and WordNet ids of the ImageNet heads, and class maps for others."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest


class Classes(NamedTuple):
    """Names and WordNet ids in the order of the logits; an id is empty where the class is no synset (background)."""

    names: tuple[str, ...]
    wordnet_ids: tuple[str, ...]


@cache
def imagenet_classes(num_classes: int) -> Classes | None:
    """The classes of an ImageNet head, told by their number.

    1000 (ILSVRC-2012), 1001 (the same after TensorFlow's background class), and the heads of 12k and 21k classes that
    timm lists. A name is the synset's first lemma.

    Returns:
        None where no ImageNet head has that many classes.
    """
    if num_classes < 1000:  # No need to import timm.
        return None
    from timm.data import ImageNetInfo, infer_imagenet_subset

    background = num_classes == 1001
    subset = infer_imagenet_subset({"num_classes": num_classes - background})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    names = tuple(description.partition(",")[0] for description in info.label_descriptions())
    ids = tuple(info.label_names())
    return Classes(("background", *names), ("", *ids)) if background else Classes(names, ids)


def class_index_of_wordnet_ids(classifier: Classifier) -> dict[str, int]:
    """WordNet id -> class index; empty where the classifier's classes have none."""
    return {wordnet_id: index for index, wordnet_id in enumerate(classifier.wordnet_ids or ()) if wordnet_id}


def class_index(classifier: Classifier, wanted: str | int, argument: str = "classes") -> int:
    """The class that a user means.

    Args:
        classifier: whose classes.
        wanted: an index, also as digits; a WordNet id; or a name, in any case, or one of the synonyms that ImageNet
            lists in a name ("tench, Tinca tinca").
        argument: that held it, for the messages.

    Returns:
        0 to K - 1.

    Raises:
        XkdError: no such class; the nearest names are given.
    """
    if isinstance(wanted, bool) or not isinstance(wanted, str | SupportsIndex):
        raise XkdError(f"{argument}: {wanted!r} found; expected an index, a name or a WordNet id")
    text = str(wanted).strip()
    if text.removeprefix("-").isdecimal():
        if not 0 <= int(text) < classifier.num_classes:
            last = classifier.num_classes - 1
            raise XkdError(f"{argument}: {text} is out of range; {classifier.name} has classes 0 to {last}")
        return int(text)
    if text in class_index_of_wordnet_ids(classifier):
        return class_index_of_wordnet_ids(classifier)[text]
    names = [name.casefold() for name in classifier.class_names or ()]
    for index, name in enumerate(names):
        if text.casefold() in (name, *(synonym.strip() for synonym in name.split(","))):
            return index
    hint = nearest(text, classifier.class_names) if classifier.class_names else "they have no names: give an index"
    raise XkdError(f"{argument}: {text!r} is no class of {classifier.name}; {hint}")


def read_class_map(path: str | Path) -> dict[str, int]:
    """The class index of each folder name, WordNet id or class name, as a user's file lists them.

    CSV (also separated by tabs or blanks) with lines `id,index` or `id,index,name`, a header or not; or JSON: `{"id":
    index}`, `{"index": [id, name]}` or a list of ids in the order of the logits. A name that two classes share stands
    for neither.

    Raises:
        XkdError: unreadable, an index that is not a whole number from 0, or an id listed twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise XkdError(f"class_map: {str(path)!r} cannot be read: {error}") from None
    entries = list(_json_entries(text, path) if path.suffix == ".json" else _table_entries(text, path))
    if not entries:
        raise XkdError(f"class_map: {str(path)!r} is empty; expected lines of `id,index`")
    ids = [entry.id for entry in entries]
    for identifier in _twice(ids):
        raise XkdError(f"class_map: {str(path)!r} lists {identifier!r} twice")
    names = Counter(entry.name for entry in entries if entry.name)
    by_name = {entry.name: entry.class_index for entry in entries if names[entry.name] == 1}
    return by_name | {entry.id: entry.class_index for entry in entries}


class _Entry(NamedTuple):
    id: str
    class_index: int
    name: str = ""


def _table_entries(text: str, path: Path) -> Iterator[_Entry]:
    for number, fields in enumerate(_fields(text.splitlines()), 1):
        if not fields:
            continue
        where = f"line {number} of {str(path)!r}"
        if len(fields) < 2 or not fields[0]:
            raise XkdError(f"class_map: {where} is {' '.join(fields)!r}; expected `id,index` or `id,index,name`")
        if number == 1 and "index" in (field.lower() for field in fields):
            continue
        yield _Entry(fields[0], _index(fields[1], where), fields[2] if len(fields) > 2 else "")


def _fields(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        if "," in line or "\t" in line:
            (row,) = csv.reader([line], delimiter="," if "," in line else "\t", skipinitialspace=True)
            yield [field.strip() for field in row]
        else:
            yield line.rsplit(maxsplit=1)


def _json_entries(text: str, path: Path) -> Iterator[_Entry]:
    try:
        content = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise XkdError(f"class_map: {str(path)!r} is no JSON: {error}") from None
    where = repr(str(path))
    if not isinstance(content, list):
        raise XkdError(f"class_map: {where} holds a {type(content).__name__}; expected a list or an object")
    for position, item in enumerate(content):
        match item:
            case str():
                yield _Entry(item, position)
            case (str() as index, [str() as identifier, str() as name]):
                yield _Entry(identifier, _index(index, where), name)
            case (str() as identifier, index):
                yield _Entry(identifier, _index(index, where))
            case _:
                raise XkdError(f"class_map: {where} holds {item!r}; expected `id: index` or `index: [id, name]`")


def _index(value: Any, where: str) -> int:
    text = str(value)
    if isinstance(value, bool | float) or not (text.isascii() and text.isdecimal()):
        raise XkdError(f"class_map: {where} has the class index {value!r}; expected a whole number from 0")
    return int(text)


def _twice(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]
