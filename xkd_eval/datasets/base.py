"""ImageDataset: ordered ids, raw labels, and one image at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from xkd_eval.errors import XkdError
from xkd_eval.registry import Registry

LabelKind = Literal["index", "wordnet", "name", "none"]
Label = int | str | None


@dataclass(frozen=True)
class Sample:
    """One decoded image.

    Attributes:
        image: RGB, upright (EXIF applied), 8 bits a channel, at its own size.
        mask: (H, W) int8 at the image's size: 1 object, 0 background, -1 ignored; None where the set has no masks.
    """

    image: Image.Image
    mask: np.ndarray | None = None


class ImageDataset(ABC):
    """Images with ids, and labels where there are any. Picklable: files are opened lazily, per worker.

    Attributes:
        name: short, for tables and directory names ("imagenet-val", "embedded-test").
        ids: one string an image, unique, in the set's own order.
        labels: one raw label an image, of `label_kind`: a class index, a WordNet id or a class name.
        label_kind: "none" where the set has no labels.
        classes: the set's own class names in the order of its indices, where it has an order; else None.
        has_masks: whether samples carry masks.
    """

    name: str
    ids: list[str]
    labels: list[Label]
    label_kind: LabelKind = "none"
    classes: tuple[str, ...] | None = None
    has_masks: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def load(self, position: int) -> Sample:
        """Decode the image (and mask) at `position`.

        Raises:
            UnreadableImageError: truncated, empty or no image at all.
        """

    def digest(self) -> str:
        """sha256 over the ordered ids: results on the same digest are on the same images."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()


class Subset(ImageDataset):
    """Some positions of a set, in the given order."""

    def __init__(self, dataset: ImageDataset, positions: list[int]) -> None:
        self.dataset = dataset
        self.positions = positions
        self.name = dataset.name
        self.ids = [dataset.ids[position] for position in positions]
        self.labels = [dataset.labels[position] for position in positions]
        self.label_kind = dataset.label_kind
        self.classes = dataset.classes
        self.has_masks = dataset.has_masks

    def load(self, position: int) -> Sample:
        """Image and mask of `positions[position]` in the whole set."""
        return self.dataset.load(self.positions[position])


def _checked(thing: object) -> Callable[..., Any]:
    if not callable(thing):
        raise XkdError(
            f"data: a {type(thing).__name__} found; expected a subclass of xkd_eval.datasets.ImageDataset, or a "
            "function that returns one"
        )
    return thing


DATASETS: Registry[Callable[..., Any]] = Registry(
    "data",
    group="xkd.datasets",
    home=["xkd_eval.datasets.embedded"],
    check=_checked,
    name_of="__name__",
)
"""Data sets that are opened by name instead of by path; `open_named` says how they are called."""

register_dataset = DATASETS.register
"""Decorator of an ImageDataset, or of a function that returns one: make it known as `NAME` and `NAME:rest`."""
