"""Batches of labelled images on the training device, and which part of each a process gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


class LabelledBatch(NamedTuple):
    """Images on the training device, as they come before a network's own normalisation.

    Attributes:
        pixels: (B, 3, H, W) uint8, RGB.
        labels: (B,) int64 class indices.
        indices: (B,) int64, each image's place in its split.
        others: (B, 3, H_i, W_i) uint8 for each teacher, in order: the same crop and flip of the same photographs at the
            teacher's own size. It is `pixels` itself where the two geometries are one. Empty where no teacher looks.
    """

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    others: tuple[Tensor, ...] = ()

    def micro_batches(self, count: int) -> list[LabelledBatch]:
        """The batch in `count` equal parts, in order; B is a multiple of it."""
        pixels = self.pixels.chunk(count)
        others = [pixels if view is self.pixels else view.chunk(count) for view in self.others]
        parts = zip(pixels, self.labels.chunk(count), self.indices.chunk(count), *others, strict=True)
        return [LabelledBatch(own, labels, indices, tuple(views)) for own, labels, indices, *views in parts]


@dataclass(frozen=True)
class ProcessRank:
    """Which of the equal parts of every batch is this process's.

    Attributes:
        rank: of this process, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def part_of(self, values: Tensor) -> Tensor:
        """(B, ...) of all processes -> (B / processes, ...) of this one."""
        return values.chunk(self.processes)[self.rank]


class TrainingImages(Protocol):
    """Augmented batches, as the seed and the epoch determine them.

    Attributes:
        n_images: of all processes together.
    """

    n_images: int

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """This process's part of each batch of an epoch (from 0) from a step on, drawn for the whole batch."""


class HeldOutImages(Protocol):
    """Images that are not trained on, unaugmented and in order.

    Attributes:
        n_images: of all processes together.
    """

    n_images: int

    def batches(self, batch_size: int) -> Iterator[LabelledBatch]:
        """This process's images, at most `batch_size` at a time."""
