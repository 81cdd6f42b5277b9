"""The stream of decoded images: in this process, or by workers, in order either way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.errors import UnreadableImageError, XkdError

# Neighbours in a set share a Parquet row group or a shard, so a worker takes a run of them.
_RUN = 16
_SECONDS_AFTER_SIGTERM = 5


@dataclass(frozen=True)
class Item:
    """One image, ready for the network.

    Attributes:
        position: in the data set.
        id: the image's.
        views: one a Preprocess that was asked for, (3, H, W) uint8 RGB at its input size.
        mask: (h, w) int8 at the asked size: 1 object, 0 background, -1 ignored; None where the set has none.
        size: (height, width) of the decoded image.
    """

    position: int
    id: str
    views: tuple[Tensor, ...]
    mask: Tensor | None
    size: tuple[int, int]

    @property
    def pixels(self) -> Tensor:
        """(3, H, W) uint8: the view of the first Preprocess that was asked for."""
        return self.views[0]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be decoded, and why."""

    position: int
    id: str
    reason: str


def stream(
    dataset: ImageDataset,
    positions: Sequence[int],
    *preprocess: Preprocess,
    mask_size: tuple[int, int] | None = None,
    workers: int = 0,
    prefetch: int = 2,
    strict: bool = False,
) -> Iterator[Item | Skipped]:
    """Decode the images at `positions`, in that order, each once.

    Args:
        dataset: picklable.
        positions: into the data set.
        preprocess: of one classifier or several; the `pixels` of each is applied where the image is decoded.
        mask_size: (height, width) of the masks, reached by PIL's nearest; None leaves masks out.
        workers: processes that decode; 0 decodes in this one.
        prefetch: runs of 16 images that each worker keeps ready.
        strict: raise for an image that cannot be decoded, instead of yielding Skipped.

    Raises:
        UnreadableImageError: with `strict`.
        XkdError: a worker died.
    """
    decoded = _Decoded(dataset, positions, preprocess, mask_size)
    for entry in decoded if workers == 0 else _from_workers(decoded, workers, prefetch):
        if isinstance(entry, Skipped) and strict:
            raise UnreadableImageError(f"strict: {entry.id}: {entry.reason}")
        yield entry if isinstance(entry, Skipped) else entry.item()


@dataclass(frozen=True)
class _Arrays:
    """An Item in NumPy: it goes through a worker's pipe whole, without a shared-memory file a tensor."""

    position: int
    id: str
    views: tuple[np.ndarray, ...]
    mask: np.ndarray | None
    size: tuple[int, int]

    def item(self) -> Item:
        mask = None if self.mask is None else torch.from_numpy(self.mask)
        return Item(self.position, self.id, tuple(map(torch.from_numpy, self.views)), mask, self.size)


class _Decoded(TorchDataset[Any]):
    def __init__(
        self,
        dataset: ImageDataset,
        positions: Sequence[int],
        preprocess: Sequence[Preprocess],
        mask_size: tuple[int, int] | None,
    ) -> None:
        self.dataset = dataset
        self.positions = np.asarray(positions, dtype=np.int64)
        self.preprocess = preprocess
        self.mask_size = mask_size

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[_Arrays | Skipped]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> _Arrays | Skipped:
        position = int(self.positions[index])
        identifier = self.dataset.ids[position]
        try:
            sample = self.dataset.load(position)
        except UnreadableImageError as error:
            return Skipped(position, identifier, str(error).removeprefix(f"{identifier}: "))
        views = tuple(preprocess.pixels(sample.image).numpy() for preprocess in self.preprocess)
        size = (sample.image.height, sample.image.width)
        return _Arrays(position, identifier, views, self._resized(sample.mask), size)

    def _resized(self, mask: np.ndarray | None) -> np.ndarray | None:
        if mask is None or self.mask_size is None:
            return None
        height, width = self.mask_size
        image = Image.fromarray(mask.view(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        return np.array(image).view(np.int8)


def leave_signals_to_parent(worker: int) -> None:
    """`worker_init_fn` of a DataLoader: a signal to the whole group of processes is met by the one that started it.

    Ctrl-C and a hangup pass the worker by. SIGTERM leaves it a few seconds for a batch that is waited for; it exits
    well then, as the death of a worker would raise an error in its parent, which may be saving.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, _exit_well)
        signal.signal(signal.SIGTERM, _exit_soon)


def _exit_soon(number: int, frame: FrameType | None) -> None:
    signal.alarm(_SECONDS_AFTER_SIGTERM)


def _exit_well(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _from_workers(decoded: _Decoded, workers: int, prefetch: int) -> Iterator[_Arrays | Skipped]:
    runs = DataLoader(
        decoded,
        batch_size=_RUN,
        collate_fn=list,
        num_workers=workers,
        prefetch_factor=prefetch,
        worker_init_fn=leave_signals_to_parent,
    )
    try:
        for run in runs:
            yield from run
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise XkdError(f"workers {workers}: a worker died ({error}); try fewer, or 0") from error
