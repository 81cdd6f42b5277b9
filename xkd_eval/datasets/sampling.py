"""A seeded, label-stratified sample, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from xkd_eval.datasets.base import ImageDataset, Label, Subset
from xkd_eval.errors import XkdError


def limit(dataset: ImageDataset, n: int, seed: int = 0) -> ImageDataset:
    """At most `n` images, each label with its share (largest remainders), in the set's own order.

    Every label keeps an image while `n` is at least the number of labels. Which images stand for a label depends on
    their ids and the seed alone: a hash orders them, so a larger sample mostly contains a smaller one.

    Args:
        dataset: images without labels count as one label.
        n: at least 1; a set that is not larger comes back as it is.
        seed: of the hash.

    Raises:
        XkdError: `n` below 1.
    """
    if n < 1:
        raise XkdError(f"limit: {n} images leave nothing to evaluate; give at least 1")
    if n >= len(dataset):
        return dataset
    strata: dict[Label, list[int]] = defaultdict(list)
    for position, label in enumerate(dataset.labels):
        strata[label].append(position)
    labels = sorted(strata, key=lambda label: _rank(seed, f"label {label!r}"))
    seats = _seats([len(strata[label]) for label in labels], n)
    chosen: list[int] = []
    for label, count in zip(labels, seats, strict=True):
        chosen += sorted(strata[label], key=lambda position: _rank(seed, dataset.ids[position]))[:count]
    return Subset(dataset, sorted(chosen))


def shuffled(dataset: ImageDataset, seed: int = 0) -> list[int]:
    """The positions of all images in a random order, which depends on their ids and the seed alone.

    Args:
        dataset: of unique ids.
        seed: of the hash.
    """
    return sorted(range(len(dataset)), key=lambda position: _rank(seed, dataset.ids[position]))


def _seats(sizes: list[int], n: int) -> list[int]:
    """`n` seats by largest remainders; then, if there are enough, one for each stratum that came away empty."""
    quotas = [divmod(n * size, sum(sizes)) for size in sizes]
    seats = [whole for whole, _ in quotas]
    # Python's sort is stable: equal remainders go by the order of the strata, which the seed has shuffled.
    by_remainder = sorted(range(len(sizes)), key=lambda index: -quotas[index][1])
    for index in by_remainder[: n - sum(seats)]:
        seats[index] += 1
    if n >= len(sizes):
        while 0 in seats:
            seats[seats.index(max(seats))] -= 1
            seats[seats.index(0)] += 1
    return seats


def _rank(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode()).digest()
