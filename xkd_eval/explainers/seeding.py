"""Random numbers that belong to an image, so that a map depends neither on its batch nor on the run."""

from __future__ import annotations

import hashlib

from torch import Tensor

from xkd_eval.explainers.base import Context


def image_seeds(images: Tensor, context: Context | None, seed: int) -> list[int]:
    """One seed an image, from its id; from its bytes where the ids are unknown.

    Args:
        images: (B, 3, H, W).
        context: holds the ids.
        seed: another seed, other numbers for every image.

    Returns:
        B integers in [0, 2^63).
    """
    if context is not None and context.ids is not None:
        names = [identifier.encode() for identifier in context.ids]
    else:
        names = [image.detach().float().cpu().contiguous().numpy().tobytes() for image in images]
    return [int.from_bytes(hashlib.sha256(b"%d " % seed + name).digest()[:8], "big") >> 1 for name in names]
