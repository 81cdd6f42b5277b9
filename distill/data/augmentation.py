"""Random crops and flips of a batch on its device, drawn for a whole epoch ahead.

What is drawn depends on the seed and the epoch alone, or on the round of a fixed list: not on the device, the number of
processes, or where in an epoch a run was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_EPOCH_BITS = 31  # of a recipe's longest training
_ROUNDS = "rounds"  # in place of a recipe's seed


@dataclass(frozen=True)
class EpochPlan:
    """The order of an epoch's images and what happens to each.

    Attributes:
        order: (N,) int64, places in the training set: each once, or drawn anew for each place.
        shifts: (N, 2) int64 in 0 ... 2 padding: top and left of the crop in the padded image, per place in the order.
        flips: (N,) bool, per place in the order.
        draws: (N,) int64, per place in the order: the number by which an image's own changes are drawn. It is the
            epoch and, in bits above it, how often the image came before in it; or the round of a fixed list.
    """

    order: Tensor
    shifts: Tensor
    flips: Tensor
    draws: Tensor

    def batch(self, places: slice) -> BatchPlan:
        """Of some places in the order."""
        return BatchPlan(self.order[places], self.shifts[places], self.flips[places], self.draws[places])

    def to(self, device: torch.device) -> EpochPlan:
        """A copy on that device, which is not waited for."""
        drawn = (self.order, self.shifts, self.flips, self.draws)
        return EpochPlan(*(values.to(device, non_blocking=True) for values in drawn))


class BatchPlan(NamedTuple):
    """What makes one batch of an epoch.

    Attributes:
        indices: (B,) int64, places in the training set.
        shifts: (B, 2) int64, see EpochPlan.
        flips: (B,) bool.
        draws: (B,) int64, see EpochPlan.
    """

    indices: Tensor
    shifts: Tensor
    flips: Tensor
    draws: Tensor


@dataclass(frozen=True)
class OwnChanges:
    """By what each image's own changes are drawn.

    With `rounds` that is a constant, the round, and the image's place among all training images, those included that
    are held out: the same for each seed and each part that is held out. Else it is the training's seed, a draw, and the
    image's place in its split.

    Attributes:
        seed: of the training.
        places: N places among all training images.
        n_all: how many these are.
        rounds: M, of a fixed list of augmentations, of which epoch e has that of number e mod M; None draws anew.
    """

    seed: int
    places: Sequence[int]
    n_all: int
    rounds: int | None = None

    def seed_of(self, draw: int, position: int, *purpose: str) -> int:
        """Of the generator of one image's changes: `position` is its place in its split."""
        if self.rounds is None:
            return derive_seed(self.seed, draw, position, *purpose)
        return derive_seed(_ROUNDS, draw, self.places[position], *purpose)


def plan_epoch(
    n_images: int,
    seed: int,
    epoch: int,
    padding: int,
    flip: bool,
    classes: Tensor | None = None,
    changes: OwnChanges | None = None,
) -> EpochPlan:
    """Draw an epoch's order, crops and flips, on the CPU.

    Args:
        n_images: N.
        seed: of the training.
        epoch: from 0.
        padding: pixels on each side of an image, in which its crop may lie.
        flip: mirror half of the images.
        classes: (N,) int64 on the CPU, each image's: draw every place anew, all classes that have images as often as
            each other; None takes each image once.
        changes: of the images; of a fixed list of rounds their crops and flips are, too; the order stays the epoch's.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
    order = torch.randperm(n_images, generator=generator) if classes is None else _balanced_order(classes, generator)
    if changes is not None and changes.rounds is not None:
        return _plan_round(order, epoch % changes.rounds, changes, padding, flip)
    shifts, flips = _shifts_and_flips(n_images, padding, flip, generator)
    times = torch.zeros_like(order) if classes is None else earlier_times(order)
    return EpochPlan(order, shifts, flips, epoch + (times << _EPOCH_BITS))


def plan_in_order(changes: OwnChanges, number: int, padding: int, flip: bool) -> EpochPlan:
    """Each image once and in order, as a round of a fixed list has it; arguments as for `plan_epoch`."""
    return _plan_round(torch.arange(len(changes.places)), number, changes, padding, flip)


def _plan_round(order: Tensor, number: int, changes: OwnChanges, padding: int, flip: bool) -> EpochPlan:
    generator = torch.Generator().manual_seed(derive_seed(_ROUNDS, number))
    places = torch.as_tensor(changes.places)[order]
    shifts, flips = _shifts_and_flips(changes.n_all, padding, flip, generator)
    return EpochPlan(order, shifts[places], flips[places], torch.full_like(order, number))


def _shifts_and_flips(count: int, padding: int, flip: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    shifts = torch.randint(2 * padding + 1, (count, 2), generator=generator)
    return shifts, torch.rand(count, generator=generator) < (0.5 if flip else 0.0)


def earlier_times(order: Tensor) -> Tensor:
    """(N,) -> (N,) int64: how often what stands at each place stands before it."""
    grouped, places = order.sort(stable=True)
    new = torch.ones_like(grouped, dtype=torch.bool)
    new[1:] = grouped[1:] != grouped[:-1]
    count = torch.arange(len(order))
    times = torch.empty_like(order)
    times[places] = count - count[new][new.cumsum(0) - 1]
    return times


def _balanced_order(classes: Tensor, generator: torch.Generator) -> Tensor:
    """A class for each place, then one of its images, both with equal chances and replacement."""
    sizes = classes.bincount()
    sizes = sizes[sizes > 0]
    firsts = sizes.cumsum(0) - sizes
    drawn = torch.randint(len(sizes), (len(classes),), generator=generator)
    members = torch.rand(len(classes), dtype=torch.float64, generator=generator) * sizes[drawn]
    return classes.argsort(stable=True)[firsts[drawn] + members.long()]


def scaled_crops(shifts: Tensor, padding: int, scale: tuple[float, float]) -> tuple[Tensor, tuple[int, int]]:
    """The crops of an image for the same image at another size.

    An offset of s pixels from the centre becomes round(s * scale) pixels, as does the padding.

    Args:
        shifts: (B, 2) int64, see EpochPlan.
        padding: pixels on each side.
        scale: height and width of the other size in those of the first.

    Returns:
        shifts (B, 2) int64 of the other size, and its padding above and beside.
    """
    paddings = round(padding * scale[0]), round(padding * scale[1])
    if scale == (1.0, 1.0):
        return shifts, paddings
    offsets = (shifts - padding).double().unbind(1)
    scaled = [(offset * by).round().long() + added for offset, by, added in zip(offsets, scale, paddings, strict=True)]
    return torch.stack(scaled, dim=1), paddings


def crop_and_flip(pixels: Tensor, shifts: Tensor, flips: Tensor, padding: tuple[int, int]) -> Tensor:
    """Pad with zeros, cut a window of the original size out of each image, mirror some.

    Args:
        pixels: (B, H, W, 3) uint8.
        shifts: (B, 2) int64, top and left of each window in the padded image.
        flips: (B,) bool.
        padding: pixels above and below, left and right.

    Returns:
        (B, 3, H, W) uint8 in channels-last memory.
    """
    _, height, width, _ = pixels.shape
    lines = shifts[:, :1] + torch.arange(height, device=pixels.device)
    columns = torch.arange(width, device=pixels.device).expand(len(pixels), -1)
    columns = shifts[:, 1:] + torch.where(flips[:, None], columns.flip(1), columns)
    above, beside = padding
    padded = F.pad(pixels, (0, 0, beside, beside, above, above))
    images = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return padded[images, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def derive_seed(*parts: int | str) -> int:
    """63 bits that differ wherever any part does."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
