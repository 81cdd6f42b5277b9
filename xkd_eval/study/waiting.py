"""Whether models wait for decoded images, and how many workers would keep them busy."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from xkd_eval.classifiers.told import LOG
from xkd_eval.launch import is_silent, own_cores
from xkd_eval.wording import counted

_T = TypeVar("_T")

# Of a pass that takes less, nothing that is said could spare anybody much.
_LEAST_SECONDS, _LEAST_IMAGES = 10.0, 256
_LEAST_SHARE = 0.25
_TICK = 1e-9


@dataclass(frozen=True)
class Pace:
    """What a pass over a data set took so far.

    Attributes:
        images: that were decoded.
        seconds: in which they were decoded, and the models ran.
        waited: those of the seconds in which the models had no images.
        workers: processes that decode; with 0 the models wait while their own does.
    """

    images: int
    seconds: float
    waited: float
    workers: int

    @property
    def is_starved(self) -> bool:
        """Whether the models wait so much that it is worth a word."""
        is_long = self.images >= _LEAST_IMAGES and self.seconds >= _LEAST_SECONDS
        return is_long and self.waited >= _LEAST_SHARE * self.seconds

    @property
    def decoded_per_second(self) -> float:
        """Images, of the seconds in which any are decoded: workers always do while models wait for them."""
        return self.images / (self.seconds if self.workers else self.waited)

    @property
    def workers_needed(self) -> int:
        """How many decode all images in the time in which the models alone run."""
        decoding = self.seconds * self.workers if self.workers else self.waited
        return math.ceil(decoding / max(self.seconds - self.waited, _TICK))

    def notice(self, processes: int, cores: int) -> str:
        """That the models wait, and what to do.

        Args:
            processes: that evaluate at this pace.
            cores: of each.
        """
        by = [f"by {counted(self.workers, 'worker')}"] if self.workers else []
        by += [f"in each of {processes} processes"] if processes > 1 else []
        decoding = f"decoding gives {processes * self.decoded_per_second:,.1f} images/s"
        waiting = f"the models wait {100 * self.waited / self.seconds:.0f} % of the time for them"
        return f"{decoding} {' '.join(by) or 'in this process'}, and {waiting}; {self._remedy(cores - 1)}"

    def _remedy(self, most: int) -> str:
        if self.workers_needed <= most:
            return f"`workers` {self.workers_needed} would keep them busy"
        if self.workers < most:
            return f"`workers` {most} would help, and there is no core for more"
        return (
            "there is no core for more workers; images of fewer pixels decode faster, and models and tests of one "
            "command share what is decoded"
        )


class Waiting:
    """Says that models wait for images: once a run, and as soon as it is sure, since a run that is stopped continues.

    Args:
        processes: that evaluate; the first one says it for all.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._is_said = is_silent()

    def watched(self, batches: Iterable[list[_T]], workers: int) -> Iterator[list[_T]]:
        """The batches of a pass as they come. The wait for the first one does not count: workers start in it.

        Args:
            batches: of decoded images.
            workers: processes that decode them.
        """
        images, waited, asked = 0, 0.0, 0.0
        began: float | None = None
        for batch in batches:
            came = time.monotonic()
            if began is None:
                began = came
            else:
                images, waited = images + len(batch), waited + came - asked
                self._look(Pace(images, came - began, waited, workers))
            yield batch
            asked = time.monotonic()

    def _look(self, pace: Pace) -> None:
        if pace.is_starved and not self._is_said:
            self._is_said = True
            LOG.warning("%s", pace.notice(self._processes, own_cores()))
