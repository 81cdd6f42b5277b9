"""What decides a network's pixels: the geometry that models share, and a grid at the size that a network takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from xkd_eval.bands import picture_of
from xkd_eval.classifiers.preprocess import Preprocess


def geometry(preprocess: Preprocess) -> Preprocess:
    """What decides the pixels alone: the same for every mean, deviation and range, and for colours in any order."""
    count = preprocess.channels
    neutral = Preprocess() if preprocess.takes_photographs else Preprocess(mean=(0.0,) * count, std=(1.0,) * count)
    return replace(
        preprocess,
        mean=neutral.mean,
        std=neutral.std,
        channel_order=neutral.channel_order,
        value_range=neutral.value_range,
    )


def at_size(view: Tensor, preprocess: Preprocess) -> Tensor:
    """A view at the network's input size, which a grid has not where the network takes images of one size only."""
    if view.shape[1:] == preprocess.size:
        return view
    grid = picture_of(np.ascontiguousarray(view.permute(1, 2, 0).numpy()))
    return replace(preprocess, resize="squash").pixels(grid)
