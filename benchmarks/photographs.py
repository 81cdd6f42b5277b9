"""Images to measure on, where none are at hand: seeded, of a photograph's size, detail and file size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def write_photographs(folder: Path, count: int) -> list[Path]:
    """Write `count` JPEGs of 500x375 into `folder`: blobs of colour under fine grain, about 60 kB each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        _photograph(number).save(path, quality=90)
    return paths


def find_photographs(folder: Path, count: int) -> list[Path]:
    """The first `count` images under `folder`, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:count]


def _photograph(seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    blobs = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (500, 375), Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 6, (375, 500, 1))
    return Image.fromarray((np.asarray(blobs) + grain).clip(0, 255).astype(np.uint8))
