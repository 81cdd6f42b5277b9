"""Batches of labelled images on the training device, and which part of each a process gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


class LabelledBatch(NamedTuple):
    """Images on the training device, as they come before a network's own normalisation.

    Attributes:
        pixels: (B, 3, H, W) RGB of 0 to 255: uint8, or float32 where images were blended.
        labels: (B,) int64 class indices; (B, K) float32 shares of classes where images were mixed.
        indices: (B,) int64, each image's place in its split.
        others: (B, 3, H_i, W_i) for each teacher, in order: the same crop and flip of the same photographs at the
            teacher's own size. It is `pixels` itself where the two geometries are one. Empty where no teacher looks.
        draws: (B,) int64, the number by which each image's own changes were drawn, see EpochPlan; None of images that
            are not changed.
    """

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    others: tuple[Tensor, ...] = ()
    draws: Tensor | None = None

    def micro_batches(self, count: int) -> list[LabelledBatch]:
        """The batch in `count` equal parts, in order; B is a multiple of it."""
        pixels = self.pixels.chunk(count)
        others = [pixels if view is self.pixels else view.chunk(count) for view in self.others]
        draws: Sequence[Tensor | None] = [None] * count if self.draws is None else self.draws.chunk(count)
        parts = zip(pixels, self.labels.chunk(count), self.indices.chunk(count), draws, *others, strict=True)
        return [LabelledBatch(own, labels, indices, tuple(views), draw) for own, labels, indices, draw, *views in parts]


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


_FEWEST = 3


class EpochSteps:
    """How the images of an epoch are shared out over its steps.

    What does not fill the last batch is a smaller one, as in the published recipes, unless it is to be dropped.

    Args:
        n_images: of all processes together.
        batch_size: of a step.
        parts: equal ones that a batch is split into, by processes and micro-batches; a last batch is cut to a multiple
            of them, and left out where they would have fewer than three images, of which little can be learned: batch
            norm needs two, and an angle between images three.
        drop_last: leave a smaller last batch out.

    Attributes:
        sizes: of the batches, step by step; at most the last is smaller than the others.
        n_images: how many are trained on in an epoch.
    """

    def __init__(self, n_images: int, batch_size: int, parts: int, *, drop_last: bool) -> None:
        full, rest = divmod(n_images, batch_size)
        kept = rest - rest % parts
        self._batch_size = batch_size
        self.sizes = (batch_size,) * full
        if not drop_last and kept >= parts * _FEWEST:
            self.sizes += (kept,)
        self.n_images = sum(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def places(self, step: int) -> slice:
        """Where a step's images stand in the order of the epoch."""
        first = step * self._batch_size
        return slice(first, first + self.sizes[step])

    def seen_before(self, step: int) -> int:
        """How many images of the epoch the steps before one have."""
        return min(step * self._batch_size, self.n_images)


class TrainingImages(Protocol):
    """Augmented batches, as the seed and the epoch determine them.

    Attributes:
        n_images: of all processes together.
        steps: of an epoch.
    """

    n_images: int
    steps: EpochSteps

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """This process's part of each batch of an epoch (from 0) from a step on, drawn for the whole batch."""


class ImagesInOrder(Protocol):
    """Augmented images as they are learned from, whatever a training's order."""

    def in_order(self, number: int) -> Iterator[LabelledBatch]:
        """Each image once and in order, as round `number` of a fixed list has it; the last batch may be smaller."""


class HeldOutImages(Protocol):
    """Images that are not trained on, unaugmented and in order.

    Attributes:
        n_images: of all processes together.
    """

    n_images: int

    def batches(self, batch_size: int) -> Iterator[LabelledBatch]:
        """This process's images, at most `batch_size` at a time."""
