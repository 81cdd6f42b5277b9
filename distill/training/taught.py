"""A training's batches by their place, each with what the teachers make of it; made once for all students in step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from distill.data.batches import LabelledBatch
from distill.methods import Pass

_T = TypeVar("_T")


class Consecutive(Generic[_T]):
    """What the steps of a training are given, by their place, made one after the other.

    Args:
        start: of an epoch (from 0), from a step on.
    """

    def __init__(self, start: Callable[[int, int], Iterator[_T]]) -> None:
        self._start = start
        self._place: tuple[int, int] | None = None
        self._latest: _T | None = None
        self._following: Iterator[_T] = iter(())

    def at(self, epoch: int, step: int) -> _T:
        """What a step is given; the latest is given again, and what is not the next is started anew."""
        if self._place != (epoch, step):
            if self._place != (epoch, step - 1):
                self._following = self._start(epoch, step)
            # Before the next is made: the two need not be held at once, and after a failure nothing follows.
            self._latest = self._place = None
            self._latest, self._place = next(self._following), (epoch, step)
        assert self._latest is not None
        return self._latest


class TaughtBatch:
    """A step's batch in micro-batches, and what the teachers make of each.

    Args:
        parts: micro-batches.
        teach: what the teachers make of one.
        shared: keep that, since several students take it.
        seconds: that the batch took.
    """

    def __init__(
        self,
        parts: Sequence[LabelledBatch],
        teach: Callable[[LabelledBatch], tuple[Pass, ...]],
        shared: bool,
        seconds: float,
    ) -> None:
        self._parts = parts
        self._teach = teach
        self._kept: list[tuple[Pass, ...]] | None = [] if shared else None
        self._seconds = seconds
        self._is_taken = False

    def take(self) -> float:
        """Told by each student before its step: the seconds that have gone into it in the turns of others."""
        spent, self._is_taken = self._seconds if self._is_taken else 0.0, True
        return spent

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[tuple[LabelledBatch, tuple[Pass, ...]]]:
        """Micro-batches with the teachers' passes, each asked for when its turn comes."""
        for number, part in enumerate(self._parts):
            if self._kept is None:
                yield part, self._teach(part)
                continue
            if number == len(self._kept):
                began = time.monotonic()
                self._kept.append(self._teach(part))
                self._seconds += time.monotonic() - began
            yield part, self._kept[number]
