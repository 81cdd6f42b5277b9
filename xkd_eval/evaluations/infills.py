"""Infills: what takes the place of removed pixels, where it is more than a colour or a blur of the photograph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.removal import FILLS, fill_image


def _lowest(batch: Batch) -> Tensor:
    return batch.images.amin((1, 2, 3), keepdim=True).expand(-1, batch.images.shape[1], 1, 1)


def _opposite(batch: Batch) -> Tensor:
    return -batch.images


FIXED: dict[str, Callable[[Batch], Tensor]] = {"lowest": _lowest, "opposite": _opposite}
"""Name -> infill of which nothing is random. lowest: the smallest value of the normalised image over all channels
(what Quantus calls black); opposite: each normalised value with its sign changed (Bach et al., PLOS ONE 2015, flip
digits that are black or white so)."""


def _noise(batch: Batch, ranks: Tensor, seed: int) -> Tensor:
    shape = batch.images.shape[1:]
    drawn = [image_generator(name, seed, "noise").random(shape, dtype="float32") for name in batch.ids]
    return batch.preprocess.normalise(torch.stack([torch.from_numpy(values) for values in drawn]).to(batch.images))


def _shade(batch: Batch, ranks: Tensor, seed: int) -> Tensor:
    count = ranks.shape[-2] * ranks.shape[-1]  # as many as there can be ranks, whichever are used
    drawn = [image_generator(name, seed, "shade").random(count, dtype="float32") for name in batch.ids]
    shades = torch.stack([torch.from_numpy(values) for values in drawn]).to(batch.images)
    return (
        shades.gather(1, ranks.flatten(1).long())
        .reshape(ranks.shape)[:, None]
        .expand(-1, batch.images.shape[1], -1, -1)
    )


DRAWN: dict[str, Callable[[Batch, Tensor, int], Tensor]] = {"noise": _noise, "shade": _shade}
"""Name -> infill drawn for an image by its id. noise: each value uniform over [0, 1] before normalising (Samek et al.,
TNNLS 2017); shade: one number uniform over [0, 1] a rank, in normalised space, for all its pixels (LATEC)."""


def infill_image(batch: Batch, infill: str, ranks: Tensor, seed: int = 0) -> Tensor:
    """What removed pixels are replaced by, normalised.

    Args:
        batch: whose photographs lose pixels.
        infill: of removal.FILLS, FIXED or DRAWN.
        ranks: (B, H, W) integers, 0 = removed first; what is drawn may be drawn a rank.
        seed: of the protocol.

    Returns:
        (B, 3, H or 1, W or 1).
    """
    return DRAWN[infill](batch, ranks, seed) if infill in DRAWN else settled_infill(batch, infill)


def settled_infill(batch: Batch, infill: str) -> Tensor:
    """The same where nothing is drawn: `infill` of SETTLED. (B, 3, H or 1, W or 1)."""
    made = FIXED[infill](batch) if infill in FIXED else fill_image(batch.pixels, batch.preprocess, infill)
    return made.expand(len(batch.images), *made.shape[1:])


SETTLED = (*FILLS, *FIXED)
"""Names of the infills of which nothing is random."""
