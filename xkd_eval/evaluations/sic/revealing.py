"""Images of which some pixels are known: the others are interpolated, and what they tell is counted in bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator


def starting_pixels(identifier: str, size: tuple[int, int], share: float, seed: int) -> np.ndarray:
    """(H, W) booleans: a share of an image's pixels, drawn by its id."""
    known = np.zeros(size[0] * size[1], dtype=bool)
    known[image_generator(identifier, seed, "start").choice(known.size, int(known.size * share), replace=False)] = True
    return known.reshape(size)


def revealed_pixels(shares: Sequence[float], n_pixels: int) -> list[int]:
    """How many of n pixels each share reveals: those of a map without ties at or above its quantile 1 - share."""
    # Rounded, since share (n - 1) may be a whole number that floats miss by a little.
    return [math.floor(round(share * (n_pixels - 1), 6)) + 1 for share in shares]


def interpolated(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """An image whose unknown pixels lie on triangles between known ones; the corners are always known.

    One triangulation serves all channels, and all pixels are found in it at once.

    Args:
        image: (H, W, 3) uint8.
        known: (H, W) booleans.

    Returns:
        (H, W, 3) uint8.

    Raises:
        XkdError: the image is a line of pixels, on which there are no triangles.
    """
    from scipy.interpolate import LinearNDInterpolator

    if min(known.shape) < 2:
        raise XkdError(f"size: images of {known.shape[0]}x{known.shape[1]} pixels found; expected two rows and columns")
    known = known.copy()
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    if known.all():
        return image
    values = LinearNDInterpolator(np.argwhere(known), image[known].astype(np.float64))(np.argwhere(~known))
    missing = np.isnan(values)  # beside every triangle by rounding
    if missing.any():
        values = np.where(missing, image.mean((0, 1)), values)
    made = image.copy()
    made[~known] = np.round(values.astype(np.float32))  # as the reference rounds: in float32, halves to even
    return made


def information(image: np.ndarray) -> int:
    """The bytes of (H, W, 3) uint8 as a lossless WebP file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="webp", lossless=True, quality=100)
    return file.tell()
