"""Photographs of several classes: a photograph is an image once a label, each with the label's own objects."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xkd_eval.bands import Picture
from xkd_eval.datasets.base import ImageDataset, Label, LabelKind, LabelSets, Sample, content_hash
from xkd_eval.datasets.outlines import Outlined
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

BETWEEN = ";"
"""What stands between the labels of one photograph in a list."""


@dataclass(frozen=True)
class LabelSet:
    """What a file says of one photograph.

    Attributes:
        explained: its labels that are an image each, in order.
        others: labels that it holds beside them, as crowds alone, which no image is of.
        objects: label -> its objects; None where the file has labels alone.
    """

    explained: tuple[Label, ...]
    others: tuple[Label, ...] = ()
    objects: Mapping[Label, Outlined] | None = None


@dataclass(frozen=True)
class LabelSetFile:
    """The labels that a file gives to images that may have several.

    Attributes:
        path: the file.
        by_stem: image name without folder and suffix -> its labels, which may be none.
        kind: of the labels.
        classes: class names in the order of the file, where it has an order.
        has_masks, has_boxes: what is known of the objects of every label.
    """

    path: Path
    by_stem: dict[str, LabelSet]
    kind: LabelKind
    classes: tuple[str, ...] | None = None
    has_masks: bool = False
    has_boxes: bool = False


class PerLabel(ImageDataset):
    """Photographs as one image a label, "NAME#label"; those without a label are left out.

    Args:
        dataset: of the photographs.
        sets: of each, None where the file does not name it.
        file: that says so.

    Raises:
        XkdError: no photograph has a label.
    """

    def __init__(self, dataset: ImageDataset, sets: Sequence[LabelSet | None], file: LabelSetFile) -> None:
        self.dataset, self.path = dataset, file.path
        images = [
            (photograph, label, held)
            for photograph, held in enumerate(sets)
            if held is not None
            for label in held.explained
        ]
        if not images:
            raise XkdError(
                f"labels: {str(file.path)!r} gives none of the {len(dataset)} images a label; give the file that "
                "belongs to them"
            )
        self.name, self.label_kind, self.classes = dataset.name, file.kind, file.classes
        self.labels = [label for _, label, _ in images]
        self.ids = [f"{dataset.ids[photograph]}#{label}" for photograph, label, _ in images]
        photographs = tuple(photograph for photograph, _, _ in images)
        held = tuple(frozenset((*found.explained, *found.others)) for _, _, found in images)
        self.label_sets = LabelSets(photographs, held, len(dataset) - len(set(photographs)))
        self.has_masks, self.has_boxes = file.has_masks, file.has_boxes
        self._objects = [None if found.objects is None else found.objects[label] for _, label, found in images]
        self._decoded: tuple[int, Sample] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Without the photograph that was decoded last."""
        return {**self.__dict__, "_decoded": None}

    def load(self, position: int) -> Sample:
        """The photograph with the objects of the image's label; decoded once for labels that follow each other.

        Raises:
            UnreadableImageError: as the photographs' set says.
            XkdError: the file says another size.
        """
        assert self.label_sets is not None
        photograph = self.label_sets.photographs[position]
        if self._decoded is None or self._decoded[0] != photograph:
            self._decoded = (photograph, self.dataset.load(photograph))
        sample = self._decoded[1]
        sample = replace(sample, image=sample.image.copy())  # whoever is given it may draw on it
        objects = self._objects[position]
        if objects is None:
            return sample
        self._check_size(sample.image, photograph, objects)
        return replace(
            sample,
            content_hash=self._hash(position, sample.content_hash or self.dataset.content_hash(photograph)),
            mask=objects.mask() if self.has_masks else None,
            boxes=objects.boxes.copy() if self.has_boxes else None,
        )

    def content_hash(self, position: int) -> str:
        """Of the photograph's stored bytes, and of what the file says of its objects."""
        assert self.label_sets is not None
        return self._hash(position, self.dataset.content_hash(self.label_sets.photographs[position]))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the photographs."""
        assert self.label_sets is not None
        photographs = self.label_sets.photographs
        chosen = photographs if positions is None else [photographs[position] for position in positions]
        return self.dataset.stored_sizes(chosen)

    def images_of(self, photograph: int) -> range:
        """The positions of a photograph's images, one a label, which follow each other."""
        assert self.label_sets is not None
        photographs = self.label_sets.photographs
        return range(bisect_left(photographs, photograph), bisect_right(photographs, photograph))

    def _hash(self, position: int, photograph: str) -> str:
        objects = self._objects[position]
        return photograph if objects is None else content_hash(photograph.encode(), *objects.stored())

    def _check_size(self, image: Picture, photograph: int, objects: Outlined) -> None:
        if image.size != objects.size[::-1]:
            height, width = objects.size
            raise XkdError(
                f"labels: {str(self.path)!r} says that {short(self.dataset.ids[photograph])} is {width}x{height}, and "
                f"it is {image.width}x{image.height}; give the images that it was made for"
            )
