"""Random weights at the price of a copy, for networks of which a test asks only that their weights are random.

The libraries initialise a network twice (PyTorch's layers, then their own rule), which takes longer than its forwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

_PERIOD = 65_521  # prime, so that no two rows of a weight are equal
_VALUES = torch.rand(2 * _PERIOD, generator=torch.Generator().manual_seed(0))


@contextmanager
def quick_weights() -> Iterator[None]:
    """Within it, `uniform_` and `normal_` fill large tensors from one block of random numbers, each time a new part.

    `normal_` draws uniform numbers of the same mean and deviation.
    """
    starts = itertools.count(step=7_919)
    uniform, normal = Tensor.uniform_, Tensor.normal_

    def fill(tensor: Tensor, low: float, high: float) -> Tensor:
        start = next(starts) % _PERIOD
        block = _VALUES[start : start + _PERIOD].to(tensor.dtype) * (high - low) + low
        values = tensor.detach().view(-1)
        whole = len(values) - len(values) % _PERIOD
        values[:whole].view(-1, _PERIOD).copy_(block)
        values[whole:].copy_(block[: len(values) - whole])
        return tensor

    def is_large(tensor: Tensor) -> bool:
        return tensor.numel() >= 4096 and tensor.device.type == "cpu" and tensor.is_contiguous()

    def quick_uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0, **options: object) -> Tensor:
        return fill(tensor, low, high) if is_large(tensor) else uniform(tensor, low, high, **options)

    def quick_normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **options: object) -> Tensor:
        reach = 3**0.5 * std
        return fill(tensor, mean - reach, mean + reach) if is_large(tensor) else normal(tensor, mean, std, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "uniform_", quick_uniform)
        patch.setattr(Tensor, "normal_", quick_normal)
        yield
