"""Files that hold images of any number of channels, .npy and .tif, as what a network may be shown."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np

from xkd_eval.bands import Picture, picture_of
from xkd_eval.datasets.tiff import channels_of, first_page, form_of
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reading, short

_EXPECTED = "expected one array of numbers, as numpy.save writes it"
_NPY = b"\x93NUMPY"
# As many as PIL takes for a photograph, in its three channels.
_MOST_VALUES = 2**29


def is_npy(content: bytes) -> bool:
    """Whether bytes begin as `numpy.save` writes them."""
    return content.startswith(_NPY)


def decode_npy(content: bytes, identifier: str) -> Picture:
    """One image of an .npy file: (H, W, C), or (H, W) of grey; never unpickled.

    Args:
        content: of the file.
        identifier: names the image in errors.

    Returns:
        A photograph where it is one: 1 or 3 channels of bytes; else all of its channels, see Bands.

    Raises:
        UnreadableImageError: truncated, of another shape or type, of values beyond 0 to 1.
    """
    with reading(f"{identifier}: truncated or damaged", _EXPECTED, UnreadableImageError):
        array = _array(content, identifier)
    if array.ndim == 2:
        array = array[:, :, None]
    return _picture(array, identifier)


def tiff_form(content: bytes, identifier: str) -> tuple[int, int]:
    """Pages and samples of a pixel, see `tiff.form_of`: of most photographs by a look at their first page alone.

    Raises:
        UnreadableImageError: that cannot be told, and the first page is not in colour.
    """
    samples, more = first_page(content) or (0, True)
    if samples in (1, 3) and not more:
        return 1, samples
    try:
        with reading(f"{identifier}: truncated or damaged", "expected a whole TIFF", UnreadableImageError):
            return form_of(content)
    except UnreadableImageError:
        if samples != 3:
            raise
        return 1, samples


def decode_tiff(content: bytes, identifier: str) -> Picture:
    """One image of a .tif file, by its channels, see `tiff.channels_of`.

    Args:
        content: of the file.
        identifier: names the image in errors.

    Returns:
        As `decode_npy`.

    Raises:
        UnreadableImageError: truncated, compressed in an unknown way, of another type, of values beyond 0 to 1.
    """
    remedy = "expected a whole TIFF, plain or deflated; other compression needs the package imagecodecs"
    with reading(f"{identifier}: channels that cannot be read", remedy, UnreadableImageError):
        array = channels_of(content, _MOST_VALUES)
    return _picture(array, identifier)


def _array(content: bytes, identifier: str) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"format {version[0]}.{version[1]}, which is for records")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a header by Python 2
        shape, by_columns, kind = read(file)
    if kind.hasobject or kind.names:
        found = "pickled objects" if kind.hasobject else f"records {short(kind)}"
        raise UnreadableImageError(f"{identifier}: {found} found; {_EXPECTED}")
    offset = file.tell()
    expected, there = math.prod(shape) * kind.itemsize, len(content) - offset
    if expected != there:
        raise ValueError(f"{there:,} bytes of values for {kind} of shape {short(shape)}, which has {expected:,}")
    return np.frombuffer(content, kind, offset=offset).reshape(shape, order="F" if by_columns else "C")


def _picture(array: np.ndarray, identifier: str) -> Picture:
    if array.size > _MOST_VALUES:
        raise UnreadableImageError(f"{identifier}: too many values ({array.size:,}, more than {_MOST_VALUES:,})")
    try:
        return picture_of(array)
    except XkdError as error:
        raise UnreadableImageError(f"{identifier}: {str(error).removeprefix('array: ')}") from None
