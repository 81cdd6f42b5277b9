"""ImageDataset: ordered ids, raw labels, and one image at a time."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeVar

import numpy as np

from xkd_eval.arguments import public
from xkd_eval.bands import Picture
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short
from xkd_eval.registry import Registry

LabelKind = Literal["index", "wordnet", "name", "none"]
Label = int | str | None


@dataclass(frozen=True)
class Sample:
    """One decoded image.

    Attributes:
        image: RGB, upright (EXIF applied), 8 bits a channel, at its own size; or Bands, of any number of channels.
        mask: (H, W) int8 at the image's size: 1 object, 0 background, -1 ignored; None where the set has no masks.
        content_hash: see `content_hash`, of what the image was decoded from; None leaves it to the set.
        boxes: (n, 4) int64, x0, y0, x1, y1 in the image's pixels, ends inclusive, of each object of the image's class;
            n may be 0; None where the set has no boxes.

    Example:
        >>> from xkd_eval import open_dataset
        >>> sample = open_dataset("embedded").load(0)
        >>> sample.image.size, sample.mask.shape, sample.mask.dtype, sample.boxes.shape
        ((64, 64), (64, 64), dtype('int8'), (1, 4))
    """

    image: Picture
    mask: np.ndarray | None = None
    content_hash: str | None = None
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class BoxesSource:
    """A file of boxes beside a set, as runs on it record it.

    Attributes:
        digest: sha256 over the boxes that each image of the set has of it.
        unknown: images that it names and the set lacks.
    """

    digest: str
    unknown: int


@dataclass(frozen=True)
class LabelSets:
    """Of a set whose photographs may hold several classes, each of which makes an image of its own.

    Attributes:
        photographs: one number an image: which photograph it is.
        labels: one an image: all labels that its photograph holds; there may be more than have an image.
        unlabelled: photographs that were left out, as they have no label.

    Example:
        A photograph of a cat and a dog, and one of a dog:

        >>> from xkd_eval.datasets.base import LabelSets
        >>> sets = LabelSets((0, 0, 1), (frozenset({"cat", "dog"}),) * 2 + (frozenset({"dog"}),), unlabelled=0)
        >>> sets.at([1, 2]).photographs
        (0, 1)
    """

    photographs: tuple[int, ...]
    labels: tuple[frozenset[Label], ...]
    unlabelled: int

    def at(self, positions: Sequence[int]) -> LabelSets:
        """Of some of the images."""
        photographs = tuple(self.photographs[position] for position in positions)
        return LabelSets(photographs, tuple(self.labels[position] for position in positions), self.unlabelled)


def content_hash(*stored: bytes | np.ndarray) -> str:
    """What tells one image from another whatever it is called.

    Args:
        stored: an image as it is stored, then its mask where the set has masks; bytes count as they are, arrays with
            their type and shape.

    Returns:
        The first 32 hex digits of sha256.
    """
    sha = hashlib.sha256()
    for part in stored:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
        sha.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()[:32]


class ImageDataset(ABC):
    """Images with ids, and labels where there are any. Picklable: files are opened lazily, per worker.

    Attributes:
        name: short, for tables and directory names ("imagenet-val", "embedded-test").
        ids: one string an image, unique and valid as UTF-8, in the set's own order.
        labels: one raw label an image, of `label_kind`: a class index, a WordNet id or a class name.
        label_kind: "none" where the set has no labels.
        classes: the set's own class names in the order of its indices, where it has an order; else None.
        has_masks: whether samples carry masks.
        has_boxes: whether samples carry boxes.
        boxes_from: the file that they come from; None where the set brings its own, or has none.
        label_sets: of a set in which a photograph is an image once a label; None where it is one image.
        url: that it was fetched from, as runs on it record it; None where its files are the user's own.

    Example:
        >>> from xkd_eval import open_dataset
        >>> digits = open_dataset("embedded")
        >>> digits.name, len(digits), digits.ids[0], digits.classes[digits.labels[0]]
        ('embedded-test', 500, 'test-00000', 'zero')
    """

    name: str
    ids: list[str]
    labels: list[Label]
    label_kind: LabelKind = "none"
    classes: tuple[str, ...] | None = None
    has_masks: bool = False
    has_boxes: bool = False
    boxes_from: BoxesSource | None = None
    label_sets: LabelSets | None = None
    url: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def load(self, position: int) -> Sample:
        """Decode the image (and mask) at `position`.

        Raises:
            UnreadableImageError: truncated, empty or no image at all.
        """

    def content_hash(self, position: int) -> str:
        """See `content_hash`; without decoding where what is stored can be read without.

        Raises:
            UnreadableImageError: what is stored cannot be read.
        """
        return hash_of(self.load(position))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """How large images are as stored, found without reading them.

        Args:
            positions: of the images; None asks for all.

        Returns:
            Bytes an image, masks included, -1 where there is nothing to be found; None where the set cannot tell.
        """
        return None

    def digest(self) -> str:
        """sha256 over ids, labels, the set's class names and stored sizes, in order.

        Equal digests mean: as many images of the same names, labels and, where `stored_sizes` tells them, sizes. Other
        pictures of the same sizes under the same names keep the digest; `content_hash` tells them apart.

        Raises:
            XkdError: `stored_sizes` fails, or gives no such sizes.
        """
        with reading(f"data: {self.name}: stored_sizes fails", "expected a list of bytes an image, or None"):
            sizes = self.stored_sizes()
        facts: list[Any] = [
            self.label_kind,
            self.classes,
            list(self.ids),
            list(self.labels),
            _checked_sizes(self, sizes),
        ]
        if self.label_sets is not None:
            facts += [self.label_sets.photographs, [sorted(held, key=str) for held in self.label_sets.labels]]
        # As JSON, in which no name or label can look like two, nor the class 7 like a class called 7.
        return hashlib.sha256(json.dumps(facts, default=repr).encode()).hexdigest()


def _checked_sizes(dataset: ImageDataset, sizes: Any) -> list[int] | None:
    """What `stored_sizes` gives of all images; numpy's numbers stand for Python's."""
    if sizes is None:
        return None
    found = list(sizes) if isinstance(sizes, Sequence | np.ndarray) and getattr(sizes, "ndim", 1) == 1 else []
    are_numbers = all(isinstance(size, Integral) and not isinstance(size, bool) for size in found)
    if len(found) != len(dataset.ids) or not are_numbers:
        raise XkdError(
            f"data: {dataset.name}: stored_sizes gives {short(sizes)}; expected the bytes of each of "
            f"{len(dataset.ids)} images, or None"
        )
    return [int(size) for size in found]


def hash_of(sample: Sample) -> str:
    """A sample's content hash; of its pixels and mask where it brings none."""
    if sample.content_hash is not None:
        return sample.content_hash
    pixels = np.asarray(sample.image)
    return content_hash(pixels) if sample.mask is None else content_hash(pixels, sample.mask)


def same_images(one: ImageDataset, other: ImageDataset) -> bool:
    """Whether two sets are one, as far as their lists and their first image tell.

    Files that are all of one size under the same names have the digest of others like them.

    Raises:
        XkdError: a set fails.
    """
    return one.digest() == other.digest() and one.content_hash(0) == other.content_hash(0)


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
        self.has_boxes = dataset.has_boxes
        self.boxes_from = dataset.boxes_from
        self.url = dataset.url
        self.label_sets = None if dataset.label_sets is None else dataset.label_sets.at(positions)

    def load(self, position: int) -> Sample:
        """What `positions[position]` is in the whole set."""
        return self.dataset.load(self.positions[position])

    def content_hash(self, position: int) -> str:
        """Of `positions[position]` in the whole set."""
        return self.dataset.content_hash(self.positions[position])

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of this part, or of some of it."""
        wanted = self.positions if positions is None else [self.positions[position] for position in positions]
        return self.dataset.stored_sizes(wanted)


def _checked(thing: object) -> Callable[..., Any]:
    if not callable(thing):
        raise XkdError(
            f"data: a {type(thing).__name__} found; expected a subclass of xkd_eval.datasets.ImageDataset, or a "
            "function that returns one"
        )
    return thing


_M = TypeVar("_M", bound=Callable[..., Any])

DATASETS: Registry[Callable[..., Any]] = Registry(
    "data",
    group="xkd.datasets",
    home=["xkd_eval.datasets.embedded"],
    check=_checked,
    name_of="__name__",
)
"""Data sets that are opened by name instead of by path; `open_named` says how they are called."""


@public()
def register_dataset(name: str) -> Callable[[_M], _M]:
    """Decorator of an ImageDataset, or of a function that returns one: make it known as `name` and `name:rest`.

    It is called with those of the keyword arguments `rest` (what stands behind the colon, or ""), `split` ("train",
    "val" or "test") and `labels` (a path, or None) that it takes. An installed package needs no decorator: it names its
    class or function as an entry point of the group `xkd.datasets`.

    Args:
        name: what `open_dataset` and `--data` take.

    Raises:
        XkdError: the name is taken.

    Example:
        >>> from PIL import Image
        >>> from xkd_eval import ImageDataset, Sample, open_dataset, register_dataset
        >>> @register_dataset("blank")
        ... class Blank(ImageDataset):
        ...     def __init__(self, rest, split):
        ...         self.name = f"blank-{split}"
        ...         self.ids = [f"{split}-{number}" for number in range(int(rest))]
        ...         self.labels = [None] * int(rest)
        ...     def load(self, position):
        ...         return Sample(Image.new("RGB", (64, 64)))
        >>> open_dataset("blank:3").ids
        ['val-0', 'val-1', 'val-2']
    """

    def add(maker: _M) -> _M:
        DATASETS.add(name, maker)
        return maker

    return add
