"""Copies of a network to experiment on, without the cost of copying the weights that nothing writes to."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def copied(module: M, sharing: Iterable[nn.Parameter]) -> M:
    """A deep copy that holds some of the parameters themselves: those that neither it nor the original changes.

    Args:
        module: to copy; buffers always are.
        sharing: parameters of it.
    """
    return copy.deepcopy(module, {id(parameter): parameter for parameter in sharing})
