"""A network whose every answer is known by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.batch import Batch


@pytest.fixture
def pixel_sum() -> nn.Module:
    """Two classes: the sum of the pixels above the left half's weight, and a constant."""
    return _PixelSum()


class _PixelSum(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = images.mean((1, 2, 3))
        return torch.stack([torch.full_like(total, 0.25), total], 1)


@dataclass(frozen=True)
class Answers:
    """A network that is a function, and is asked about at most a chunk at a time."""

    answer: Callable[[Tensor], Tensor]
    chunk: int = 4
    classifier: None = None

    def classify(self, images: Tensor) -> Tensor:
        assert len(images) <= self.chunk
        return self.answer(images)


def batch_of(
    pixels: Tensor,
    maps: Tensor | None,
    answer: Callable[[Tensor], Tensor],
    labels: list[int],
    preprocess: Preprocess,
    *,
    masks: Tensor | None = None,
    chunk: int = 4,
) -> Batch:
    """A batch of photographs whose classifier is a function."""
    images = preprocess.normalise(pixels)
    logits = answer(images)
    ids = tuple(map(str, range(len(pixels))))
    known = torch.tensor(labels)
    return Batch(ids, pixels, images, logits, logits.argmax(1), known, maps, masks, preprocess, Answers(answer, chunk))
