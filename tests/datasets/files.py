"""Small real files for the data set tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def plain(colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 6)) -> Image.Image:
    """An RGB image of one colour; size is (width, height)."""
    return Image.new("RGB", size, colour)


def write_image(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 6)) -> Path:
    """A file of one colour, folders included; the suffix says its form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain(colour, size).save(path)
    return path


def noise(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_mat(path: Path, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], **options: Any) -> Path:
    """The layout of gtsegs_ijcv.mat: column-major, by reference, the masks in cells; the options are those of h5py."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, entries in (("img", images), ("gt", masks)):
            column = file.create_dataset(f"value/{name}", (len(entries), 1), dtype=h5py.ref_dtype)
            for k, entry in enumerate(entries):
                column[k, 0] = refs.create_dataset(f"{name}{k}", data=entry.T, **options).ref
                if name == "gt":
                    cell = refs.create_dataset(f"cell{k}", (1, 2), dtype=h5py.ref_dtype)
                    cell[0, 0] = column[k, 0]
                    cell[0, 1] = refs.create_dataset(f"other{k}", data=np.full(3, 7)).ref
                    column[k, 0] = cell.ref
        file.create_dataset("value/id", data=np.zeros((len(images), 1)))
    return path
