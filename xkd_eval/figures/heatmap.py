"""A saliency map as colours over its photo: arrays in, arrays out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from matplotlib.colors import Colormap
from PIL import Image
from torch.nn import functional as F

from xkd_eval.errors import XkdError
from xkd_eval.registry import near

DEFAULT_COLORMAP = "inferno"
DEFAULT_ALPHA = 0.5

Region = tuple[float, float, float, float]

_GREY = 0.62
_OUTSIDE = 0.94
_LARGEST = 900
_SMALLEST = 320
# Their middle means nothing, so a map with both signs is shown with zero there.
_DIVERGING = frozenset(
    [
        *("PiYG", "PRGn", "BrBG", "PuOr", "RdGy", "RdBu", "RdYlBu", "RdYlGn"),
        *("Spectral", "coolwarm", "bwr", "seismic", "berlin", "managua", "vanimo"),
    ]
)


@dataclass(frozen=True)
class Heatmap:
    """A map and its overlay as they are shown.

    Attributes:
        colours: (H, W, 3) uint8, the map at the photo's shown size; light where `region` leaves the photo uncovered.
        overlay: (H, W, 3) uint8, the map blended over the photo, the plain photo outside of `region`.
        low, high: what the ends of the colour bar stand for, in the map's own units; NaN where there is none to show.
        note: "" for a map with a range, else "constant" or "not finite".
    """

    colours: np.ndarray
    overlay: np.ndarray
    low: float
    high: float
    note: str = ""


def heatmap(
    photo: np.ndarray,
    saliency: np.ndarray,
    colormap: str = DEFAULT_COLORMAP,
    alpha: float = DEFAULT_ALPHA,
    region: Region | None = None,
) -> Heatmap:
    """Colour a map and blend it over its photo.

    The map is up-sampled bilinearly (align_corners=False, as the tests do) to the photo. The colour map spans the
    map's own range from smallest to largest value; a diverging one spans both signs alike, so that zero is its middle.

    Args:
        photo: (H, W, 3) uint8.
        saliency: (h, w), raw.
        colormap: any name that matplotlib knows.
        alpha: the map's share in the overlay, 0 to 1.
        region: (left, top, right, bottom) of the part of the photo that the map covers, in its pixels; None is all.

    Raises:
        XkdError: shapes, an unknown colour map, alpha outside of 0 to 1, or a region outside of the photo.
    """
    colours = find_colormap(colormap)
    check_alpha(alpha)
    _check_shapes(photo, saliency)
    left, top, right, bottom = _pixel_box(photo, region)
    values = np.asarray(saliency, dtype=np.float64)
    low, high, note = _value_range(values, colormap)
    if note:
        inside = np.full((bottom - top, right - left, 3), _GREY)
    else:
        upsampled = _upsample(values, bottom - top, right - left)
        inside = colours((upsampled - low) / (high - low))[..., :3]
    shown = np.full(photo.shape, _OUTSIDE)
    shown[top:bottom, left:right] = inside
    overlay = photo / 255.0
    overlay[top:bottom, left:right] = alpha * inside + (1 - alpha) * overlay[top:bottom, left:right]
    return Heatmap(_to_uint8(shown), _to_uint8(overlay), low, high, note)


def shown_size(photo: np.ndarray, largest: int = _LARGEST, smallest: int = _SMALLEST) -> np.ndarray:
    """The photo (H, W, 3) uint8 at a size fit for a figure.

    At most `largest` pixels a side, smoothly scaled down; at least about `smallest`, by whole factors and without
    smoothing, so that a 32 x 32 image shows the pixels that it has.
    """
    height, width = photo.shape[:2]
    longest = max(height, width)
    if longest > largest:
        size = (max(1, round(width * largest / longest)), max(1, round(height * largest / longest)))
        return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
    factor = math.ceil(smallest / longest)
    return photo.repeat(factor, 0).repeat(factor, 1)


def scaled_region(region: Region | None, photo: np.ndarray, shown: np.ndarray) -> Region | None:
    """A region in pixels of `photo` in pixels of `shown`."""
    if region is None:
        return None
    down, across = shown.shape[0] / photo.shape[0], shown.shape[1] / photo.shape[1]
    return (region[0] * across, region[1] * down, region[2] * across, region[3] * down)


def find_colormap(name: str) -> Colormap:
    """The colour map of that name.

    Raises:
        XkdError: there is none; the nearest names are given.
    """
    if name in matplotlib.colormaps:
        return matplotlib.colormaps[name]
    found = near(name, matplotlib.colormaps, cutoff=0.6)
    advice = f"nearest: {', '.join(found)}" if found else "try inferno, viridis, turbo or RdBu_r"
    raise XkdError(f"colormap: {name!r} is not a colour map that matplotlib knows; {advice}")


def check_alpha(alpha: float) -> None:
    """Raise XkdError unless alpha lies in 0 to 1."""
    if not 0 <= alpha <= 1:
        raise XkdError(f"alpha: {alpha} is out of range; expected 0 (the photo alone) to 1 (the map alone)")


def _check_shapes(photo: np.ndarray, saliency: np.ndarray) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
        raise XkdError(f"image: shape {photo.shape}, {photo.dtype}; expected (H, W, 3) uint8")
    if np.ndim(saliency) != 2 or np.size(saliency) == 0:
        raise XkdError(f"map: shape {np.shape(saliency)}; expected (h, w) with at least one value")


def _pixel_box(photo: np.ndarray, region: Region | None) -> tuple[int, int, int, int]:
    height, width = photo.shape[:2]
    if region is None:
        return 0, 0, width, height
    left, top, right, bottom = (round(side) for side in region)
    # A region thinner than half a pixel of the shown photo still shows.
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if left < 0 or top < 0 or right > width or bottom > height:
        raise XkdError(
            f"region: {region} leaves the photo of {width} x {height} pixels; "
            "expected (left, top, right, bottom) inside of it"
        )
    return left, top, right, bottom


def _value_range(values: np.ndarray, colormap: str) -> tuple[float, float, str]:
    if not np.isfinite(values).all():
        return math.nan, math.nan, "not finite"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, high, "constant"
    if low < 0 < high and colormap.removesuffix("_r") in _DIVERGING:
        limit = max(-low, high)
        return -limit, limit, ""
    return low, high, ""


def _upsample(values: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return F.interpolate(tensor, size=(height, width), mode="bilinear", align_corners=False)[0, 0].numpy()


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
