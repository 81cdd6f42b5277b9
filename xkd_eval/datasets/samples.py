"""One image of a data set that anybody wrote, held to what `Sample` says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from xkd_eval.bands import Bands, depth_of
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reading, short
from xkd_eval.wording import counted


def load_sample(dataset: ImageDataset, position: int) -> Sample:
    """An image of a data set that anybody wrote, held to what `Sample` says.

    Raises:
        UnreadableImageError: as the data set says.
        XkdError: it raises something else, or gives neither an RGB image with pixels nor Bands, or a mask or boxes of
            another kind, size or range.
    """
    where = f"data: {dataset.name}: {dataset.ids[position]}"
    with reading(f"{where}: loading fails", "expected a Sample, or UnreadableImageError"):
        sample = dataset.load(position)
    image = getattr(sample, "image", None)
    found = getattr(image, "mode", None)
    if not isinstance(sample, Sample) or not (found == "RGB" or isinstance(image, Bands)):
        what = f"{found} image" if isinstance(sample, Sample) else type(sample).__name__
        raise XkdError(f"{where}: a {what} found; expected a Sample of an RGB image")
    if 0 in sample.image.size:
        raise XkdError(f"{where}: an image of {sample.image.width}x{sample.image.height} found; expected pixels")
    _check_hash(where, sample.content_hash)
    _check_mask(where, dataset, sample)
    _check_boxes(where, dataset, sample)
    return sample


def load_photograph(dataset: ImageDataset, position: int) -> Image.Image:
    """The image of a data set that anybody wrote, for a training, which takes photographs alone.

    Raises:
        UnreadableImageError: as the data set says.
        XkdError: as `load_sample`; or other channels than a photograph has.
    """
    image = load_sample(dataset, position).image
    photograph = image.photograph if isinstance(image, Bands) else image
    if photograph is None:
        where = f"data: {dataset.name}: {dataset.ids[position]}"
        found = f"{counted(depth_of(image), 'channel')} of {np.asarray(image).dtype}"
        raise XkdError(f"{where}: {found} found; expected RGB of 8 bits, which trainings take alone")
    return photograph


def hash_of_stored(dataset: ImageDataset, position: int) -> str | None:
    """The content hash of an image of a data set that anybody wrote; None where it cannot be read.

    Raises:
        XkdError: the data set fails in another way.
    """
    where = f"data: {dataset.name}: {dataset.ids[position]}"
    with suppress(UnreadableImageError), reading(f"{where}: content_hash fails", "expected text"):
        found = dataset.content_hash(position)
        _check_hash(where, found)
        return found
    return None


def _check_hash(where: str, found: Any) -> None:
    if found is None or (isinstance(found, str) and found and found.isascii()):
        return
    raise XkdError(f"{where}: the content hash {short(found)} found; expected ASCII text, or None")


def _check_mask(where: str, dataset: ImageDataset, sample: Sample) -> None:
    mask, expected = sample.mask, (sample.image.height, sample.image.width)
    if dataset.has_masks and mask is None:
        raise XkdError(f"{where}: no mask found; expected one, since has_masks is true")
    if mask is not None and (not isinstance(mask, np.ndarray) or mask.dtype != np.int8 or mask.shape != expected):
        what = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise XkdError(f"{where}: a mask of {what} found; expected int8 of shape {expected}")
    if mask is not None and not -1 <= mask.min() <= mask.max() <= 1:
        raise XkdError(f"{where}: a mask of {mask.min()} to {mask.max()} found; expected 1 object, 0 background, -1")


def _check_boxes(where: str, dataset: ImageDataset, sample: Sample) -> None:
    boxes = sample.boxes
    if dataset.has_boxes and boxes is None:
        raise XkdError(f"{where}: no boxes found; expected an array of them, since has_boxes is true")
    if boxes is None:
        return
    if not isinstance(boxes, np.ndarray) or boxes.dtype != np.int64 or boxes.shape != (len(boxes), 4):
        what = f"{boxes.dtype} of shape {boxes.shape}" if isinstance(boxes, np.ndarray) else type(boxes).__name__
        raise XkdError(f"{where}: boxes of {what} found; expected int64 of shape (n, 4)")
    fits = boxes_fit(boxes, sample.image.size)
    if not fits.all():
        found = short(boxes[~fits][0].tolist())
        raise XkdError(f"{where}: the box {found} found; expected x0, y0, x1, y1 within the image, ends inclusive")


def boxes_fit(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which boxes lie within an image.

    Args:
        boxes: (n, 4) x0, y0, x1, y1, ends inclusive.
        size: (width, height) of the image.

    Returns:
        (n,) booleans.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    within: np.ndarray = (low >= 0) & (low <= high) & (high < size)
    return np.asarray(within.all(1))


def tight_boxes(mask: np.ndarray) -> np.ndarray:
    """The box of a mask's object.

    Args:
        mask: (H, W), 1 object.

    Returns:
        (1, 4) int64 x0, y0, x1, y1, ends inclusive; (0, 4) where there is no object.
    """
    of_object = mask == 1
    columns, rows = (np.flatnonzero(of_object.any(axis)) for axis in (0, 1))
    if not len(rows):
        return np.zeros((0, 4), dtype=np.int64)
    return np.array([[columns[0], rows[0], columns[-1], rows[-1]]], dtype=np.int64)
