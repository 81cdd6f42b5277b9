"""The stream of decoded images: in this process, or by workers, in order either way."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from xkd_eval.datasets.base import ImageDataset, Sample, hash_of
from xkd_eval.datasets.grids import Grids, hash_of_tiles, tiled
from xkd_eval.datasets.samples import hash_of_stored, load_sample, tight_boxes
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reading

# Neighbours in a set share a Parquet row group or a shard, so a worker takes a run of them.
_RUN = 16
_SECONDS_AFTER_SIGTERM = 5
# SIGHUP is not everywhere.
_SIGNALS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


@dataclass(frozen=True)
class Item:
    """One image, ready for the network.

    Attributes:
        position: in the data set.
        id: the image's.
        views: one a Preprocess that was asked for, (3, H, W) uint8 RGB at its input size; of Grids side by
            side. Of images of other channels see `Preprocess.pixels`.
        mask: (h, w) int8 at the asked size: 1 object, 0 background, -1 ignored; None where the set has none.
        size: (height, width) of the decoded image, of Grids the first.
        content_hash: see `datasets.base.content_hash`.
        boxes: (n, 4) int64, see `Sample.boxes`; None where the set has none.
        mask_box: (1, 4) int64, the tight box of the mask's object at the image's own size, (0, 4) where there is no
            object; None where there is no mask.
    """

    position: int
    id: str
    views: tuple[Tensor, ...]
    mask: Tensor | None
    size: tuple[int, int]
    content_hash: str
    boxes: Tensor | None = None
    mask_box: Tensor | None = None

    @property
    def pixels(self) -> Tensor:
        """(C, H, W): the view of the first Preprocess that was asked for."""
        return self.views[0]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be decoded, and why.

    Attributes:
        position: in the data set.
        id: the image's.
        reason: in one line.
        content_hash: of what could not be decoded; None where it could not even be read.
    """

    position: int
    id: str
    reason: str
    content_hash: str | None = None


def stream(
    dataset: ImageDataset,
    positions: Sequence[int],
    *preprocess: Preprocess,
    mask_size: tuple[int, int] | None = None,
    workers: int = 0,
    ahead: int = 0,
    strict: bool = False,
) -> Iterator[Item | Skipped]:
    """Decode the images at `positions`, in that order, each once.

    Args:
        dataset: picklable.
        positions: into the data set.
        preprocess: of one classifier or several; the `pixels` of each is applied where the image is decoded.
        mask_size: (height, width) of the masks, reached by PIL's nearest; None leaves masks out.
        workers: processes that decode; 0 decodes in this one.
        ahead: images that the workers have ready, at least; two runs of 16 each, if that is more.
        strict: raise for an image that cannot be decoded, instead of yielding Skipped.

    Raises:
        UnreadableImageError: with `strict`.
        XkdError: a worker died, the data set fails in another way than by UnreadableImageError, or an image has other
            channels than a network takes.
    """
    decoded = _Decoded(dataset, positions, preprocess, mask_size)
    for entry in decoded if workers == 0 or not len(decoded) else _from_workers(decoded, workers, ahead):
        if isinstance(entry, _Failure):
            raise XkdError(entry.message)
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
    content_hash: str
    boxes: np.ndarray | None
    mask_box: np.ndarray | None

    def item(self) -> Item:
        mask, boxes, mask_box = map(_tensor, (self.mask, self.boxes, self.mask_box))
        views = tuple(map(torch.from_numpy, self.views))
        return Item(self.position, self.id, views, mask, self.size, self.content_hash, boxes, mask_box)


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker, which would send its traceback as the message."""

    message: str


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

    def __iter__(self) -> Iterator[_Arrays | Skipped | _Failure]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> _Arrays | Skipped | _Failure:
        position = int(self.positions[index])
        identifier = self.dataset.ids[position]
        try:
            return self._arrays(position, identifier)
        except UnreadableImageError as error:
            return self._skipped(position, identifier, error)
        except XkdError as error:
            return _Failure(str(error))

    def _skipped(self, position: int, identifier: str, error: UnreadableImageError) -> Skipped | _Failure:
        reason = str(error).removeprefix(f"{identifier}: ")
        try:
            return Skipped(position, identifier, reason, hash_of_stored(self.dataset, position))
        except XkdError as failure:
            return _Failure(str(failure))

    def _arrays(self, position: int, identifier: str) -> _Arrays:
        samples = self._samples(position)
        views = self._views(samples, identifier)
        hashes = [hash_of(sample) for sample in samples]
        found = hash_of_tiles(hashes) if isinstance(self.dataset, Grids) else hashes[0]
        first = samples[0]
        size = (first.image.height, first.image.width)
        mask = self._resized(first.mask)
        mask_box = None if mask is None or first.mask is None else tight_boxes(first.mask)
        boxes = first.boxes if self.dataset.has_boxes else None
        return _Arrays(position, identifier, views, mask, size, found, boxes, mask_box)

    def _samples(self, position: int) -> list[Sample]:
        """The photograph, or those of a grid."""
        if isinstance(self.dataset, Grids):
            return [load_sample(self.dataset.dataset, place) for place in self.dataset.tiles[position]]
        return [load_sample(self.dataset, position)]

    def _views(self, samples: Sequence[Sample], identifier: str) -> tuple[np.ndarray, ...]:
        what = f"{identifier}: {_sizes(samples)} pixels that cannot be resized"
        try:
            with reading(what, "expected a photo", UnreadableImageError):
                return tuple(self._view(samples, preprocess).numpy() for preprocess in self.preprocess)
        except UnreadableImageError:
            raise
        except XkdError as error:  # the set is not for the network: no image to be skipped
            raise XkdError(f"data: {identifier}: {error}") from None

    def _view(self, samples: Sequence[Sample], preprocess: Preprocess) -> Tensor:
        views = [preprocess.pixels(sample.image) for sample in samples]
        return tiled(views, self.dataset.side) if isinstance(self.dataset, Grids) else views[0]

    def _resized(self, mask: np.ndarray | None) -> np.ndarray | None:
        if mask is None or self.mask_size is None:
            return None
        height, width = self.mask_size
        image = Image.fromarray(mask.view(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        return np.array(image).view(np.int8)


def _sizes(samples: Sequence[Sample]) -> str:
    return ", ".join(f"{sample.image.width}x{sample.image.height}" for sample in samples)


def leave_signals_to_parent(worker: int) -> None:
    """`worker_init_fn` of a DataLoader, or a pool's initialiser: signals to all processes are met by their parent.

    Ctrl-C and a hangup pass the worker by. SIGTERM leaves it a few seconds for a batch that is waited for; it exits
    well then, as the death of a worker would raise an error in its parent, which may be saving.
    """
    for number in _SIGNALS - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, _exit_well)
        signal.signal(signal.SIGTERM, _exit_soon)


@contextmanager
def starting_workers() -> Iterator[None]:
    """While processes are started that `leave_signals_to_parent`.

    A signal waits until all are there: what its handler raised within a fork would be lost, or leave some without a
    parent. torch warns of more workers than cores; whoever asked for them knows.
    """
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    # Blocking them would not do: any other thread would take them.
    met = [number for number in _SIGNALS if is_main and signal.getsignal(number) is not None]
    former = {number: signal.signal(number, lambda number, _: came.append(number)) for number in met}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")
            yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _exit_soon(number: int, frame: FrameType | None) -> None:
    signal.alarm(_SECONDS_AFTER_SIGTERM)


def _exit_well(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _from_workers(decoded: _Decoded, workers: int, ahead: int) -> Iterator[_Arrays | Skipped | _Failure]:
    workers = min(workers, -(-len(decoded) // _RUN))  # more would find nothing to do
    with starting_workers(), reading(f"workers: {workers} cannot be started", "try fewer, or 0"):
        started = iter(
            DataLoader(
                decoded,
                batch_size=_RUN,
                collate_fn=list,
                num_workers=workers,
                prefetch_factor=max(2, -(-ahead // (_RUN * workers))),
                worker_init_fn=leave_signals_to_parent,
                generator=torch.Generator(),  # of its workers' seeds, which it would draw from the caller's
            )
        )
    try:
        for run in started:
            yield from run
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise XkdError(f"workers {workers}: a worker died ({error}); try fewer, or 0") from error
