"""Decoded images kept on disk, so that a second start on the same data needs no decoding."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from xkd_eval import __version__
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.samples import hash_of_stored, load_photograph
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.files import replacing
from xkd_eval.foreign import file_digest


def decoded(dataset: ImageDataset, preprocess: Preprocess) -> np.ndarray:
    """All images at the network's input size.

    They are kept in $XDG_CACHE_HOME/xkd, or ~/.cache/xkd, and memory-mapped from there; where that place cannot be
    written they are only returned. A file is named by what was decoded and by the digest of what it holds: one that is
    damaged, or of other pictures, is made again.

    Returns:
        (N, H, W, 3) uint8, read-only.

    Raises:
        XkdError: an image cannot be decoded.
    """
    folder, key = _cache(), _key(dataset, preprocess)
    for path in sorted(folder.glob(f"{key}-*.npy")):
        if path.stem == f"{key}-{_digest(path)}":
            return np.load(path, mmap_mode="r")
        with suppress(OSError):
            path.unlink()
    images = np.stack([_pixels(dataset, position, preprocess) for position in range(len(dataset))])
    try:
        return np.load(_written(images, folder, key), mmap_mode="r")
    except OSError:
        return images  # A cache that cannot be written costs the next start some seconds, and nothing else.


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "xkd"


def _key(dataset: ImageDataset, preprocess: Preprocess) -> str:
    """A digest of what is stored of each image, and of the geometry: other pictures under the same names differ."""
    geometry = {key: preprocess.to_dict()[key] for key in ("size", "resize", "interpolation", "crop_fraction")}
    sha = hashlib.sha256(json.dumps([__version__, dataset.name, geometry, dataset.digest()]).encode())
    for position in range(len(dataset)):
        sha.update(str(hash_of_stored(dataset, position)).encode())
    return sha.hexdigest()[:32]


def _pixels(dataset: ImageDataset, position: int, preprocess: Preprocess) -> np.ndarray:
    try:
        image = load_photograph(dataset, position)
    except UnreadableImageError as error:
        raise XkdError(f"data: {dataset.name} has an image that cannot be read; mend or remove it: {error}") from None
    try:
        return preprocess.pixels(image).permute(1, 2, 0).numpy()
    except XkdError as error:
        raise XkdError(f"data: {dataset.name}: {dataset.ids[position]}: {error}") from None


def _written(images: np.ndarray, folder: Path, key: str) -> Path:
    """The file that holds them, named by its content once that is known."""
    folder.mkdir(parents=True, exist_ok=True)
    unnamed = folder / f"{key}.npy"
    with replacing(unnamed) as file:
        np.save(file, images)
    return unnamed.replace(folder / f"{key}-{_digest(unnamed)}.npy")


def _digest(path: Path) -> str:
    try:
        return file_digest(path)[:32]
    except OSError:
        return "unreadable"
