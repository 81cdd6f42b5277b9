"""Fills that are drawn for each part of an image; one fill for all parts is of infills.SETTLED."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.batch import Batch


def _colour(batch: Batch, generator: np.random.Generator) -> Tensor:
    drawn = generator.uniform(size=3)
    return batch.preprocess.colour(tuple(drawn.tolist()), like=batch.images)[0]


def _shade(batch: Batch, generator: np.random.Generator) -> Tensor:
    return torch.full((batch.images.shape[1], 1, 1), float(generator.uniform(size=1)[0])).to(batch.images)


DRAWN: dict[str, Callable[[Batch, np.random.Generator], Tensor]] = {"colour": _colour, "shade": _shade}
"""Name -> a fill drawn anew for every part and sample. colour: uniform over the colours of a photograph; shade: one
number between 0 and 1 in normalised space (Quantus's "uniform")."""
