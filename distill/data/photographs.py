"""Photographs for training: decoded, cropped at random and resized by workers, uint8 until they are on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import DataLoader, Dataset

from distill.data.augmentation import OwnChanges, plan_epoch, plan_in_order
from distill.data.batches import EpochSteps, LabelledBatch, ProcessRank
from distill.data.crops import Crops
from distill.data.splits import Labelled
from distill.data.transforms import ImageTransforms
from distill.data.views import Views
from distill.recipe.data import WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess, stacked
from xkd_eval.datasets.loader import Item, leave_signals_to_parent, starting_workers, stream
from xkd_eval.errors import XkdError

_Loaded = tuple[int, int, int, list[Tensor]]


class TrainingPhotographs:
    """TrainingImages by random resized crops and flips, drawn for each image alone, see OwnChanges.

    An image that an epoch holds more than once is cut in another way each time.

    One box is drawn an image, and every view is that box of the photograph at the view's own size.

    Args:
        labelled: the training split.
        views: of student and teachers.
        device: of the training.
        rank: this process's.
        steps: of an epoch.
        recipe: batch size and seed.
        data: augmentation and workers.
    """

    def __init__(
        self,
        labelled: Labelled,
        views: Views,
        device: torch.device,
        rank: ProcessRank,
        steps: EpochSteps,
        recipe: Recipe,
        data: WorkerData,
    ) -> None:
        self._views = views
        self.n_images = len(labelled.labels)
        self.steps = steps
        self._device = device
        changes = labelled.own_changes(recipe.seed, data.rounds)
        self._order = _Order(labelled, changes, recipe, rank, steps)
        workers = min(data.workers, len(steps))  # more would find no batch to make
        with starting_workers():  # of which torch warns already here
            self._loader: DataLoader[Any] = DataLoader(
                _Crops(labelled, views, changes, data),
                batch_sampler=self._order,
                num_workers=workers,
                collate_fn=_collate,
                pin_memory=device.type == "cuda",
                persistent_workers=workers > 0,
                worker_init_fn=leave_signals_to_parent,
                generator=torch.Generator(),  # of its workers' seeds, which it would draw from the caller's
            )

    def batches(self, epoch: int, first_step: int) -> Iterator[LabelledBatch]:
        """See TrainingImages."""
        self._order.start(epoch, first_step)
        return self._started()

    def in_order(self, number: int) -> Iterator[LabelledBatch]:
        """See ImagesInOrder."""
        self._order.start_in_order(number)
        return self._started()

    def _started(self) -> Iterator[LabelledBatch]:
        with starting_workers(), _disable_current_modes():  # workers, which draw nothing, would have them for good
            started = iter(self._loader)
        return map(self._on_device, started)

    def _on_device(self, loaded: Sequence[Tensor] | str) -> LabelledBatch:
        if isinstance(loaded, str):
            raise XkdError(f"data: an image cannot be read; mend or remove it: {loaded}")
        labels, positions, draws, *pixels = (values.to(self._device, non_blocking=True) for values in loaded)
        return self._views.batch(pixels, labels, positions, draws)


class HeldOutPhotographs:
    """HeldOutImages as the network's own Preprocess resizes them.

    Args:
        labelled: the split.
        preprocess: the network's.
        device: of the training.
        rank: this process's.
        workers: processes that decode.
    """

    def __init__(
        self, labelled: Labelled, preprocess: Preprocess, device: torch.device, rank: ProcessRank, workers: int
    ) -> None:
        self.n_images = len(labelled.labels)
        self._labelled = labelled
        self._preprocess = preprocess
        self._device = device
        self._rank = rank
        self._workers = workers

    def batches(self, batch_size: int) -> Iterator[LabelledBatch]:
        """See HeldOutImages."""
        mine = range(self._rank.rank, self.n_images, self._rank.processes)
        items = stream(self._labelled.dataset, mine, self._preprocess, workers=self._workers, strict=True)
        while part := [item for item in islice(items, batch_size) if isinstance(item, Item)]:
            positions = torch.tensor([item.position for item in part])
            labels = torch.tensor([self._labelled.labels[item.position] for item in part])
            pixels = stacked([item.pixels for item in part])
            yield LabelledBatch(pixels.to(self._device), labels.to(self._device), positions.to(self._device))


class _Order:
    """A batch sampler: this process's part of each batch, as (draw, position) pairs; for draws see EpochPlan."""

    def __init__(
        self, labelled: Labelled, changes: OwnChanges, recipe: Recipe, rank: ProcessRank, steps: EpochSteps
    ) -> None:
        self._epoch = steps
        self._n_images = len(labelled.labels)
        self._changes = changes
        self._classes = torch.tensor(labelled.labels) if recipe.data.sampling == "balanced" else None
        self._recipe = recipe
        self._rank = rank
        self.start(0, 0)

    def start(self, epoch: int, first_step: int) -> None:
        """Give the batches of an epoch from a step on."""
        self._plan = plan_epoch(self._n_images, self._recipe.seed, epoch, 0, False, self._classes, self._changes)
        self._places = [self._epoch.places(step) for step in range(first_step, len(self._epoch))]

    def start_in_order(self, number: int) -> None:
        """Give all images in order, as round `number` of a fixed list has them."""
        self._plan = plan_in_order(self._changes, number, padding=0, flip=False)
        size = self._recipe.batch_size
        self._places = [slice(first, first + size) for first in range(0, self._n_images, size)]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for places in self._places:
            batch = self._plan.batch(places)
            mine = (self._rank.part_of(given).tolist() for given in (batch.draws, batch.indices))
            yield list(zip(*mine, strict=True))

    def __len__(self) -> int:
        return len(self._places)


class _Crops(Dataset[Any]):
    """(draw, position) -> (label, position, draw, pixels of each view), or why the image cannot be read."""

    def __init__(self, labelled: Labelled, views: Views, changes: OwnChanges, data: WorkerData) -> None:
        self._labelled = labelled
        self._changes = changes
        self._crops = Crops(views, data)
        self._transforms = ImageTransforms(data, views, changes) if data.image_by_image else None

    def __getitem__(self, key: tuple[int, int]) -> _Loaded | str:
        draw, position = key
        seed = self._changes.seed_of(draw, position)
        try:
            pixels = self._crops.of(self._labelled.dataset, position, seed)
        except XkdError as error:  # as a value: a worker would send its traceback
            return str(error)
        if self._transforms is not None:
            pixels = self._transforms(pixels, draw, position)
        return self._labelled.labels[position], position, draw, pixels


def _collate(items: list[_Loaded | str]) -> list[Tensor] | str:
    """Labels, positions, draws, and the pixels of each view."""
    for item in items:
        if isinstance(item, str):
            return item
    *numbers, pixels = zip(*items, strict=True)
    return [*map(torch.tensor, numbers), *map(torch.stack, zip(*pixels, strict=True))]
