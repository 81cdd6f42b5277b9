"""Decoded images kept on disk, so that a second start on the same data needs no decoding."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from xkd_eval import __version__
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.loader import load_sample
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.files import replacing

_PROBED = 8


def decoded(dataset: ImageDataset, preprocess: Preprocess) -> np.ndarray:
    """All images at the network's input size.

    They are kept in $XDG_CACHE_HOME/xkd, or ~/.cache/xkd, and memory-mapped from there; where that place cannot be
    written they are only returned.

    Returns:
        (N, H, W, 3) uint8, read-only.

    Raises:
        XkdError: an image cannot be decoded.
    """
    path = _cache() / f"{_key(dataset, preprocess)}.npy"
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        images = np.stack([_pixels(dataset, position, preprocess) for position in range(len(dataset))])
    try:
        _write(images, path)
    except OSError:
        return images  # A cache that cannot be written costs the next start some seconds, and nothing else.
    return np.load(path, mmap_mode="r")


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "xkd"


def _key(dataset: ImageDataset, preprocess: Preprocess) -> str:
    """A digest of ids, labels, geometry and the pixels of some images: another file under the same name differs."""
    geometry = {key: preprocess.to_dict()[key] for key in ("size", "resize", "interpolation", "crop_fraction")}
    sha = hashlib.sha256(json.dumps([__version__, dataset.name, geometry, dataset.labels]).encode())
    sha.update(dataset.digest().encode())
    for position in sorted({round(place) for place in np.linspace(0, len(dataset) - 1, _PROBED)}):
        sha.update(_pixels(dataset, position, preprocess).tobytes())
    return sha.hexdigest()[:32]


def _pixels(dataset: ImageDataset, position: int, preprocess: Preprocess) -> np.ndarray:
    try:
        image = load_sample(dataset, position).image
    except UnreadableImageError as error:
        raise XkdError(f"data: {dataset.name} has an image that cannot be read; mend or remove it: {error}") from None
    return preprocess.pixels(image).permute(1, 2, 0).numpy()


def _write(images: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.save(file, images)
