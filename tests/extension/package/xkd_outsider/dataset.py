"""A data set that is made at run time: stripes, upright or lying, and where they are."""

import numpy as np
from PIL import Image

from xkd_eval import ImageDataset, Sample


class Stripes(ImageDataset):
    """`stripes`, or `stripes:N` for N images, 32x32, with masks."""

    label_kind = "index"
    classes = ("upright", "lying")
    has_masks = True

    def __init__(self, rest="", split="val"):
        self.name = f"stripes-{split}"
        self.ids = [f"{split}-{number:03d}" for number in range(int(rest or 8))]
        self.labels = [number % 2 for number in range(len(self.ids))]

    def load(self, position):
        mask = np.zeros((32, 32), dtype=np.int8)
        mask[:, position % 24 : position % 24 + 6] = 1
        if self.labels[position] == 1:
            mask = np.ascontiguousarray(mask.T)
        return Sample(Image.fromarray(np.where(mask == 1, 220, 20).astype(np.uint8)).convert("RGB"), mask)
