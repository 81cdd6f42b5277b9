"""How far the cells of a test have come, and whether more images are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xkd_eval.datasets.sampling import shuffled
from xkd_eval.devices import of_first_process
from xkd_eval.study.options import RunOptions
from xkd_eval.study.rows import Rows
from xkd_eval.study.stopping import Stopping, is_narrow, looks, stopping_of
from xkd_eval.study.tally import Tally
from xkd_eval.study.work import CellRun


class Course:
    """How far the cells of one test have come on one data set; they end together, on the same images.

    Args:
        runs: of the test on the data set.
        stopping: None scores all images.

    Attributes:
        runs: as given.
        order: positions, in the order in which the images come.
        is_over: whether no more images are wanted.
    """

    def __init__(self, runs: list[CellRun], stopping: Stopping | None) -> None:
        self.runs, self._stopping = runs, stopping
        dataset = runs[0].cell.dataset
        self.order = list(range(len(dataset))) if stopping is None else shuffled(dataset, stopping.seed)
        self._looks = [len(dataset)] if stopping is None else looks(len(dataset))
        # Where another study has come further with one of the cells, the others follow.
        place = {position: place for place, position in enumerate(self.order, start=1)}
        furthest = max((place[position] for run in runs for position in run.done), default=0)
        self._looks = [count for count in self._looks if count >= furthest]
        self._former = 0
        self.is_over = False

    @property
    def count(self) -> int:
        """How many images are wanted by now."""
        return self._looks[0]

    @property
    def wanted(self) -> list[int]:
        """The positions that have come since the last look."""
        return self.order[self._former : self.count]

    def look(self) -> None:
        """See whether it is enough; if not, more images are wanted."""
        for run in self.runs:
            run.ended_after = self.count
        # The first process decides for all: each would wait for the others as often as it has looks before it.
        if self._stopping is None or len(self._looks) == 1 or of_first_process(self._is_enough(self._stopping.until)):
            self.is_over = True
        else:
            self._former = self._looks.pop(0)

    def _is_enough(self, until: float) -> bool:
        return all(self._is_narrow(run, until) for run in self.runs)

    def _is_narrow(self, run: CellRun, until: float) -> bool:
        seen, rows = pa.array(self.order[: self.count]), run.store.read_rows()
        # Another process may be further already, and has come to the same end of this look.
        of_this_look = Rows(lambda: (part.filter(pc.is_in(part["position"], seen)) for part in rows.stream()))
        tally = Tally(of_this_look, run.cell.test)
        return bool(tally.scored) and is_narrow(run.cell.test, tally.summarise(), tally.scored, until)


def courses(runs: Iterable[CellRun], options: RunOptions) -> list[Course]:
    """One a test and data set."""
    groups: dict[tuple[Any, ...], list[CellRun]] = {}
    for run in runs:
        cell = run.cell
        groups.setdefault((cell.test.name, cell.test.protocol.hash, id(cell.dataset)), []).append(run)
    return [Course(group, stopping_of(group[0].cell.test, options)) for group in groups.values()]
