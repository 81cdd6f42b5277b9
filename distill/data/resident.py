"""Small images: all of them on the training device as uint8, cropped and flipped there."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from distill.data.augmentation import BatchPlan, crop_and_flip, plan_epoch
from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.cache import decoded
from distill.data.splits import Labelled
from distill.recipe.data import DeviceData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


class _Resident:
    """All images of a split on the device, (N, H, W, 3) uint8, and their labels (N,)."""

    def __init__(self, labelled: Labelled, preprocess: Preprocess, device: torch.device, rank: ProcessRank) -> None:
        self.n_images = len(labelled.labels)
        self._pixels = torch.tensor(decoded(labelled.dataset, preprocess)).to(device)
        self._labels = torch.tensor(labelled.labels, device=device)
        self._rank = rank


class ResidentTraining(_Resident):
    """TrainingImages that are cropped and flipped on the device, a batch at a time.

    Args:
        labelled: the training split.
        preprocess: the student's, for the size of the images.
        device: of the training.
        rank: this process's.
        recipe: batch size and seed.
        data: augmentation.
    """

    def __init__(
        self,
        labelled: Labelled,
        preprocess: Preprocess,
        device: torch.device,
        rank: ProcessRank,
        recipe: Recipe,
        data: DeviceData,
    ) -> None:
        if data.padding >= min(preprocess.size):
            height, width = preprocess.size
            raise XkdError(
                f"data.padding: {data.padding} pixels around images of {height}x{width} found; expected fewer than "
                "their side, so that each crop shows some of its image"
            )
        super().__init__(labelled, preprocess, device, rank)
        self._recipe = recipe
        self._data = data

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See TrainingImages."""
        return map(self.cut, self.plans(epoch, first_step))

    def plans(self, epoch: int, first_step: int) -> Iterator[BatchPlan]:
        """Order, crops and flips of each batch of an epoch from a step on, this process's part of each."""
        size, padding = self._recipe.batch_size, self._data.padding
        plan = plan_epoch(self.n_images, self._recipe.seed, epoch, padding, self._data.flip).to(self._pixels.device)
        for step in range(first_step, self.n_images // size):
            places = slice(step * size, (step + 1) * size)
            yield BatchPlan(*(self._rank.part_of(drawn[places]) for drawn in (plan.order, plan.shifts, plan.flips)))

    def cut(self, plan: BatchPlan) -> LabelledBatch:
        """The batch of a plan, made on the device without waiting for it."""
        pixels = crop_and_flip(self._pixels[plan.indices], plan.shifts, plan.flips, self._data.padding)
        return LabelledBatch(pixels, self._labels[plan.indices], plan.indices)


class ResidentHeldOut(_Resident):
    """HeldOutImages on the device; arguments as for ResidentTraining."""

    def batches(self, batch_size: int) -> Iterator[LabelledBatch]:
        """See HeldOutImages."""
        mine = torch.arange(self._rank.rank, self.n_images, self._rank.processes, device=self._pixels.device)
        for indices in mine.split(batch_size):
            yield LabelledBatch(self._pixels[indices].permute(0, 3, 1, 2), self._labels[indices], indices)
