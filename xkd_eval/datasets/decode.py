"""Image files of every kind -> upright 8-bit RGB, or all their channels; mask files -> object, background, ignored."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from xkd_eval.bands import Bands, Picture
from xkd_eval.datasets.band_files import decode_npy, decode_tiff, is_npy, tiff_form
from xkd_eval.datasets.reduction import reduce
from xkd_eval.datasets.tiff import is_tiff
from xkd_eval.errors import UnreadableImageError
from xkd_eval.foreign import bytes_of, reading

_ORIENTATION_TAG = 0x0112
_SAMPLES_TAG = 277
_BITS_TAG = 258
_MOST_SAMPLES = 6  # that PIL takes apart
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_TURNED = 5  # of the orientations: from here on its width is the height of the upright image
_IGNORED = 255
# No photograph is that large, and a sparse file of any size costs nothing to make.
_LARGEST_FILE = 2**30


def stored_bytes(path: Path, identifier: str) -> bytes:
    """The bytes of one image's file.

    Args:
        path: of the file.
        identifier: names the image in errors.

    Raises:
        UnreadableImageError: missing, a folder, a pipe or device, not allowed, or of more than 1 GiB.
    """
    with reading(f"{identifier}: cannot be read", "expected an image file", UnreadableImageError):
        return bytes_of(path, _LARGEST_FILE)


def decode_image(source: bytes | Path, identifier: str) -> Picture:
    """Decode one image: a photograph as published pipelines do, see `upright_rgb`; .npy and .tif by their channels.

    What a file is, its first bytes say, whatever it is called.

    Args:
        source: the file's bytes, or its path.
        identifier: names the image in errors.

    Returns:
        RGB, 8 bits a channel, a JPEG's reduced within `reduction.reduced_jpegs`; of an .npy, or a .tif that is no
        photograph, what `bands.picture_of` makes of it.

    Raises:
        UnreadableImageError: missing, empty, truncated, too large (decompression bomb), or no image.
    """
    content = source if isinstance(source, bytes) else stored_bytes(source, identifier)
    if is_npy(content):
        return decode_npy(content, identifier)
    if is_tiff(content):
        return _decode_tiff(content, identifier)
    return upright_rgb(_decode(content, identifier, reduced=True), identifier)


def upright_rgb(image: Image.Image, identifier: str) -> Image.Image:
    """An image as PIL opened it -> what a network is shown: by PIL's `convert("RGB")`, where that is right.

    Alpha and palette transparency are dropped, not composited; CMYK goes through PIL, which takes Adobe's inverted
    polarity for JPEG. What `convert` gets wrong is done here: EXIF orientation is applied, 16-bit greys keep their high
    byte (as PIL reads 16-bit RGB) instead of being clipped at 255, floats in [0, 1] are scaled to 0..255.

    Args:
        image: of any mode; left as it is.
        identifier: names the image in errors.

    Returns:
        RGB, 8 bits a channel, without metadata: given again, it comes back the same.

    Raises:
        UnreadableImageError: its file is truncated, or its mode or values have no RGB form.
    """
    with _decoding(f"{identifier}: truncated or damaged"):
        image.load()
    if 0 in image.size:
        raise UnreadableImageError(f"{identifier}: {image.width}x{image.height} pixels; expected at least one")
    with _decoding(f"{identifier}: {image.mode} image without an RGB form"):
        rgb = _to_rgb(image)
        method = _UPRIGHT.get(_orientation(image))
        if method is not None:
            rgb = rgb.transpose(method)
        elif rgb is image:
            rgb = rgb.copy()
    rgb.info = {}  # The orientation in there is applied: whoever read it again would turn the image twice.
    return rgb


def decode_mask(source: bytes | Path, identifier: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one mask file.

    Args:
        source: the file's bytes, or its path.
        identifier: names the mask in errors.
        size: (width, height) of its image; a mask of another size is refused before memory is taken for it.

    Returns:
        (H, W) int8, see `mask_from_values`; 255 of a palette image is ignored, as in PASCAL VOC.

    Raises:
        UnreadableImageError: as decode_image and mask_from_values; another size.
    """
    image = _decode(source, identifier, size)
    with _decoding(f"{identifier}: {image.mode} image without a mask's form"):
        one_band = len(image.getbands()) == 1
        values = np.asarray(image) if one_band else np.asarray(image.convert("RGB")).max(2)
    mask = mask_from_values(values, identifier)
    if image.mode == "P":
        mask[values == _IGNORED] = -1
    return mask


def mask_from_values(values: np.ndarray, identifier: str) -> np.ndarray:
    """Numbers of a mask -> (H, W) int8: 1 object, 0 background, -1 ignored.

    Any non-zero value is object, except 255 in a mask whose objects are 1: there it is ignored.

    Args:
        values: as they are stored.
        identifier: names the mask in errors.

    Raises:
        UnreadableImageError: not two-dimensional, without pixels, or anything but finite numbers.
    """
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biuf":
        found = f"{values.dtype} of shape {values.shape}"
        raise UnreadableImageError(f"{identifier}: a mask of {found}; expected (H, W) numbers")
    if not np.isfinite(values).all():
        raise UnreadableImageError(f"{identifier}: a mask with NaN or infinity; expected finite numbers")
    mask = (values != 0).astype(np.int8)
    if (values == 1).any():
        mask[values == _IGNORED] = -1
    return mask


def _decode(
    source: bytes | Path, identifier: str, size: tuple[int, int] | None = None, *, reduced: bool = False
) -> Image.Image:
    """As PIL decodes it; with `reduced` a JPEG at what `reduction.reduced_jpegs` allows."""
    content = source if isinstance(source, bytes) else stored_bytes(source, identifier)
    if not content:
        raise UnreadableImageError(f"{identifier}: empty file (0 bytes)")
    with _decoding(f"{identifier}: truncated or damaged"), warnings.catch_warnings():
        # PIL's remarks on odd metadata would be printed once a worker; what cannot be decoded raises all the same.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
            if size not in (None, image.size):
                found, expected = ("x".join(map(str, pair)) for pair in (image.size, size or ()))
                raise UnreadableImageError(f"{identifier}: the mask is {found}, the image {expected}")
            if reduced:
                reduce(image, lambda: _orientation(image) >= _FIRST_TURNED)
            image.load()
        except Image.UnidentifiedImageError:
            raise UnreadableImageError(f"{identifier}: not an image") from None
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(f"{identifier}: too many pixels ({error})") from None
    return image


def _decode_tiff(content: bytes, identifier: str) -> Picture:
    """A photograph by PIL; where its pixels have more than three samples, all of them as well."""
    n_pages, n_samples = tiff_form(content, identifier)
    if n_pages > 1 or n_samples > _MOST_SAMPLES:
        return decode_tiff(content, identifier)
    try:
        image = _decode(content, identifier)
        photograph = upright_rgb(image, identifier)
    except UnreadableImageError as error:
        try:
            return decode_tiff(content, identifier)
        except UnreadableImageError:
            if n_samples in (1, 3):
                raise error from None
            raise
    if n_samples <= 3 or image.mode == "CMYK":
        return photograph
    if len(image.getbands()) == n_samples and set(getattr(image, "tag_v2", {}).get(_BITS_TAG, ())) == {8}:
        return Bands(np.asarray(image), photograph)
    try:
        return Bands(np.asarray(decode_tiff(content, identifier)), photograph)
    except UnreadableImageError:
        return photograph


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """PIL's plugins raise anything: RuntimeError on AVIF, SyntaxError, struct.error, KeyError, MemoryError, ..."""
    with reading(what, "expected a whole image", UnreadableImageError):
        yield


def _to_rgb(image: Image.Image) -> Image.Image:
    samples = getattr(image, "tag_v2", {}).get(_SAMPLES_TAG, 1)
    if len(image.getbands()) == 1 and samples > 1:
        raise ValueError(f"{samples} channels without a meaning")  # PIL would drop all but the first.
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


def _orientation(image: Image.Image) -> int:
    """What EXIF says; 1, upright, where it says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        # The pixels are whole and only the EXIF block is not: several ImageNet photographs are like that.
        return 1
    return orientation if isinstance(orientation, int) else 1
