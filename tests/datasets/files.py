"""Small real files for the data set tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

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
