"""Noise that is added to photographs: an image's own, so that it depends neither on its batch nor on the order."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.words import MOST


def uniform_noise(batch: Batch, low: float, high: float, seed: int, sample: int) -> Tensor:
    """Uniform in [low, high), each value by itself, in normalised space.

    Args:
        batch: of B photographs.
        low, high: bounds.
        seed: of the protocol.
        sample: tells apart what is drawn for one photograph. Tests that draw the same make the same images.

    Returns:
        (B, 3, H, W) float32 on the device of the images.
    """
    return _drawn(batch, seed, sample, lambda draw, size: low + (high - low) * draw.random(size, dtype=np.float32))


def gaussian_noise(batch: Batch, sigma: float, seed: int, sample: int) -> Tensor:
    """Normal with mean 0 and standard deviation sigma; see `uniform_noise`."""
    return _drawn(batch, seed, sample, lambda draw, size: sigma * draw.standard_normal(size, dtype=np.float32))


def check_drawn(samples: int, noise_seed: int, **sizes: float) -> None:
    """Raise XkdError for a number of samples, a seed, or a size of the noise that is none.

    Args:
        samples: drawn for each photograph.
        noise_seed: of the protocol.
        sizes: by the option's name, each above 0.
    """
    if not 1 <= samples <= MOST:
        raise XkdError(f"samples: {samples} found; expected a whole number from 1 to {MOST}")
    if not 0 <= noise_seed < 2**63:
        raise XkdError(f"noise_seed: {noise_seed} found; expected a whole number from 0 to 2^63")
    for name, size in sizes.items():
        if not (math.isfinite(size) and size > 0):
            raise XkdError(f"{name}: {size} found; expected a number above 0, in units of the normalised image")


def _drawn(
    batch: Batch, seed: int, sample: int, numbers: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
) -> Tensor:
    size = tuple(batch.images.shape[1:])
    drawn = [numbers(image_generator(name, seed, "noise", sample), size) for name in batch.ids]
    return torch.from_numpy(np.stack(drawn).astype(np.float32, copy=False)).to(batch.images.device)
