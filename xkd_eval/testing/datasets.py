"""The contract of a data set."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from xkd_eval.arguments import public
from xkd_eval.bands import Bands
from xkd_eval.datasets import ImageDataset, Sample, open_dataset
from xkd_eval.datasets.base import hash_of
from xkd_eval.datasets.samples import boxes_fit
from xkd_eval.errors import UnreadableImageError

_LABEL_TYPES = {"index": int, "wordnet": str, "name": str}


@public(data="dataset", path="dataset")
def check_dataset(dataset: str | ImageDataset, samples: int = 8) -> None:
    """Check what every evaluation relies on in a data set.

    It has a name, unique ids and one label an id, of its `label_kind` and within its `classes`. Its samples are RGB
    images, or Bands, with masks of the same size and boxes within them where it says so, and come out the same a second
    time and in another process, as do their content hashes and stored sizes where it tells them.

    Args:
        dataset: what `open_dataset` takes, or an ImageDataset.
        samples: how many images to decode, evenly spread.

    Raises:
        AssertionError: something is violated; the message says what.
        XkdError: no such data set.
    """
    opened = dataset if isinstance(dataset, ImageDataset) else open_dataset(dataset)
    name = getattr(opened, "name", None)
    if not isinstance(name, str) or not name or "/" in name:
        _fail(opened, f"its name is {name!r}; expected a short text that can name a folder")
    _check_ids(opened)
    _check_labels(opened)
    _check_sizes(opened)
    try:
        copied: ImageDataset = pickle.loads(pickle.dumps(opened))
    except Exception as error:
        raise AssertionError(f"{name}: it cannot be pickled for the processes that decode ({error})") from error
    if copied.digest() != opened.digest():
        _fail(opened, "its pickled copy has other ids, labels or stored sizes")
    contents: set[tuple[bytes, ...]] = set()
    hashes: set[str] = set()
    for position in sorted({round(place) for place in np.linspace(0, len(opened) - 1, samples)}):
        try:
            sample = opened.load(position)
        except UnreadableImageError:
            continue
        _check_sample(opened, position, sample)
        hashes.add(_check_hash(opened, position, sample))
        for other, said in ((opened, "a second time"), (copied, "from its pickled copy")):
            if _content(other.load(position)) != _content(sample):
                _fail(opened, f"image {opened.ids[position]!r} is another one {said}")
            if other.content_hash(position) != hash_of(sample):
                _fail(opened, f"the content hash of image {opened.ids[position]!r} is another one {said}")
        contents.add(_content(replace(sample, boxes=None)))  # of which no content hash tells
    if not contents:
        _fail(opened, f"none of the {samples} images looked at can be read")
    if len(hashes) < len(contents):
        _fail(opened, f"{len(contents)} images that differ have {len(hashes)} content hashes; hash what is stored")


def _check_ids(dataset: ImageDataset) -> None:
    ids = list(dataset.ids)
    if not ids or len(dataset) != len(ids):
        _fail(dataset, f"it has {len(ids)} ids and says it has {len(dataset)} images; expected as many, 1 or more")
    if wrong := [identifier for identifier in ids if not isinstance(identifier, str) or not identifier]:
        _fail(dataset, f"an id is {wrong[0]!r}; expected texts")
    for identifier in ids:
        if identifier.encode(errors="ignore").decode() != identifier:
            _fail(dataset, f"the id {identifier!r} is not valid as UTF-8")
    if len(set(ids)) != len(ids):
        _fail(dataset, f"the id {Counter(ids).most_common(1)[0][0]!r} stands for two images")


def _check_sizes(dataset: ImageDataset) -> None:
    sizes = dataset.stored_sizes()
    if sizes is not None and (len(sizes) != len(dataset) or not all(isinstance(size, int) for size in sizes)):
        _fail(
            dataset, f"stored_sizes gives {sizes[:3]}, ...; expected bytes for each of {len(dataset)} images, or None"
        )


def _check_hash(dataset: ImageDataset, position: int, sample: Sample) -> str:
    if not isinstance(sample.content_hash, str | None) or sample.content_hash == "":
        _fail(dataset, f"the content hash of image {dataset.ids[position]!r} is {sample.content_hash!r}; expected text")
    return hash_of(sample)


def _check_labels(dataset: ImageDataset) -> None:
    labels, kind = list(dataset.labels), dataset.label_kind
    if len(labels) != len(dataset.ids):
        _fail(dataset, f"it has {len(labels)} labels and {len(dataset.ids)} ids; expected one an id, or None")
    known = [label for label in labels if label is not None]
    if kind == "none":
        if known:
            _fail(dataset, f"its label_kind is 'none' and a label is {known[0]!r}; say index, wordnet or name")
        return
    if kind not in _LABEL_TYPES:
        _fail(dataset, f"its label_kind is {kind!r}; expected index, wordnet, name or none")
    if wrong := [label for label in known if not isinstance(label, _LABEL_TYPES[kind]) or isinstance(label, bool)]:
        _fail(
            dataset, f"its label_kind is {kind!r} and a label is {wrong[0]!r}; expected {_LABEL_TYPES[kind].__name__}"
        )
    if kind == "wordnet" and (wrong := [label for label in known if not re.fullmatch(r"n\d{8}", str(label))]):
        _fail(dataset, f"a label is {wrong[0]!r}; expected a WordNet id such as n01440764")
    if dataset.classes is None:
        return
    if kind == "index" and (wrong := [label for label in known if not 0 <= int(label) < len(dataset.classes)]):
        _fail(dataset, f"a label is {wrong[0]!r}; it has {len(dataset.classes)} classes")
    if kind == "name" and (wrong := [label for label in known if label not in dataset.classes]):
        _fail(dataset, f"a label is {wrong[0]!r}, which is none of its classes")


def _check_sample(dataset: ImageDataset, position: int, sample: Any) -> None:
    what = f"image {dataset.ids[position]!r}"
    if not isinstance(sample, Sample):
        _fail(dataset, f"{what} is a {type(sample).__name__}; expected a Sample")
    mode = getattr(sample.image, "mode", type(sample.image).__name__)
    if mode != "RGB" and not isinstance(sample.image, Bands):
        _fail(dataset, f"{what} is {mode}; expected a PIL image in RGB, or Bands")
    if (sample.mask is not None) != dataset.has_masks:
        has = "no" if sample.mask is None else "a"
        _fail(dataset, f"has_masks is {dataset.has_masks} and {what} has {has} mask")
    _check_boxes(dataset, what, sample)
    if sample.mask is None:
        return
    mask, expected = sample.mask, (sample.image.height, sample.image.width)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.int8 or mask.shape != expected:
        _fail(dataset, f"the mask of {what} is {_array(mask)}; expected int8 of shape {expected}")
    if values := sorted(set(np.unique(mask).tolist()) - {-1, 0, 1}):
        _fail(dataset, f"the mask of {what} holds {values[0]}; expected 1 object, 0 background, -1 ignored")


def _check_boxes(dataset: ImageDataset, what: str, sample: Sample) -> None:
    boxes = sample.boxes
    if (boxes is not None) != dataset.has_boxes:
        _fail(
            dataset, f"has_boxes is {dataset.has_boxes} and {what} has {'no' if boxes is None else 'an'} array of them"
        )
    if boxes is None:
        return
    if not isinstance(boxes, np.ndarray) or boxes.dtype != np.int64 or boxes.shape != (len(boxes), 4):
        _fail(dataset, f"the boxes of {what} are {_array(boxes)}; expected int64 of shape (n, 4)")
    if not boxes_fit(boxes, sample.image.size).all():
        _fail(dataset, f"a box of {what} is not within it; expected x0, y0, x1, y1 in pixels, ends inclusive")


def _content(sample: Sample) -> tuple[bytes, ...]:
    arrays = (found for found in (sample.mask, sample.boxes) if found is not None)
    return sample.image.tobytes(), *(found.tobytes() for found in arrays)


def _array(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _fail(dataset: ImageDataset, violated: str) -> NoReturn:
    raise AssertionError(f"{getattr(dataset, 'name', type(dataset).__name__)}: {violated}")
