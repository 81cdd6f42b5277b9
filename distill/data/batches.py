"""Batches of images on the training device, from memory there or from worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distill.data.augmentation import crop_and_flip, plan_epoch
from distill.data.cache import decoded
from distill.data.splits import Labelled
from distill.recipe.schema import DeviceData, Recipe, WorkerData
from xkd_eval.classifiers.preprocess import Preprocess


class Batch(NamedTuple):
    """Images on the training device: (B, 3, H, W) uint8 RGB, labels (B,) and places in the training set (B,)."""

    pixels: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Share:
    """Which part of every batch is this process's: the `rank`-th of `processes` equal ones."""

    rank: int = 0
    processes: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """(B, ...) -> (B / processes, ...)."""
        return batch.chunk(self.processes)[self.rank]


class Drawn(NamedTuple):
    """What makes a batch: places in the training set (B,), shifts (B, 2) and flips (B,); see EpochPlan."""

    indices: Tensor
    shifts: Tensor
    flips: Tensor


class TrainingImages(Protocol):
    """Augmented batches, as the seed and the epoch determine them."""

    n_images: int

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """This process's share of each batch of an epoch from a step on, drawn for the whole batch."""


class HeldOutImages(Protocol):
    """Images as they are, in order."""

    n_images: int

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """This process's share of the images."""


def training_images(
    recipe: Recipe, labelled: Labelled, preprocess: Preprocess, device: torch.device, share: Share
) -> TrainingImages:
    """The training split by the recipe's loader.

    Args:
        recipe: batch size, seed and augmentation.
        labelled: the split.
        preprocess: the student's, for the size.
        device: of the training.
        share: this process's.
    """
    if isinstance(recipe.data, WorkerData):
        from distill.data.photographs import TrainingPhotographs

        return TrainingPhotographs(labelled, preprocess, device, share, recipe, recipe.data)
    return ResidentTraining(labelled, preprocess, device, share, recipe, recipe.data)


def held_out_images(
    recipe: Recipe, labelled: Labelled, preprocess: Preprocess, device: torch.device, share: Share
) -> HeldOutImages:
    """A split that is not trained on, by the recipe's loader; arguments as for `training_images`."""
    if isinstance(recipe.data, WorkerData):
        from distill.data.photographs import HeldOutPhotographs

        return HeldOutPhotographs(labelled, preprocess, device, share, recipe.data.workers)
    return _ResidentHeldOut(labelled, preprocess, device, share)


class _Resident:
    """All images on the device as uint8."""

    def __init__(self, labelled: Labelled, preprocess: Preprocess, device: torch.device, share: Share) -> None:
        self.n_images = len(labelled.labels)
        self._pixels = torch.tensor(decoded(labelled.dataset, preprocess)).to(device)
        self._labels = torch.tensor(labelled.labels, device=device)
        self._share = share


class ResidentTraining(_Resident):
    """TrainingImages that are cropped and flipped on the device, a batch at a time."""

    def __init__(
        self,
        labelled: Labelled,
        preprocess: Preprocess,
        device: torch.device,
        share: Share,
        recipe: Recipe,
        data: DeviceData,
    ) -> None:
        super().__init__(labelled, preprocess, device, share)
        self._recipe = recipe
        self._data = data

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """See TrainingImages."""
        return map(self.cut, self.draws(epoch, first_step))

    def draws(self, epoch: int, first_step: int) -> Iterator[Drawn]:
        """What `batches` makes its batches of."""
        size, padding = self._recipe.batch_size, self._data.padding
        plan = plan_epoch(self.n_images, self._recipe.seed, epoch, padding, self._data.flip).to(self._pixels.device)
        for step in range(first_step, self.n_images // size):
            places = slice(step * size, (step + 1) * size)
            yield Drawn(*(self._share.of(drawn[places]) for drawn in (plan.order, plan.shifts, plan.flips)))

    def cut(self, drawn: Drawn) -> Batch:
        """The batch, made on the device without waiting for it."""
        pixels = crop_and_flip(self._pixels[drawn.indices], drawn.shifts, drawn.flips, self._data.padding)
        return Batch(pixels, self._labels[drawn.indices], drawn.indices)


class _ResidentHeldOut(_Resident):
    """As they are."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """See HeldOutImages."""
        mine = torch.arange(self._share.rank, self.n_images, self._share.processes, device=self._pixels.device)
        for indices in mine.split(batch_size):
            yield Batch(self._pixels[indices].permute(0, 3, 1, 2), self._labels[indices], indices)
