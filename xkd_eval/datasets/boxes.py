"""Boxes from a file beside the images: which image each is of, and whether it is of the image's class."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xkd_eval.datasets.base import BoxesSource, ImageDataset, Label, Sample, Subset
from xkd_eval.datasets.box_files import Box, read_boxes
from xkd_eval.datasets.identifiers import identifier_of, stem_of
from xkd_eval.datasets.label_sets import PerLabel
from xkd_eval.datasets.labels import ilsvrc_wordnet_ids, is_ilsvrc, normalised
from xkd_eval.datasets.samples import boxes_fit
from xkd_eval.errors import XkdError
from xkd_eval.foreign import printable, short


class WithBoxes(Subset):
    """A set and the file that says where its objects are; an image that the file does not name has no box.

    Args:
        dataset: whose boxes, if it has any, the file's replace.
        boxes: position -> boxes.
        path: of the file, for messages.
        unknown: images that the file names and the set lacks.
    """

    def __init__(self, dataset: ImageDataset, boxes: Mapping[int, Sequence[Box]], path: Path, unknown: int) -> None:
        super().__init__(dataset, list(range(len(dataset))))
        self.has_boxes = True
        self._path = path
        counts = [len(boxes.get(position, ())) for position in range(len(dataset))]
        self._starts = np.cumsum([0, *counts])
        ordered = [box for position in range(len(dataset)) for box in boxes.get(position, ())]
        self._corners = np.array([box.corners for box in ordered], dtype=np.int64).reshape(-1, 4)
        self._places = [box.place for box in ordered]
        sha = hashlib.sha256(self._starts.astype(np.int64).tobytes() + self._corners.tobytes())
        self.boxes_from = BoxesSource(sha.hexdigest(), unknown)

    def load(self, position: int) -> Sample:
        """The image with its boxes.

        Raises:
            XkdError: a box goes beyond the image.
        """
        sample = super().load(position)
        own = slice(self._starts[position], self._starts[position + 1])
        boxes = self._corners[own]
        fits = boxes_fit(boxes, sample.image.size)
        if not fits.all():
            wrong = int(np.flatnonzero(~fits)[0])
            width, height = sample.image.size
            raise XkdError(
                f"boxes: {self._places[own][wrong]} of {str(self._path)!r}: the box "
                f"{' '.join(map(str, boxes[wrong].tolist()))} goes beyond {self.ids[position]}, which is "
                f"{width}x{height}; expected pixels counted from 0, ends inclusive"
            )
        return replace(sample, boxes=boxes.copy())


def with_boxes(dataset: ImageDataset, path: Path) -> ImageDataset:
    """A set with the boxes of a file.

    Images are known by their names without folder and suffix, and by their folders where several are called so. Of an
    image's boxes those of its label's class count, where set and file name classes alike. A photograph of several
    labels has those of each in the image of that label.

    Args:
        dataset: of any kind.
        path: see `read_boxes`.

    Raises:
        XkdError: the file is not read, names none of the set's images, or one that may be several of them; or its
            classes are not those of the labels, and tell apart the objects of an image.
    """
    found = read_boxes(path)
    photographs = dataset.dataset if isinstance(dataset, PerLabel) else dataset
    positions = _positions(photographs, {box.image for box in found}, path)
    boxes: defaultdict[int, list[Box]] = defaultdict(list)
    for box in found:
        if box.image in positions:
            photograph = positions[box.image]
            for position in dataset.images_of(photograph) if isinstance(dataset, PerLabel) else (photograph,):
                boxes[position].append(box)
    unknown = len({box.image for box in found}) - len(positions)
    return WithBoxes(dataset, _of_labels_class(dataset, boxes, path), path, unknown)


def _positions(dataset: ImageDataset, names: Iterable[str], path: Path) -> dict[str, int]:
    """Name in the file -> the image of that name, for those that the set has."""
    by_stem: defaultdict[str, list[int]] = defaultdict(list)
    for position, identifier in enumerate(dataset.ids):
        by_stem[stem_of(identifier)].append(position)
    found: dict[str, int] = {}
    listed = sorted(names)
    for name in listed:
        known = identifier_of(name)
        meant = by_stem.get(stem_of(known), [])
        if len(meant) > 1:
            meant = _in_its_folder(dataset, known, meant, path)
        if meant:
            found[name] = meant[0]
    if not found:
        some, ours = (", ".join(printable(name, 60) for name in some[:2]) for some in (listed, dataset.ids))
        raise XkdError(
            f"boxes: {str(path)!r} names none of the {len(dataset)} images of {dataset.name}: it names {some}, ..., "
            f"and they are called {ours}, ...; give the file that belongs to them"
        )
    return found


def _in_its_folder(dataset: ImageDataset, name: str, meant: Sequence[int], path: Path) -> list[int]:
    """Of images that are called alike, the one in the folder that the file says."""
    wanted = _whole_stem(name)
    fitting = [at for at in meant if f"/{_whole_stem(dataset.ids[at])}".endswith(f"/{wanted}")]
    if len(fitting) != 1:
        first, second = (short(dataset.ids[at]) for at in (fitting or meant)[:2])
        raise XkdError(
            f"boxes: {str(path)!r} names {short(name)}, which may be {first} or {second}; write names with folders"
        )
    return fitting


def _whole_stem(name: str) -> str:
    return name.removesuffix(name.rpartition("/")[2]) + stem_of(name)


def _of_labels_class(
    dataset: ImageDataset, boxes: Mapping[int, Sequence[Box]], path: Path
) -> Mapping[int, Sequence[Box]]:
    """Of each image's boxes, those of the class of its label."""
    has_kinds = all(box.kind is not None for found in boxes.values() for box in found)
    if dataset.label_kind == "none" or not has_kinds:
        return boxes
    called = {label: _names_of(dataset, label) for label in set(dataset.labels) if label is not None}
    kept: dict[int, list[Box]] = {}
    for position, found in boxes.items():
        label = dataset.labels[position]
        names = set() if label is None else called[label]
        kept[position] = [box for box in found if box.kind is not None and normalised(box.kind) in names]
    if any(kept.values()):
        return kept
    # The classes are worded otherwise, and need not be understood where they tell nothing apart.
    for found in boxes.values():
        if len(kinds := {box.kind for box in found}) > 1:
            some = ", ".join(printable(kind, 60) for kind in sorted(map(str, kinds))[:3])
            raise XkdError(
                f"boxes: {str(path)!r} gives {short(found[0].image)} objects of the classes {some}, and none of its "
                f"classes is among the labels of {dataset.name}; name them alike, or leave the classes out"
            )
    return boxes


def _names_of(dataset: ImageDataset, label: Label) -> set[str]:
    """How a file may call a label's class."""
    names = [str(label)]
    if isinstance(label, int) and dataset.classes is not None and 0 <= label < len(dataset.classes):
        names += [dataset.classes[label], *dataset.classes[label].split(",")]
    if isinstance(label, int) and 0 <= label < 1000 and is_ilsvrc(dataset):
        names.append(ilsvrc_wordnet_ids()[label])
    return {normalised(name) for name in names}
