"""Images of which some pixels are known: the others are interpolated, and what they tell is counted in bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.fractions import check_more


def starting_pixels(identifier: str, size: tuple[int, int], share: float, seed: int) -> np.ndarray:
    """(H, W) booleans: a share of an image's pixels, drawn by its id."""
    known = np.zeros(size[0] * size[1], dtype=bool)
    known[image_generator(identifier, seed, "start").choice(known.size, int(known.size * share), replace=False)] = True
    return known.reshape(size)


def revealed_pixels(shares: Sequence[float], n_pixels: int) -> list[int]:
    """How many of n pixels each share reveals: those of a map without ties at or above its quantile 1 - share.

    Raises:
        XkdError: a share that reveals no pixel more than the one before.
    """
    # Rounded, since share (n - 1) may be a whole number that floats miss by a little.
    counts = [math.floor(round(share * (n_pixels - 1), 6)) + 1 for share in shares]
    check_more("shares", shares[1:], counts, of=str(n_pixels), than="share")
    return counts


def interpolated(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """An image whose unknown pixels lie on triangles between known ones; the corners are always known.

    One triangulation serves all channels, and triangles look for their pixels, not pixels for their triangle.

    Args:
        image: (H, W, C) uint8 or float32.
        known: (H, W) booleans.

    Returns:
        (H, W, C) of the same type.

    Raises:
        XkdError: the image is a line of pixels, on which there are no triangles.
    """
    from scipy.spatial import Delaunay

    if min(known.shape) < 2:
        raise XkdError(f"size: images of {known.shape[0]}x{known.shape[1]} pixels found; expected two rows and columns")
    known = known.copy()
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    if known.all():
        return image
    points = np.argwhere(known)
    pixels, weights, corners = _pixels_of(points[Delaunay(points).simplices], known)
    values = (weights[:, :, None] * image[corners[..., 0], corners[..., 1]]).sum(1) / weights.sum(1, keepdims=True)
    made = image.copy()
    values = values.astype(np.float32)  # as the reference: in float32, halves to even
    made[pixels[:, 0], pixels[:, 1]] = np.round(values) if image.dtype == np.uint8 else values
    return made


def _pixels_of(triangles: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The unknown pixels within each triangle; one on an edge is within two, and has the same value in both.

    Args:
        triangles: (n, 3, 2) integers, rows and columns of corners.
        known: (H, W) booleans.

    Returns:
        (m, 2) pixels; (m, 3) integers, twice the areas opposite each corner, by which the corners weigh; (m, 3, 2)
        corners.
    """
    first, second, third = np.moveaxis(triangles, 1, 0)
    # By Pick's theorem a triangle of half a pixel's area holds no fourth pixel, and most are such.
    triangles = triangles[np.abs(_twice_area(first, second, third)) > 1]
    low = triangles.min(1)
    height, width = (triangles.max(1) - low + 1).T
    count = height * width
    owner = np.repeat(np.arange(len(count)), count)
    place = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    pixels = low[owner] + np.stack(np.divmod(place, width[owner]), 1)
    unknown = ~known[pixels[:, 0], pixels[:, 1]]
    pixels, corners = pixels[unknown], triangles[owner[unknown]]
    first, second, third = np.moveaxis(corners, 1, 0)
    weights = np.stack(
        [_twice_area(second, third, pixels), _twice_area(third, first, pixels), _twice_area(first, second, pixels)], 1
    )
    weights *= np.sign(weights.sum(1, keepdims=True))  # corners may run either way round
    within = (weights >= 0).all(1)
    return pixels[within], weights[within], corners[within]


def _twice_area(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    """(n,) of triangles with corners (n, 2), negative where they run the other way round."""
    (a, b), (c, d) = (second - first).T, (third - first).T
    return a * d - b * c


def information(image: np.ndarray) -> int:
    """The bytes of (H, W, 3) uint8 as a lossless WebP file; of other channels as one file each, of 8 bits a value."""
    if image.dtype != np.uint8:
        image = np.rint(255 * image).astype(np.uint8)
    layers = [image] if image.shape[2] == 3 else list(np.moveaxis(image, 2, 0))
    return sum(_webp_bytes(Image.fromarray(np.ascontiguousarray(layer)).convert("RGB")) for layer in layers)


def _webp_bytes(image: Image.Image) -> int:
    file = io.BytesIO()
    image.save(file, format="webp", lossless=True, quality=100)
    return file.tell()
