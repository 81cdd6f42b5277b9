"""COCO's JSON beside a folder of images -> the labels of each, with the objects of each label."""

from __future__ import annotations

import gzip
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from xkd_eval.datasets.base import Label, LabelKind
from xkd_eval.datasets.coco import LARGEST, Coco, CocoImage, CocoObject, coco_of, touched_pixels
from xkd_eval.datasets.identifiers import identifier_of, stem_of
from xkd_eval.datasets.label_sets import LabelSet, LabelSetFile
from xkd_eval.datasets.label_texts import typed_labels
from xkd_eval.datasets.outlines import Outline, Outlined, boxes_within, outline_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import read_bytes, reading, short

_EXPECTED = 'expected COCO\'s JSON of objects, {"images": [...], "annotations": [...], "categories": [...]}'

_Numbered = tuple[int, CocoObject]
"""An object and its number in the file, counted from 1."""


def is_coco(path: Path) -> bool:
    """Whether a file is read as COCO's: by its suffix."""
    return path.name.lower().endswith((".json", ".json.gz"))


def coco_label_sets(path: Path, stems: set[str]) -> LabelSetFile:
    """The labels of the images named `stems`.

    A label is a category's name. An image holds the categories of all its annotations, and is explained for those of
    which it has an object and not only a crowd. Masks and boxes are known where all of these objects have them.

    Raises:
        XkdError: unreadable, JSON of another kind, naming an image twice or none of them, an image or category that
            is not there, an outline or a box that is none of its image.
    """
    coco = coco_of(_text(path), path, "labels", _EXPECTED)
    labels, kind = _labels(coco, path)
    by_image: defaultdict[int, list[_Numbered]] = defaultdict(list)
    for number, entry in enumerate(coco.objects, 1):
        for what, known in (("image_id", coco.images), ("category_id", coco.categories)):
            if getattr(entry, what) not in known:
                raise XkdError(
                    f"labels: annotation {number} of {str(path)!r} has the {what} {getattr(entry, what)}, which is not "
                    f"among its {'images' if what == 'image_id' else 'categories'}; mend or remove it"
                )
        by_image[entry.image_id].append((number, entry))
    images = _images(coco, path, stems)
    if not images:
        some = ", ".join(short(image.file_name) for image in list(coco.images.values())[:2])
        raise XkdError(
            f"labels: {str(path)!r} names none of the {len(stems)} images; it names {some or 'no image'}, ...; give "
            "the file that belongs to them"
        )
    explained = [entry for image in images.values() for _, entry in by_image[image.id] if not entry.iscrowd]
    has_masks = bool(explained) and all(entry.segmentation for entry in explained)
    has_boxes = bool(explained) and all(entry.bbox is not None for entry in explained)
    found = {
        stem: _label_set(image, by_image[image.id], labels, path, masks=has_masks, boxes=has_boxes)
        for stem, image in images.items()
    }
    classes = tuple(str(labels[number]) for number in sorted(labels)) if kind == "name" else None
    return LabelSetFile(path, found, kind, classes, has_masks, has_boxes)


def _text(path: Path) -> str:
    content = read_bytes(path, "labels", LARGEST)
    with reading(f"labels: {str(path)!r} cannot be read", _EXPECTED):
        if path.suffix.lower() == ".gz":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise ValueError(f"more than {LARGEST:,} bytes")
        return content.decode("utf-8-sig")


def _labels(coco: Coco, path: Path) -> tuple[dict[int, Label], LabelKind]:
    """Category id -> the label; and of what kind they are."""
    names = [entry.name.strip() for entry in coco.categories.values()]
    for name in names:
        if not name or names.count(name) > 1:
            raise XkdError(f"labels: {str(path)!r} has a category {name!r}, without a name or of one that is taken")
    labels, kind = typed_labels(names, lambda place: f"category {list(coco.categories)[place]} of {str(path)!r}")
    return dict(zip(coco.categories, labels, strict=True)), kind


def _images(coco: Coco, path: Path, stems: set[str]) -> dict[str, CocoImage]:
    found: dict[str, CocoImage] = {}
    for image in coco.images.values():
        stem = stem_of(identifier_of(image.file_name))
        if stem in found:
            raise XkdError(f"labels: {str(path)!r} names {short(stem)} twice; remove one")
        if stem in stems:
            found[stem] = image
    return found


def _label_set(
    image: CocoImage,
    entries: Sequence[_Numbered],
    labels: Mapping[int, Label],
    path: Path,
    *,
    masks: bool,
    boxes: bool,
) -> LabelSet:
    by_label: defaultdict[Label, list[_Numbered]] = defaultdict(list)
    for number, entry in sorted(entries, key=lambda found: (found[1].category_id, found[0])):
        by_label[labels[entry.category_id]].append((number, entry))
    explained = [label for label, found in by_label.items() if not all(entry.iscrowd for _, entry in found)]
    others = tuple(label for label in by_label if label not in explained)
    if not (masks or boxes):
        return LabelSet(tuple(explained), others)
    size = _size(image, path)
    objects = {label: _outlined(by_label[label], size, path, masks=masks, boxes=boxes) for label in explained}
    return LabelSet(tuple(explained), others, objects)


def _size(image: CocoImage, path: Path) -> tuple[int, int]:
    if image.width is None or image.height is None or min(image.width, image.height) < 1:
        raise XkdError(
            f"labels: {str(path)!r} says no size of {short(image.file_name)}, which its objects are drawn in; add "
            "width and height"
        )
    return image.height, image.width


def _outlined(entries: Sequence[_Numbered], size: tuple[int, int], path: Path, *, masks: bool, boxes: bool) -> Outlined:
    """The objects of one label in one image."""
    objects: list[Outline] = []
    ignored: list[Outline] = []
    corners: list[tuple[int, int, int, int]] = []
    for number, entry in entries:
        with reading(f"labels: annotation {number} of {str(path)!r} cannot be used", "mend or remove it"):
            if masks and (entry.segmentation or not entry.iscrowd):
                (ignored if entry.iscrowd else objects).append(outline_of(entry.segmentation, size))
            if boxes and not entry.iscrowd:
                corners.append(touched_pixels(*cast(tuple[float, float, float, float], entry.bbox)))
                boxes_within(corners[-1:], size)
    return Outlined(size, tuple(objects), tuple(ignored), boxes_within(corners, size))
