"""Photographs as a caller has them, one or several, as upright 8-bit RGB images, or as Bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xkd_eval.arguments import listed
from xkd_eval.bands import Bands, Picture
from xkd_eval.classifiers.preprocess import Preprocess, stacked
from xkd_eval.datasets.decode import decode_image, upright_rgb
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import is_there

Photo = str | Path | Picture | np.ndarray | Tensor
"""A file, a PIL image, Bands, an (H, W, 3) uint8 array, or a (3, H, W) tensor, see `as_photo`."""

_EXPECTED = (
    "expected a path, a PIL image, an (H, W, 3) uint8 array, or a (3, H, W) tensor of uint8 or of floats in 0 to 1"
)


def as_photos(photos: Photo | Iterable[Photo], argument: str = "images") -> list[Photo]:
    """One photo or several as a list of them.

    Args:
        photos: one, several, an (n, H, W, 3) uint8 array, or an (n, 3, H, W) tensor.
        argument: that held them, for the messages.

    Raises:
        XkdError: none at all, or no photos.
    """
    if isinstance(photos, str | Path | Image.Image | Bands) or (
        isinstance(photos, np.ndarray | Tensor) and photos.ndim <= 3
    ):
        return [photos]
    found = listed(photos)
    if found is None:
        raise _no_photo(photos, argument, ", or several of them")
    if not found:
        raise XkdError(f"{argument}: none given; expected at least one photo")
    return found


def as_photo(photo: Photo, argument: str = "images") -> Picture:
    """A photo as RGB, 8 bits a channel, upright; Bands, and files that hold such, as they are.

    Args:
        photo: the path of an image file; a PIL image; an (H, W, 3) uint8 array; or a (3, H, W) tensor, RGB as it is
            before normalisation: uint8 in 0 to 255, or floats in 0 to 1, which are rounded to 8 bits.
        argument: that held it, for the messages.

    Raises:
        XkdError: no such file, no image, another shape, or values outside of their range.
    """
    match photo:
        case Image.Image():
            return _as_decoded(lambda: upright_rgb(photo, f"a {photo.mode} image"), argument)
        case Bands():
            return photo
        case np.ndarray():
            return _from_array(photo, argument)
        case Tensor():
            return _from_tensor(photo, argument)
        case str() | Path():
            return _from_file(photo, argument)
    raise _no_photo(photo, argument)


def as_pixels(photos: Sequence[Picture], convention: Preprocess, argument: str = "images") -> Tensor:
    """Photos at a network's input size, (n, 3, H, W) uint8; of others see `Preprocess.pixels`.

    Raises:
        XkdError: a strip that the convention's crop would blow up, or a photo of other channels than the network takes.
    """
    try:
        return stacked([convention.pixels(photo) for photo in photos])
    except XkdError as error:
        raise type(error)(f"{argument}: {error}") from None


def file_name(photo: Photo) -> str:
    """The name of a photo's file, or "" where it is no file."""
    return Path(photo).name if isinstance(photo, str | Path) else ""


def _no_photo(found: object, argument: str, more: str = "") -> XkdError:
    return XkdError(f"{argument}: got a {type(found).__name__}; {_EXPECTED}{more}")


def _from_file(given: str | Path, argument: str) -> Picture:
    if given == "":  # which Path takes for "."
        raise XkdError(f"{argument}: '' found; {_EXPECTED}")
    path = Path(given)
    if not is_there(path, Path.is_file):
        found = "is a folder" if is_there(path, Path.is_dir) else "is no file"
        raise XkdError(f"{argument}: {str(path)!r} {found}; expected an image file")
    return _as_decoded(lambda: decode_image(path, str(path)), argument)


def _as_decoded(decode: Callable[[], Picture], argument: str) -> Picture:
    """A PIL image and its path give the same pixels: both are turned into RGB by the data sets' decoder."""
    try:
        return decode()
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{argument}: {error}") from None


def _from_array(array: np.ndarray, argument: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise XkdError(f"{argument}: got a {array.dtype} array of shape {array.shape}; expected (H, W, 3) uint8")
    return Image.fromarray(np.ascontiguousarray(array))


def _from_tensor(tensor: Tensor, argument: str) -> Image.Image:
    kind = str(tensor.dtype).removeprefix("torch.")
    is_rgb = tensor.ndim == 3 and tensor.shape[0] == 3 and 0 not in tensor.shape
    is_rgb = is_rgb and tensor.layout == torch.strided and tensor.device.type != "meta"
    if not is_rgb or not (kind == "uint8" or tensor.is_floating_point()):
        raise XkdError(
            f"{argument}: got a {kind} tensor of shape {tuple(tensor.shape)}; expected (3, H, W) or (n, 3, H, W), "
            "uint8 in 0 to 255 or floats in 0 to 1"
        )
    values = tensor.detach().cpu()
    if kind != "uint8":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise XkdError(
                f"{argument}: got floats from {low:.3g} to {high:.3g}; expected RGB in 0 to 1, before normalisation "
                "(a uint8 tensor may have 0 to 255)"
            )
        values = (values.double() * 255).round().byte()
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())
