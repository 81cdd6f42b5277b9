"""What a stream has to do: cells whose rows are wanted, and maps that are to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xkd_eval.datasets import ImageDataset
from xkd_eval.explainers.stored import map_path
from xkd_eval.study.cells import Cell, MapSource
from xkd_eval.study.directory import RunDirectory, RunInMemory


@dataclass(eq=False)
class CellRun:
    """A cell with the run that keeps its rows.

    Attributes:
        cell: what is scored.
        store: keeps the rows.
        done: positions that the store held before, with the content hash of the image that was scored.
        scored, seconds: how many images this sitting scored, and in which time.
        ended_after: how many images had come when its test ended; 0 before.
        chunks: the fewest images a forward that the memory sufficed for, of any network that was asked; None where it
            did for those planned.
    """

    cell: Cell
    store: RunDirectory | RunInMemory
    done: dict[int, str | None]
    scored: int = 0
    seconds: float = 0.0
    ended_after: int = 0
    chunks: Mapping[str, int] | None = None

    @property
    def images_per_second(self) -> float | None:
        """Of this sitting; None where nothing was left to score."""
        return self.scored / self.seconds if self.scored else None


@dataclass(frozen=True, eq=False)
class KeptMaps:
    """Maps that are written as they are made.

    Attributes:
        source: of the maps.
        dataset: of which images.
        folder: one .npy an image id, see `save_maps`.
        fresh: positions whose file is written anew, whatever is there.
    """

    source: MapSource
    dataset: ImageDataset
    folder: Path
    fresh: frozenset[int] = frozenset()

    @property
    def are_read(self) -> bool:
        """Whether the maps, once written, are scored: not where they depend on the size at which they are."""
        return not self.source.explainer.reads_size

    def is_scored_by(self, cell: Cell) -> bool:
        """Whether a cell scores the maps of these images."""
        return self.source in cell.sources and cell.dataset is self.dataset

    def missing(self) -> set[int]:
        """Positions that have no file yet, or a fresh one to come."""
        ids = enumerate(self.dataset.ids)
        return {place for place, name in ids if place in self.fresh or not map_path(self.folder, name).is_file()}


def fewest(chunks: Mapping[str, int] | None, others: Mapping[str, int] | None) -> Mapping[str, int] | None:
    """The smaller of each number of images a forward; None where the memory sufficed for all that were planned."""
    if chunks is None or others is None:
        return others if chunks is None else chunks
    return {name: min(count, others[name]) for name, count in chunks.items()}
