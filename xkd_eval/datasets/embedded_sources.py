"""The digits and textures of the embedded data set: files that scikit-learn and scikit-image install with themselves.

They are read as files. Importing scikit-learn for its 1,797 digits costs more than making 500 images of them, and
scikit-image's own readers go to the network where a file is absent.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from xkd_eval.errors import XkdError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# In the file's order, in which a writer's digits stand together: few writers are in two splits.
DIGIT_ROWS: dict[str, range] = {"train": range(1197), "val": range(1197, 1397), "test": range(1397, 1797)}

# Whole images, never crops of one. Those of the test split are all PNG, which every decoder reads to the same bytes.
TEXTURE_FILES: dict[str, tuple[str, ...]] = {
    "train": (
        "skimage/data/astronaut.png",
        "skimage/data/brick.png",
        "skimage/data/camera.png",
        "skimage/data/gravel.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "skimage/data/moon.png",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
    ),
    "val": (
        "skimage/data/coins.png",
        "skimage/data/retina.jpg",
        "sklearn/datasets/images/flower.jpg",
    ),
    "test": (
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
        "skimage/data/grass.png",
        "skimage/data/motorcycle_left.png",
    ),
}
_DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"


@cache
def load_digits_by_class(split: Split) -> tuple[np.ndarray, ...]:
    """The split's handwritten digits (UCI optical digits, Alpaydin & Kaynak 1998).

    Returns:
        Ten arrays (n_k, 12, 12) uint8, ink from 0 to 16, two pixels of paper around the 8x8: the class is the position.
    """
    with gzip.open(_package_file(_DIGITS_FILE), "rt") as lines:
        table = np.loadtxt(lines, delimiter=",").astype(np.uint8)
    rows = table[list(DIGIT_ROWS[split])]
    digits = np.pad(rows[:, :64].reshape(-1, 8, 8), ((0, 0), (2, 2), (2, 2)))
    return tuple(digits[rows[:, 64] == label] for label in range(10))


@cache
def load_textures(split: Split) -> tuple[Image.Image, ...]:
    """The split's texture images: RGB, each at its own size, the short side at least 300."""
    textures = []
    for name in TEXTURE_FILES[split]:
        with Image.open(_package_file(name)) as image:
            textures.append(image.convert("RGB"))
    return tuple(textures)


def _package_file(name: str) -> Path:
    package, _, inside = name.partition("/")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    raise XkdError(f"embedded data set: {name} is not installed; expected it with {package}: reinstall that package")
