"""Small images: all of them on the training device as uint8, cropped and flipped there."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from distill.data.augmentation import BatchPlan, crop_and_flip, plan_epoch, scaled_crops
from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.cache import decoded
from distill.data.splits import Labelled
from distill.data.views import Views
from distill.recipe.data import DeviceData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


class ResidentTraining:
    """TrainingImages that are cropped and flipped on the device, a batch at a time.

    Every view has a decoded copy of all images. What the plan says in the student's pixels is scaled to each view's and
    rounded there, so that views of unlike sizes are aligned to half a pixel.

    Args:
        labelled: the training split.
        views: of student and teachers.
        device: of the training.
        rank: this process's.
        recipe: batch size and seed.
        data: augmentation.
    """

    def __init__(
        self,
        labelled: Labelled,
        views: Views,
        device: torch.device,
        rank: ProcessRank,
        recipe: Recipe,
        data: DeviceData,
    ) -> None:
        height, width = views.geometries[0].size
        if data.padding >= min(height, width):
            raise XkdError(
                f"data.padding: {data.padding} pixels around images of {height}x{width} found; expected fewer than "
                "their side, so that each crop shows some of its image"
            )
        self.n_images = len(labelled.labels)
        self._views = views
        self._copies = [torch.tensor(decoded(labelled.dataset, view)).to(device) for view in views.geometries]
        self._labels = torch.tensor(labelled.labels, device=device)
        self._classes = torch.tensor(labelled.labels) if data.sampling == "balanced" else None
        self._rank = rank
        self._recipe = recipe
        self._data = data

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See TrainingImages."""
        return map(self.cut, self.plans(epoch, first_step))

    def plans(self, epoch: int, first_step: int) -> Iterator[BatchPlan]:
        """Order, crops and flips of each batch of an epoch from a step on, this process's part of each."""
        size, padding = self._recipe.batch_size, self._data.padding
        plan = plan_epoch(self.n_images, self._recipe.seed, epoch, padding, self._data.flip, self._classes)
        plan = plan.to(self._labels.device)
        for step in range(first_step, self.n_images // size):
            places = slice(step * size, (step + 1) * size)
            yield BatchPlan(*(self._rank.part_of(drawn[places]) for drawn in (plan.order, plan.shifts, plan.flips)))

    def cut(self, plan: BatchPlan) -> LabelledBatch:
        """The batch of a plan, made on the device without waiting for it."""
        pixels = []
        for copy, scale in zip(self._copies, self._views.scales(), strict=True):
            shifts, padding = scaled_crops(plan.shifts, self._data.padding, scale)
            pixels.append(crop_and_flip(copy[plan.indices], shifts, plan.flips, padding))
        return self._views.batch(pixels, self._labels[plan.indices], plan.indices)


class ResidentHeldOut:
    """HeldOutImages on the device, at one network's size.

    Args:
        labelled: the split.
        preprocess: the network's.
        device: of the training.
        rank: this process's.
    """

    def __init__(self, labelled: Labelled, preprocess: Preprocess, device: torch.device, rank: ProcessRank) -> None:
        self.n_images = len(labelled.labels)
        self._pixels = torch.tensor(decoded(labelled.dataset, preprocess)).to(device)
        self._labels = torch.tensor(labelled.labels, device=device)
        self._rank = rank

    def batches(self, batch_size: int) -> Iterator[LabelledBatch]:
        """See HeldOutImages."""
        mine = torch.arange(self._rank.rank, self.n_images, self._rank.processes, device=self._pixels.device)
        for indices in mine.split(batch_size):
            yield LabelledBatch(self._pixels[indices].permute(0, 3, 1, 2), self._labels[indices], indices)
