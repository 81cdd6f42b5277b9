"""Images of any number of channels, moved channel by channel as PIL moves an RGB image; and how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from xkd_eval.errors import XkdError

_DARKEST, _LIGHTEST = 2, 98
"""Percentiles of a channel between which it is stretched where it is shown."""


@dataclass(frozen=True, eq=False)
class Bands:
    """An image that is no RGB photograph of 8 bits: of another number of channels, or of finer values.

    It has of PIL's images what bringing one to a network's input takes; an RGB image that is taken apart into its
    channels comes to the same pixels.

    Attributes:
        array: (H, W, C), given as uint8, as uint16 or as floats in 0 to 1. White is 255, 65535 or 1: uint8 is kept as
            it is, the others as float32 in 0 to 1. One channel is grey, as in a file of a photograph: it is repeated
            to three.
        photograph: what the same image is to networks of one or three channels, where its file says which of its
            channels are colours; it is moved as the channels are.

    Example:
        >>> import numpy as np
        >>> from xkd_eval.bands import Bands
        >>> Bands(np.full((4, 6, 13), 65535, dtype=np.uint16)).resize((3, 2)).array[0, 0, :2]
        array([1., 1.], dtype=float32)
    """

    array: np.ndarray
    photograph: Image.Image | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", _checked(self.array))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype, copy=copy)

    @property
    def channels(self) -> int:
        """C."""
        return self.array.shape[2]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.array.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.array.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    def copy(self) -> Bands:
        """An image of its own."""
        return self._each(Image.Image.copy)

    def tobytes(self) -> bytes:
        """Of the array."""
        return self.array.tobytes()

    def resize(
        self, size: tuple[int, int], resample: Image.Resampling | None = None, box: tuple[float, ...] | None = None
    ) -> Bands:
        """As PIL's; what a filter makes of floats beyond 0 to 1 is cut off, as it is of bytes."""
        return self._each(lambda layer: layer.resize(size, resample, box))  # type: ignore[arg-type]

    def crop(self, box: tuple[int, int, int, int]) -> Bands:
        """As PIL's."""
        return self._each(lambda layer: layer.crop(box))

    def _each(self, moved: Callable[[Image.Image], Image.Image]) -> Bands:
        layers = (Image.fromarray(np.ascontiguousarray(layer)) for layer in np.moveaxis(self.array, 2, 0))
        made = np.stack([np.asarray(moved(layer)) for layer in layers], 2)
        photograph = None if self.photograph is None else moved(self.photograph)
        return Bands(made if made.dtype == np.uint8 else made.clip(0, 1), photograph)


Picture: TypeAlias = Image.Image | Bands
"""What an image is decoded to: 8-bit RGB, as photographs are, or the channels that it has."""


def picture_of(array: np.ndarray) -> Picture:
    """An array as what it would have been decoded to: a photograph where it is one.

    Args:
        array: (H, W, C), see Bands.

    Raises:
        XkdError: see Bands.
    """
    bands = Bands(array)
    is_photograph = bands.channels == 3 and bands.array.dtype == np.uint8
    return Image.fromarray(bands.array) if is_photograph else bands


def depth_of(picture: Picture) -> int:
    """How many channels an image has."""
    return picture.channels if isinstance(picture, Bands) else 3


def displayed(picture: Picture) -> np.ndarray:
    """An image for the eye, as the ground of an overlay.

    Returns:
        (H, W, 3) uint8: a photograph as it is. Of others the first three channels as red, green and blue, of two their
        average, each stretched between its 2nd and its 98th percentile.
    """
    if not isinstance(picture, Bands):
        return np.asarray(picture)
    if picture.photograph is not None:
        return np.asarray(picture.photograph)
    values = picture.array[:, :, :3].astype(np.float32)
    if picture.channels == 2:
        values = np.repeat(values.mean(2, keepdims=True), 3, 2)
    low, high = np.percentile(values, (_DARKEST, _LIGHTEST), axis=(0, 1))
    span = np.where(high > low, high - low, 1)
    return np.rint(255 * ((values - low) / span).clip(0, 1)).astype(np.uint8)


def _checked(array: Any) -> np.ndarray:
    """Bytes as they are, other values as float32 in 0 to 1; of more than one channel."""
    kind = getattr(array, "dtype", None)
    if not isinstance(array, np.ndarray) or array.ndim != 3 or 0 in array.shape:
        found = f"{kind} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise XkdError(f"array: {found} found; expected (H, W, C), height, width and channels")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, 2)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind != "f":
        raise XkdError(f"array: {kind} found; expected uint8, uint16, or floats in 0 to 1")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise XkdError(f"array: floats from {low:.3g} to {high:.3g} found; expected 0 to 1, or uint8 or uint16")
    return array.astype(np.float32, copy=False)
