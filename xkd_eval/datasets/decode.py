"""Image files of every kind -> upright 8-bit RGB, and mask files -> object, background, ignored."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from xkd_eval.errors import UnreadableImageError

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What PIL's plugins raise on damaged files, beside OSError.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, struct.error, zlib.error)
_IGNORED = 255


def decode_image(source: bytes | Path, identifier: str) -> Image.Image:
    """Decode one image as published pipelines do (PIL's `convert("RGB")`), where that is right.

    Alpha and palette transparency are dropped, not composited; CMYK goes through PIL, which takes Adobe's inverted
    polarity for JPEG. What `convert` gets wrong is done here: EXIF orientation is applied, 16-bit greys keep their high
    byte (as PIL reads 16-bit RGB) instead of being clipped at 255, floats in [0, 1] are scaled to 0..255.

    Args:
        source: the file's bytes, or its path.
        identifier: names the image in errors.

    Returns:
        RGB, 8 bits a channel.

    Raises:
        UnreadableImageError: missing, empty, truncated, too large (decompression bomb), or no image.
    """
    image = _decode(source, identifier)
    try:
        return _turned_upright(_to_rgb(image), image)
    except _DAMAGED as error:
        raise UnreadableImageError(f"{identifier}: {image.mode} image without an RGB form ({error})") from error


def decode_mask(source: bytes | Path, identifier: str) -> np.ndarray:
    """Decode one mask file.

    Returns:
        (H, W) int8, see `mask_from_values`; 255 of a palette image is ignored, as in PASCAL VOC.

    Raises:
        UnreadableImageError: as decode_image.
    """
    image = _decode(source, identifier)
    if image.mode == "P":
        values = np.asarray(image)
        mask = (values > 0).astype(np.int8)
        mask[values == _IGNORED] = -1
        return mask
    if len(image.getbands()) > 1:
        return mask_from_values(np.asarray(image.convert("RGB")).max(2))
    return mask_from_values(np.asarray(image))


def mask_from_values(values: np.ndarray) -> np.ndarray:
    """Numbers of a mask -> (H, W) int8: 1 object, 0 background, -1 ignored.

    Any non-zero value is object, except 255 in a mask whose objects are 1: there it is ignored.
    """
    mask = (values != 0).astype(np.int8)
    if (values == 1).any():
        mask[values == _IGNORED] = -1
    return mask


def _decode(source: bytes | Path, identifier: str) -> Image.Image:
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{identifier}: cannot be read ({error.strerror or error})") from error
    if not content:
        raise UnreadableImageError(f"{identifier}: empty file (0 bytes)")
    try:
        with warnings.catch_warnings():
            # PIL's remarks on odd metadata would be printed once a worker; what cannot be decoded raises all the same.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            image.load()
    except Image.UnidentifiedImageError as error:
        raise UnreadableImageError(f"{identifier}: not an image") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{identifier}: too many pixels ({error})") from error
    except _DAMAGED as error:
        raise UnreadableImageError(f"{identifier}: truncated or damaged ({error})") from error
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return _scaled(image, lambda values: values // 256, 65535)
    if image.mode == "F":
        return _scaled(image, lambda values: np.round(values * 255), 1.0)
    if image.mode in ("P", "PA", "RGBa", "La"):
        # By way of alpha: PIL has no direct conversion for all of these, and warns about palettes.
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image.convert("RGB")


def _scaled(image: Image.Image, to_bytes: Callable[[np.ndarray], np.ndarray], white: float) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(f"values {values.min()}..{values.max()} outside 0..{white}")
    return Image.fromarray(to_bytes(values).astype(np.uint8)).convert("RGB")


def _turned_upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(_ORIENTATION_TAG)
    except _DAMAGED:
        # The pixels are whole and only the EXIF block is not: several ImageNet photographs are like that.
        return rgb
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if method is None else rgb.transpose(method)
