"""Photographs for training: decoded, cropped at random and resized by workers, uint8 until they are on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import DataLoader, Dataset

from distill.data.augmentation import derive_seed, plan_epoch
from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.draws import OwnDraws
from distill.data.splits import Labelled
from distill.recipe.data import WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.loader import Item, leave_signals_to_parent, load_sample, starting_workers, stream
from xkd_eval.errors import XkdError


class TrainingPhotographs:
    """TrainingImages by random resized crops and flips, each drawn by its image's place and the epoch alone.

    Args:
        labelled: the training split.
        preprocess: the student's, for size and interpolation.
        device: of the training.
        rank: this process's.
        recipe: batch size and seed.
        data: augmentation and workers.
    """

    def __init__(
        self,
        labelled: Labelled,
        preprocess: Preprocess,
        device: torch.device,
        rank: ProcessRank,
        recipe: Recipe,
        data: WorkerData,
    ) -> None:
        self.n_images = len(labelled.labels)
        self._device = device
        self._order = _Order(self.n_images, recipe, rank)
        workers = min(data.workers, self.n_images // recipe.batch_size)  # more would find no batch to make
        with starting_workers():  # of which torch warns already here
            self._loader: DataLoader[Any] = DataLoader(
                _Crops(labelled, preprocess, recipe.seed, data),
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
        self._order.epoch, self._order.first_step = epoch, first_step
        with starting_workers(), _disable_current_modes():  # workers, which draw nothing, would have them for good
            started = iter(self._loader)
        return map(self._on_device, started)

    def _on_device(self, loaded: Sequence[Tensor] | str) -> LabelledBatch:
        if isinstance(loaded, str):
            raise XkdError(f"data: an image cannot be read; mend or remove it: {loaded}")
        return LabelledBatch(*(values.to(self._device, non_blocking=True) for values in loaded))


class HeldOutPhotographs:
    """HeldOutImages as the network's own Preprocess resizes them; arguments as for TrainingPhotographs."""

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
            pixels = torch.stack([item.pixels for item in part])
            yield LabelledBatch(pixels.to(self._device), labels.to(self._device), positions.to(self._device))


class _Order:
    """A batch sampler: this process's part of each batch, as (epoch, position) pairs."""

    def __init__(self, n_images: int, recipe: Recipe, rank: ProcessRank) -> None:
        self.epoch = 0
        self.first_step = 0
        self._n_images = n_images
        self._recipe = recipe
        self._rank = rank

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self._recipe.batch_size
        order = plan_epoch(self._n_images, self._recipe.seed, self.epoch, padding=0, flip=False).order
        for step in range(self.first_step, self._n_images // size):
            mine = self._rank.part_of(order[step * size : (step + 1) * size])
            yield [(self.epoch, position) for position in mine.tolist()]

    def __len__(self) -> int:
        return self._n_images // self._recipe.batch_size - self.first_step


class _Crops(Dataset[Any]):
    """(epoch, position) -> (pixels, label, position), or the reason why the image cannot be read."""

    def __init__(self, labelled: Labelled, preprocess: Preprocess, seed: int, data: WorkerData) -> None:
        from torchvision.transforms import InterpolationMode, v2

        self._labelled = labelled
        self._seed = seed
        self._augment = v2.Compose(
            [
                v2.RandomResizedCrop(
                    preprocess.size, data.scale, interpolation=InterpolationMode(preprocess.interpolation)
                ),
                v2.RandomHorizontalFlip(0.5 if data.flip else 0.0),
                v2.PILToTensor(),
            ]
        )

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int] | str:
        epoch, position = key
        try:
            image = load_sample(self._labelled.dataset, position).image
        except XkdError as error:  # as a value: a worker would send its traceback
            return str(error)
        # The transforms would draw from torch's own generator.
        with OwnDraws(derive_seed(self._seed, epoch, position)):
            return self._augment(image), self._labelled.labels[position], position


def _collate(items: list[tuple[Tensor, int, int] | str]) -> tuple[Tensor, Tensor, Tensor] | str:
    for item in items:
        if isinstance(item, str):
            return item
    pixels, labels, positions = zip(*items, strict=True)
    return torch.stack(pixels), torch.tensor(labels), torch.tensor(positions)
