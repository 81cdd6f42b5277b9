"""Small images: all of them on the training device as uint8, cropped and flipped there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from distill.data.augmentation import BatchPlan, EpochPlan, crop_and_flip, plan_epoch, plan_in_order, scaled_crops
from distill.data.batches import EpochSteps, LabelledBatch, ProcessRank
from distill.data.cache import decoded
from distill.data.splits import Labelled
from distill.data.transforms import ImageTransforms
from distill.data.views import Views
from distill.recipe.data import DeviceData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


class ResidentTraining:
    """TrainingImages that are cropped and flipped on the device, a batch at a time; other changes image by image.

    Every view has a decoded copy of all images. What the plan says in the student's pixels is scaled to each view's and
    rounded there, so that views of unlike sizes are aligned to half a pixel.

    Args:
        labelled: the training split.
        views: of student and teachers.
        device: of the training.
        rank: this process's.
        steps: of an epoch.
        recipe: batch size and seed.
        data: augmentation.
    """

    def __init__(
        self,
        labelled: Labelled,
        views: Views,
        device: torch.device,
        rank: ProcessRank,
        steps: EpochSteps,
        recipe: Recipe,
        data: DeviceData,
    ) -> None:
        height, width = views.geometries[0].size
        if data.padding >= min(height, width):
            raise XkdError(
                f"data.padding: {data.padding} pixels around images of {height}x{width} found; expected fewer than "
                "their side, so that each crop shows some of its image"
            )
        views.check_centre_crops()
        _check_room(len(labelled.labels), views, device)
        self.n_images = len(labelled.labels)
        self.steps = steps
        self._views = views
        self._copies = [torch.tensor(decoded(labelled.dataset, view)).to(device) for view in views.geometries]
        self._labels = torch.tensor(labelled.labels, device=device)
        self._device = device
        self._classes = torch.tensor(labelled.labels) if data.sampling == "balanced" else None
        self._rank = rank
        self._recipe = recipe
        self._data = data
        self._changes = labelled.own_changes(recipe.seed, data.rounds)
        self._transforms = ImageTransforms(data, views, self._changes) if data.image_by_image else None

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See TrainingImages."""
        drawn = self._drawn(epoch)
        return map(self._made, self._parts(drawn.to(self._device), first_step), self._parts(drawn, first_step))

    def in_order(self, number: int) -> Iterator[LabelledBatch]:
        """See ImagesInOrder."""
        drawn = plan_in_order(self._changes, number, self._data.padding, self._data.flip)
        plan, size = drawn.to(self._device), self._recipe.batch_size
        for first in range(0, self.n_images, size):
            places = slice(first, first + size)
            yield self._made(plan.batch(places), drawn.batch(places))

    def plans(self, epoch: int, first_step: int) -> Iterator[BatchPlan]:
        """Order, crops and flips of each batch of an epoch from a step on, this process's part of each."""
        return self._parts(self._drawn(epoch).to(self._device), first_step)

    def cut(self, plan: BatchPlan) -> LabelledBatch:
        """The batch of a plan by crops and flips alone, made on the device without waiting for it."""
        return self._views.batch(self._cut(plan), self._labels[plan.indices], plan.indices, plan.draws)

    def _drawn(self, epoch: int) -> EpochPlan:
        """On the CPU, for all processes."""
        data = self._data
        return plan_epoch(
            self.n_images, self._recipe.seed, epoch, data.padding, data.flip, self._classes, self._changes
        )

    def _parts(self, plan: EpochPlan, first_step: int) -> Iterator[BatchPlan]:
        for step in range(first_step, len(self.steps)):
            yield BatchPlan(*map(self._rank.part_of, plan.batch(self.steps.places(step))))

    def _made(self, plan: BatchPlan, drawn: BatchPlan) -> LabelledBatch:
        """The batch of a plan; `drawn` is the same on the CPU, from which its numbers are read without a wait."""
        if self._transforms is None:
            return self.cut(plan)
        pixels = self._transforms.batch(self._cut(plan), drawn.draws.tolist(), drawn.indices.tolist())
        return self._views.batch(pixels, self._labels[plan.indices], plan.indices, plan.draws)

    def _cut(self, plan: BatchPlan) -> list[Tensor]:
        """(B, 3, H_i, W_i) uint8 of each view."""
        pixels = []
        for copy, scale in zip(self._copies, self._views.scales(), strict=True):
            shifts, padding = scaled_crops(plan.shifts, self._data.padding, scale)
            pixels.append(crop_and_flip(copy[plan.indices], shifts, plan.flips, padding))
        return pixels


def _check_room(n_images: int, views: Views, device: torch.device) -> None:
    """Refuse more than the device can ever hold, such as a small data set at the size of a large teacher."""
    needed = sum(3 * n_images * view.size[0] * view.size[1] for view in views.geometries)
    if needed > (memory := _memory(device)):
        sizes = " and ".join(f"{view.size[0]}x{view.size[1]}" for view in views.geometries)
        raise XkdError(
            f"data.loader: 'device' would hold {n_images:,} images of {sizes}, {needed / 2**30:,.0f} GiB, on {device}, "
            f"which has {memory / 2**30:,.0f}; expected 'workers'"
        )


def _memory(device: torch.device) -> int:
    """Bytes of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
