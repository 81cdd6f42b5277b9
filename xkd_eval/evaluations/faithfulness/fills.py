"""What removed places become: one fill for all parts of an image, or one drawn for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.removal import fill_image

LOWEST = "lowest"


def _colour(batch: Batch, generator: np.random.Generator) -> Tensor:
    drawn = generator.uniform(size=3)
    return batch.preprocess.colour(tuple(drawn.tolist()), like=batch.images)[0]


def _shade(batch: Batch, generator: np.random.Generator) -> Tensor:
    return torch.full((3, 1, 1), float(generator.uniform(size=1)[0])).to(batch.images)


DRAWN: dict[str, Callable[[Batch, np.random.Generator], Tensor]] = {"colour": _colour, "shade": _shade}
"""Name -> a fill drawn anew for every part and sample. colour: uniform over the colours of a photograph; shade: one
number between 0 and 1 in normalised space (Quantus's "uniform")."""


def fixed_fills(batch: Batch, fill: str) -> Tensor:
    """(B, 3, H or 1, W or 1), normalised.

    Args:
        batch: of the photographs.
        fill: of FILLS; or "lowest", an image's smallest normalised value of all channels (Quantus's "black").
    """
    if fill == LOWEST:
        return batch.images.amin((1, 2, 3), keepdim=True).expand(-1, 3, 1, 1)
    made = fill_image(batch.pixels, batch.preprocess, fill)
    return made.expand(len(batch.images), *made.shape[1:])
