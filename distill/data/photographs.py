"""Photographs for training: decoded, cropped at random and resized by workers, uint8 until they are on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import DataLoader, Dataset

from distill.data.augmentation import derive_seed, earlier_times, plan_epoch
from distill.data.batches import LabelledBatch, ProcessRank
from distill.data.draws import OwnDraws
from distill.data.splits import Labelled
from distill.data.views import Views
from distill.recipe.data import WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.loader import Item, leave_signals_to_parent, load_sample, starting_workers, stream
from xkd_eval.errors import XkdError

_EPOCH_BITS = 31  # of a recipe's longest training


class TrainingPhotographs:
    """TrainingImages by random resized crops and flips, each drawn by its image's place and the epoch alone.

    An image that an epoch holds more than once is cut in another way each time.

    One box is drawn an image, and every view is that box of the photograph at the view's own size.

    Args:
        labelled: the training split.
        views: of student and teachers.
        device: of the training.
        rank: this process's.
        recipe: batch size and seed.
        data: augmentation and workers.
    """

    def __init__(
        self,
        labelled: Labelled,
        views: Views,
        device: torch.device,
        rank: ProcessRank,
        recipe: Recipe,
        data: WorkerData,
    ) -> None:
        self._views = views
        self.n_images = len(labelled.labels)
        self._device = device
        self._order = _Order(labelled, recipe, rank)
        workers = min(data.workers, self.n_images // recipe.batch_size)  # more would find no batch to make
        with starting_workers():  # of which torch warns already here
            self._loader: DataLoader[Any] = DataLoader(
                _Crops(labelled, views, recipe.seed, data),
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
        labels, positions, *pixels = (values.to(self._device, non_blocking=True) for values in loaded)
        return self._views.batch(pixels, labels, positions)


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
            pixels = torch.stack([item.pixels for item in part])
            yield LabelledBatch(pixels.to(self._device), labels.to(self._device), positions.to(self._device))


class _Order:
    """A batch sampler: this process's part of each batch, as (draw, position) pairs.

    A draw is the epoch and, in bits above it, how often the image came before in it.
    """

    def __init__(self, labelled: Labelled, recipe: Recipe, rank: ProcessRank) -> None:
        self.epoch = 0
        self.first_step = 0
        self._n_images = len(labelled.labels)
        self._classes = torch.tensor(labelled.labels) if recipe.data.sampling == "balanced" else None
        self._recipe = recipe
        self._rank = rank

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self._recipe.batch_size
        order = plan_epoch(
            self._n_images, self._recipe.seed, self.epoch, padding=0, flip=False, classes=self._classes
        ).order
        draws = self.epoch + (earlier_times(order) << _EPOCH_BITS)
        for step in range(self.first_step, self._n_images // size):
            mine = (self._rank.part_of(given[step * size : (step + 1) * size]).tolist() for given in (draws, order))
            yield list(zip(*mine, strict=True))

    def __len__(self) -> int:
        return self._n_images // self._recipe.batch_size - self.first_step


class _Crops(Dataset[Any]):
    """(draw, position) -> (label, position, pixels of each view), or the reason why the image cannot be read."""

    def __init__(self, labelled: Labelled, views: Views, seed: int, data: WorkerData) -> None:
        self._labelled = labelled
        self._views = views
        self._seed = seed
        self._scale = data.scale
        self._flip = 0.5 if data.flip else 0.0

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, int, list[Tensor]] | str:
        draw, position = key
        try:
            image = load_sample(self._labelled.dataset, position).image
        except XkdError as error:  # as a value: a worker would send its traceback
            return str(error)
        # The transforms would draw from torch's own generator.
        with OwnDraws(derive_seed(self._seed, draw, position)):
            return self._labelled.labels[position], position, self._cut(image)

    def _cut(self, image: Image.Image) -> list[Tensor]:
        """One box and one flip of a photograph, at the size of each view: (3, H_i, W_i) uint8."""
        from torchvision.transforms import InterpolationMode, v2

        box = v2.RandomResizedCrop(self._views.geometries[0].size, self._scale).make_params([image])
        mirrored = bool(torch.rand(1) < self._flip)
        pixels = []
        for view in self._views.geometries:
            interpolation = InterpolationMode(view.interpolation)
            cut = v2.functional.resized_crop(image, **box, size=list(view.size), interpolation=interpolation)
            pixels.append(v2.functional.pil_to_tensor(v2.functional.horizontal_flip(cut) if mirrored else cut))
        return pixels


def _collate(items: list[tuple[int, int, list[Tensor]] | str]) -> list[Tensor] | str:
    """Labels, positions, and the pixels of each view."""
    for item in items:
        if isinstance(item, str):
            return item
    labels, positions, pixels = zip(*items, strict=True)
    return [torch.tensor(labels), torch.tensor(positions), *map(torch.stack, zip(*pixels, strict=True))]
