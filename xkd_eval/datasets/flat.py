"""The flat ImageNet archive (ILSVRC2012_val_*.JPEG in one folder) and the label files that come with it."""

from __future__ import annotations

import csv
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkd_eval.datasets.base import ImageDataset, Label, LabelKind, Subset
from xkd_eval.datasets.folder import file_names, subfolder_names
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.errors import XkdError

KAGGLE_SOLUTION = "LOC_val_solution.csv"
DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_DEVKIT_META = "meta.mat"
_LIST_NAME = re.compile(r".*\.(txt|csv|tsv)(\.gz)?", re.IGNORECASE)
_NUMBER = re.compile(r"_(\d{8})$")
# Kaggle unpacks to ILSVRC/Data/CLS-LOC/val and leaves the solution four folders up.
_KAGGLE_DEPTH = 4
_LARGEST_LIST = 2**26
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


def find_labels(folder: Path, stems: set[str]) -> LabelFile | None:
    """The label file of the images in `folder`: Kaggle's, then the devkit's, then a `NAME,class` list.

    Searched: the folder and its parent, devkit folders in either, and for Kaggle's file four folders up.

    Args:
        folder: where the images (or their tar) lie.
        stems: the images' names without suffix.

    Raises:
        XkdError: several lists name the images, or an official file is damaged.
    """
    folder = folder.resolve()
    near = [place for place in (folder, folder.parent) if os.access(place, os.R_OK | os.X_OK)]
    solutions = [place / KAGGLE_SOLUTION for place in (folder, *folder.parents[:_KAGGLE_DEPTH])]
    truths = [devkit / DEVKIT_TRUTH for place in near for devkit in _devkit_folders(place)]
    for paths, read in ((solutions, _kaggle), (truths, _devkit)):
        for path in paths:
            if path.is_file() and (found := read(path, stems)).by_stem:
                return found
    lists = [found for place in near for found in _lists_in(place, stems)]
    if len(lists) > 1:
        named = " and ".join(f"'{found.path}'" for found in lists)
        raise XkdError(f"labels: {named} all label the images in '{folder}'; name one of them")
    return lists[0] if lists else None


def read_labels(path: Path, stems: set[str]) -> LabelFile:
    """The labels that the file at `path`, of any of the three kinds, gives to the images named `stems`.

    Raises:
        XkdError: unreadable, of no known form, or naming none of the images.
    """
    lines = _lines(path)
    if any("PredictionString" in line for line in lines[:1]):
        labels = _kaggle(path, stems)
    elif lines and all(line.isdecimal() for line in lines):
        labels = _devkit(path, stems)
    else:
        labels = _name_class_list(path, stems)
    if not labels.by_stem:
        raise XkdError(
            f"labels: '{path}' names none of the {len(stems)} images; expected {KAGGLE_SOLUTION}, "
            f"{DEVKIT_TRUTH} beside {_DEVKIT_META}, or lines of NAME,class"
        )
    return labels


def stem_of(name: str) -> str:
    """The name without folder and suffix."""
    file = name.rpartition("/")[2]
    return file.rpartition(".")[0] or file


def _lists_in(place: Path, stems: set[str]) -> Iterator[LabelFile]:
    for name in file_names(place):
        if _LIST_NAME.fullmatch(name) and (place / name).stat().st_size <= _LARGEST_LIST:
            try:
                found = _name_class_list(place / name, stems)
            except XkdError:
                # Nobody said that this file is a list: an unreadable one is simply none.
                continue
            if found.by_stem:
                yield found


def _devkit_folders(place: Path) -> list[Path]:
    kits = [place / name for name in subfolder_names(place) if "devkit" in name.lower()]
    return [place, place / "data", *kits, *(kit / "data" for kit in kits)]


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise XkdError(f"labels: '{path}' cannot be read ({error}); give a text or .gz file") from error
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def _kaggle(path: Path, stems: set[str]) -> LabelFile:
    """`ImageId,PredictionString` with `n03995372 85 1 499 272 ...` as the second: the first id is the class."""
    by_stem: dict[str, Label] = {}
    for line in _lines(path)[1:]:
        name, _, prediction = line.partition(",")
        wordnet_id = prediction.split(" ")[0]
        if not is_wordnet_id(wordnet_id):
            raise XkdError(f"labels: '{path}' has the line {line[:60]!r}; expected ImageId,n01440764 x y x y ...")
        if name in stems:
            by_stem[name] = wordnet_id
    return LabelFile(path, by_stem, "wordnet")


def _devkit(path: Path, stems: set[str]) -> LabelFile:
    """Line i is the ILSVRC2012_ID of ILSVRC2012_val_{i:08d}, which meta.mat maps to a WordNet id."""
    meta = path.with_name(_DEVKIT_META)
    if not meta.is_file():
        raise XkdError(
            f"labels: '{path}' holds the devkit's own ids, not class indices, and '{meta}' that maps them is "
            "missing; put the devkit's data/ folder whole beside the images"
        )
    wordnet_ids = _wordnet_id_of(meta)
    lines = _lines(path)
    by_stem: dict[str, Label] = {}
    for stem in stems:
        match = _NUMBER.search(stem)
        number = int(match[1]) if match else 0
        if 1 <= number <= len(lines):
            if int(lines[number - 1]) not in wordnet_ids:
                raise XkdError(f"labels: line {number} of '{path}' is {lines[number - 1]}, which '{meta}' does not map")
            by_stem[stem] = wordnet_ids[int(lines[number - 1])]
    return LabelFile(path, by_stem, "wordnet")


def _wordnet_id_of(meta: Path) -> dict[int, str]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        synsets: Any = loadmat(meta, squeeze_me=True)["synsets"].reshape(-1)
        return {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        zlib.error,
        MatReadError,
        NotImplementedError,
    ) as error:
        raise XkdError(
            f"labels: '{meta}' cannot be read ({error}); expected the devkit's meta.mat with synsets of "
            "ILSVRC2012_ID and WNID"
        ) from error


def _name_class_list(path: Path, stems: set[str]) -> LabelFile:
    """`NAME,class` or `NAME class`, with or without a header; empty where the file is something else."""
    lines = _lines(path)
    by_stem: dict[str, Label] = {}
    for fields in csv.reader(lines, delimiter=_delimiter(lines), skipinitialspace=True):
        if len(fields) != 2:
            return LabelFile(path, {}, "none")
        stem = stem_of(fields[0].strip())
        if stem in stems:
            by_stem[stem] = fields[1].strip()
    texts = [str(label) for label in by_stem.values()]
    if all(text.isdecimal() for text in texts):
        return LabelFile(path, {stem: int(str(label)) for stem, label in by_stem.items()}, "index")
    return LabelFile(path, by_stem, "wordnet" if all(map(is_wordnet_id, texts)) else "name")


def _delimiter(lines: list[str]) -> str:
    return next((delimiter for delimiter in ",\t" if lines and delimiter in lines[0]), " ")
