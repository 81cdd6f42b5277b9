"""Tests that draw their noise as another tool did, where the golden file was made with that tool's generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from xkd_eval.evaluations.protocol import Rules


def with_noise(test: type, options: Any, ids: Sequence[str], draw: Callable[[int], torch.Tensor]) -> Any:
    """A test whose noise is given.

    Args:
        test: with a method `noise(batch, sample)`.
        options: of the test.
        ids: of the golden file's photographs, in its order.
        draw: place of a photograph -> (n, 3, H, W), all of its samples.
    """
    known: dict[str, torch.Tensor] = {}

    def noise(self, batch, sample):
        for name in batch.ids:
            if name not in known:
                known[name] = draw(list(ids).index(name))
        return torch.stack([known[name][sample] for name in batch.ids])

    kind = type(f"Peers{test.__name__}", (test,), {"name": f"peers_{test.name}", "noise": noise})
    return kind.create(Rules(), options)
