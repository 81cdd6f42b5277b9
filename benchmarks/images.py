"""An ImageNet tree of crops of real photographs, which the benchmarks read as they would read the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from timm.data import ImageNetInfo


def write_imagenet_tree(root: Path, n_images: int, size: int = 256) -> Path:
    """`n_images` JPEG files under ten WordNet ids; returns `root`."""
    photographs = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")]
    wordnet_ids = [ImageNetInfo().index_to_label_name(index) for index in range(0, 1000, 100)]
    generator = np.random.default_rng(0)
    for number in range(n_images):
        photograph = photographs[number % len(photographs)]
        top, left = (generator.integers(side - size) for side in photograph.shape[:2])
        folder = root / wordnet_ids[number % len(wordnet_ids)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph[top : top + size, left : left + size]).save(folder / f"{number:05}.JPEG", quality=90)
    return root
