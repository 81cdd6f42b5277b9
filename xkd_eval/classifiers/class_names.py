"""Which class a logit stands for: names and WordNet ids of the ImageNet heads, and class maps for others."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError
from xkd_eval.foreign import LARGEST_LIST, read_bytes, read_json, reading, short
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
        raise XkdError(f"{argument}: {short(wanted)} found; expected an index, a name or a WordNet id")
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
    raise XkdError(f"{argument}: {short(text)} is no class of {classifier.name}; {hint}")


def read_class_map(path: str | Path) -> dict[str, int]:
    """The class index of each folder name, WordNet id or class name, as a user's file lists them.

    CSV (also separated by tabs or blanks) with lines `id,index` or `id,index,name`, a header or not; or JSON: `{"id":
    index}`, `{"index": [id, name]}` or a list of ids in the order of the logits. A name that two classes share stands
    for neither.

    Raises:
        XkdError: unreadable, an index that is not a whole number from 0, an id listed twice, or an id that is the name
            of another class.
    """
    path = Path(path)
    entries = list(_json_entries(path) if path.suffix.lower() == ".json" else _table_entries(path))
    if not entries:
        raise XkdError(f"class_map: {str(path)!r} is empty; expected lines of `id,index`")
    by_id: dict[str, _Entry] = {}
    for entry in entries:
        other = by_id.setdefault(entry.id, entry)
        if other is not entry:
            raise XkdError(f"class_map: {short(entry.id)} stands twice, in {other.where} and {entry.where}; remove one")
    names = Counter(entry.name for entry in entries if entry.name)
    for entry in entries:
        other = by_id.get(entry.name, entry)
        if other.class_index != entry.class_index:
            raise XkdError(
                f"class_map: {short(entry.name)} is class {other.class_index} in {other.where} and the name of class "
                f"{entry.class_index} in {entry.where}; rename one"
            )
    by_name = {entry.name: entry.class_index for entry in entries if names[entry.name] == 1}
    return by_name | {entry.id: entry.class_index for entry in entries}


class _Entry(NamedTuple):
    id: str
    class_index: int
    where: str
    name: str = ""


def _table_entries(path: Path) -> Iterator[_Entry]:
    content = read_bytes(path, "class_map", LARGEST_LIST)
    with reading(f"class_map: {str(path)!r} cannot be read", "expected text in UTF-8"):
        lines = re.split(r"\r\n|\n|\r", content.decode("utf-8-sig"))
    for number, line in enumerate(lines, 1):
        where = f"line {number} of {str(path)!r}"
        with reading(f"class_map: {where} is {short(line)}", "expected `id,index` or `id,index,name`"):
            fields = _fields(line)
        if not fields:
            continue
        if len(fields) < 2 or not fields[0]:
            raise XkdError(f"class_map: {where} is {short(line)}; expected `id,index` or `id,index,name`")
        if number == 1 and "index" in (field.lower() for field in fields):
            continue
        yield _Entry(fields[0], _index(fields[1], where), where, fields[2] if len(fields) > 2 else "")


def _fields(line: str) -> list[str]:
    if "," not in line and "\t" not in line:
        return line.rsplit(maxsplit=1)
    (row,) = csv.reader([line], delimiter="," if "," in line else "\t", skipinitialspace=True, strict=True)
    return [field.strip() for field in row]


def _json_entries(path: Path) -> Iterator[_Entry]:
    content = read_json(path, "class_map")
    file = repr(str(path))
    if not isinstance(content, list | dict):
        raise XkdError(f"class_map: {file} holds a {type(content).__name__}; expected a list or an object")
    for position, item in enumerate(content.items() if isinstance(content, dict) else content):
        where = f"entry {position + 1} of {file}"
        match item:
            case str():
                yield _Entry(item, position, where)
            case (str() as index, [str() as identifier, str() as name]):
                yield _Entry(identifier, _index(index, where), where, name)
            case (str() as identifier, index) if isinstance(content, dict):
                yield _Entry(identifier, _index(index, where), where)
            case _:
                raise XkdError(f"class_map: {where} is {short(item)}; expected `id: index` or `index: [id, name]`")


def _index(value: Any, where: str) -> int:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise XkdError(f"class_map: {where} has the class index {short(value)}; expected a whole number from 0")
    return int(text)
