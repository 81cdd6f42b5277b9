"""Images to try a network on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.preprocess import Preprocess


def random_images(preprocess: Preprocess, seed: int, count: int = 2) -> Tensor:
    """(count, C, H, W) normalised: white noise on coarse blobs, so that maps differ from place to place."""
    generator = torch.Generator().manual_seed(seed)
    channels = preprocess.channels if preprocess.channels > 1 else 3
    blobs = torch.rand(count, channels, 4, 4, generator=generator)
    blobs = nn.functional.interpolate(blobs, size=preprocess.size, mode="bilinear")
    noise = torch.rand(count, channels, *preprocess.size, generator=generator)
    return preprocess.normalise(0.6 * blobs + 0.4 * noise)
