"""The flat ImageNet archive (ILSVRC2012_val_*.JPEG in one folder) and the label files that come with it."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from xkd_eval.datasets.base import ImageDataset, Label, LabelKind, Subset
from xkd_eval.datasets.coco_labels import coco_label_sets, is_coco
from xkd_eval.datasets.folder import file_names, size_of, subfolder_names
from xkd_eval.datasets.identifiers import identifier_of, stem_of
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.datasets.label_sets import BETWEEN, LabelSet, LabelSetFile, PerLabel
from xkd_eval.datasets.label_texts import typed_labels
from xkd_eval.datasets.matlab import read_structs
from xkd_eval.errors import XkdError
from xkd_eval.foreign import LARGEST_LIST, read_bytes, reading, short

KAGGLE_SOLUTION = "LOC_val_solution.csv"
DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_DEVKIT_META = "meta.mat"
_LIST_NAME = re.compile(r".*\.(txt|csv|tsv)(\.gz)?", re.IGNORECASE)
_NUMBER = re.compile(r"_(\d{8})$")
# Kaggle unpacks to ILSVRC/Data/CLS-LOC/val and leaves the solution four folders up.
_KAGGLE_DEPTH = 4
COMPANIONS = frozenset({KAGGLE_SOLUTION, DEVKIT_TRUTH, _DEVKIT_META})


@dataclass(frozen=True)
class LabelFile:
    """The labels that a file gives to images.

    Attributes:
        path: the file.
        by_stem: image name without folder and suffix -> label.
        kind: of the labels.
    """

    path: Path
    by_stem: dict[str, Label]
    kind: LabelKind


class WithLabels(Subset):
    """A set without labels and the file that labels it; an image that the file does not name has no label."""

    def __init__(self, dataset: ImageDataset, labels: LabelFile) -> None:
        super().__init__(dataset, list(range(len(dataset))))
        self.labels = [labels.by_stem.get(stem_of(identifier)) for identifier in self.ids]
        self.label_kind = labels.kind


def labelled(dataset: ImageDataset, labels: LabelFile | LabelSetFile) -> WithLabels | PerLabel:
    """A set without labels, and the file that labels it."""
    if isinstance(labels, LabelFile):
        return WithLabels(dataset, labels)
    return PerLabel(dataset, [labels.by_stem.get(stem_of(identifier)) for identifier in dataset.ids], labels)


def find_labels(folder: Path, stems: set[str]) -> LabelFile | LabelSetFile | None:
    """The label file of the images in `folder`: Kaggle's, then the devkit's, then a `NAME,class` list.

    Searched: the folder and its parent, devkit folders in either, and for Kaggle's file four folders up.

    Args:
        folder: where the images (or their tar) lie.
        stems: the images' ids without folder and suffix.

    Raises:
        XkdError: several lists name the images, or the file is damaged or names an image twice.
    """
    folder = folder.resolve()
    near = [place for place in (folder, folder.parent) if os.access(place, os.R_OK | os.X_OK)]
    solutions = [place / KAGGLE_SOLUTION for place in (folder, *folder.parents[:_KAGGLE_DEPTH])]
    truths = [devkit / DEVKIT_TRUTH for place in near for devkit in _devkit_folders(place)]
    for paths, read in ((solutions, _kaggle), (truths, _devkit)):
        for path in paths:
            if path.is_file() and (found := read(path, _lines(path), stems)).by_stem:
                return found
    lists = [found for place in near for found in _lists_in(place, stems)]
    if len(lists) > 1:
        named = " and ".join(repr(str(found.path)) for found in lists)
        raise XkdError(f"labels: {named} all label the images in {str(folder)!r}; name one of them")
    return lists[0] if lists else None


def read_labels(path: Path, stems: set[str]) -> LabelFile | LabelSetFile:
    """The labels that the file at `path`, of any of the three kinds or COCO's, gives to the images named `stems`.

    Raises:
        XkdError: unreadable, of no known form, naming an image twice or none of the images.
    """
    if is_coco(path):
        return coco_label_sets(path, stems)
    lines = _lines(path)
    labels: LabelFile | LabelSetFile
    if any("PredictionString" in line for line in lines[:1]):
        labels = _kaggle(path, lines, stems)
    elif lines and all(map(_is_number, lines)):
        labels = _devkit(path, lines, stems)
    else:
        labels = _name_class_list(path, lines, stems)
    if not labels.by_stem:
        raise XkdError(
            f"labels: {str(path)!r} names none of the {len(stems)} images; expected {KAGGLE_SOLUTION}, "
            f"{DEVKIT_TRUTH} beside {_DEVKIT_META}, COCO's JSON, or lines of NAME,class or NAME,class;class"
        )
    return labels


def _lists_in(place: Path, stems: set[str]) -> Iterator[LabelFile | LabelSetFile]:
    """Nobody said that these files are lists: one is where most lines that name an image have a class for it."""
    for name in file_names(place):
        path = place / name
        readable = os.access(path, os.R_OK) and path.is_file() and size_of(path) <= LARGEST_LIST
        if readable and _LIST_NAME.fullmatch(name) and _is_list(_content(path), stems):
            yield _name_class_list(path, _lines(path), stems)


def _is_list(content: bytes, stems: set[str]) -> bool:
    lines = _split(content.decode("utf-8-sig", "replace")) if len(content) <= LARGEST_LIST else []
    delimiter = _delimiter(lines)
    rows = [line.split(delimiter) for line in lines]
    named = [row for row in rows if identifier_of(stem_of(row[0].strip(' "'))) in stems]
    pairs = [row for row in named if len(row) == 2 or any('"' in field for field in row)]
    return len(pairs) > len(named) / 2


def _devkit_folders(place: Path) -> list[Path]:
    kits = [place / name for name in subfolder_names(place) if "devkit" in name.lower()]
    return [place, place / "data", *kits, *(kit / "data" for kit in kits)]


def _lines(path: Path) -> list[str]:
    with _opening(path):
        content = _content(path)
        if len(content) > LARGEST_LIST:
            raise ValueError(f"more than {LARGEST_LIST} bytes")
        return _split(content.decode("utf-8-sig"))


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked; one more than the largest list has where there are more."""
    content = read_bytes(path, "labels", LARGEST_LIST)
    if path.suffix.lower() != ".gz":
        return content
    with _opening(path), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return file.read(LARGEST_LIST + 1)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    remedy = "expected text in UTF-8, or such text as .gz; mend or move it, or name another"
    with reading(f"labels: {str(path)!r} cannot be read", remedy):
        yield


def _split(text: str) -> list[str]:
    """The lines, the empty ones at the end left out; str.splitlines would split at rarer characters too."""
    return [line.strip() for line in re.split(r"\r\n|\n|\r", text.rstrip())] if text.strip() else []


def _kaggle(path: Path, lines: list[str], stems: set[str]) -> LabelFile:
    """`ImageId,PredictionString` with `n03995372 85 1 499 272 ...` as the second: the first id is the class."""

    def fields(line: str) -> tuple[str, str]:
        name, _, prediction = line.partition(",")
        wordnet_id = prediction.split(" ")[0]
        if not is_wordnet_id(wordnet_id):
            raise ValueError("expected ImageId,n01440764 x y x y ...")
        return name, wordnet_id

    named = _by_stem(path, enumerate(lines[1:], 2), fields, stems)
    return LabelFile(path, {stem: text for stem, (text, _) in named.items()}, "wordnet")


def _devkit(path: Path, lines: list[str], stems: set[str]) -> LabelFile:
    """Line i is the ILSVRC2012_ID of ILSVRC2012_val_{i:08d}, which meta.mat maps to a WordNet id."""
    meta = path.with_name(_DEVKIT_META)
    if not meta.is_file():
        raise XkdError(
            f"labels: {str(path)!r} holds the devkit's own ids, not class indices, and {str(meta)!r} that maps them is "
            "missing; put the devkit's data/ folder whole beside the images"
        )
    wordnet_ids = _wordnet_id_of(meta)
    for number, line in enumerate(lines, 1):
        if not _is_number(line) or int(line) not in wordnet_ids:
            raise XkdError(f"labels: line {number} of {str(path)!r} is {short(line)}, which {str(meta)!r} does not map")
    number_of = {stem: int(match[1]) for stem in stems if (match := _NUMBER.search(stem))}
    last = max(number_of.values(), default=0)
    if last > len(lines):
        raise XkdError(f"labels: {str(path)!r} has {len(lines)} lines, and there is an image {last}; fetch it again")
    by_stem: dict[str, Label] = {
        stem: wordnet_ids[int(lines[number - 1])] for stem, number in number_of.items() if number
    }
    return LabelFile(path, by_stem, "wordnet")


def _wordnet_id_of(meta: Path) -> dict[int, str]:
    content = read_bytes(meta, "labels", LARGEST_LIST)
    remedy = "expected the devkit's meta.mat with synsets of ILSVRC2012_ID and WNID"
    with reading(f"labels: {str(meta)!r} cannot be read", remedy):
        synsets = read_structs(content, "synsets")
        pairs = [(synset["ILSVRC2012_ID"], str(synset["WNID"])) for synset in synsets]
        if len(dict(pairs)) < len(pairs) or not all(is_wordnet_id(wordnet_id) for _, wordnet_id in pairs):
            raise ValueError("an id that stands twice, or no WordNet id")
        return dict(pairs)  # MATLAB's numbers are floats, and 3.0 is the key 3


def _name_class_list(path: Path, lines: list[str], stems: set[str]) -> LabelFile | LabelSetFile:
    """`NAME,class` or `NAME class`, with or without a header; `NAME,class;class` where images have several."""
    delimiter = _delimiter(lines)
    have_several = any(BETWEEN in line.partition(delimiter)[2] for line in lines)

    def fields(line: str) -> tuple[str, str]:
        (row,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
        if len(row) != 2 or not (row[1].strip() or have_several):
            raise ValueError("expected NAME,class")
        return row[0], row[1].strip()

    named = _by_stem(path, ((number, line) for number, line in enumerate(lines, 1) if line), fields, stems)
    if have_several:
        return _sets(path, named)
    places = [f"line {number} of {str(path)!r}" for _, number in named.values()]
    labels, kind = typed_labels([text for text, _ in named.values()], places.__getitem__)
    return LabelFile(path, dict(zip(named, labels, strict=True)), kind)


def _sets(path: Path, named: dict[str, tuple[str, int]]) -> LabelSetFile:
    """Of `NAME,class;class`; an image may have none."""
    texts: list[str] = []
    places: list[str] = []
    counts: list[int] = []
    for text, number in named.values():
        own = [part.strip() for part in text.split(BETWEEN)] if text else []
        place = f"line {number} of {str(path)!r}"
        for label in own:
            if not label or own.count(label) > 1:
                fault = f"the label {short(label)} twice" if label else f"an empty label in {short(text)}"
                raise XkdError(f"labels: {place} has {fault}; expected NAME,class;class, each class once")
        texts += own
        places += [place] * len(own)
        counts.append(len(own))
    labels, kind = typed_labels(texts, places.__getitem__)
    ends = list(accumulate(counts, initial=0))
    sets = (LabelSet(tuple(labels[start:end])) for start, end in pairwise(ends))
    return LabelSetFile(path, dict(zip(named, sets, strict=True)), kind)


def _by_stem(
    path: Path, lines: Iterable[tuple[int, str]], fields: Callable[[str], tuple[str, str]], stems: set[str]
) -> dict[str, tuple[str, int]]:
    """Image -> the text of its label, and the line that has it."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in lines:
        with reading(f"labels: line {number} of {str(path)!r} is {short(line)}", "mend or remove it"):
            name, text = fields(line)
        stem = identifier_of(stem_of(name.strip()))
        if stem in found:
            raise XkdError(
                f"labels: {str(path)!r} names {short(stem)} twice, in lines {found[stem][1]} and {number}; remove one"
            )
        if stem in stems:
            found[stem] = (text, number)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _delimiter(lines: list[str]) -> str:
    """That of the first line with anything in it."""
    first = next((line for line in lines if line), "")
    return next((delimiter for delimiter in ",\t" if delimiter in first), " ")
