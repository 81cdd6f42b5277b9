"""The stream: each photograph is read once, classified once a model, explained once a model and explainer, and scored
by every cell that wants it. Cells that are not finished are continued where they stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.loader import Item, Skipped, stream
from xkd_eval.devices import process_state
from xkd_eval.engines.network import Network
from xkd_eval.evaluations.base import Batch, Columns
from xkd_eval.explainers.base import Context
from xkd_eval.explainers.stored import StoredMaps, map_path, save_maps
from xkd_eval.study.cells import Cell, Maps, needs_labels
from xkd_eval.study.directory import PartWriter, RunDirectory, RunInMemory, concatenated, to_table
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.turns import turns

MASK_SIZE = (224, 224)

UNLABELLED = "no label among the model's classes"

Progress = Callable[[str, int, int], None]
"""Called with what is under way, the rows that are done and the rows in all (one an image and cell)."""


@dataclass(eq=False)
class CellRun:
    """A cell with the run that keeps its rows.

    Attributes:
        cell: what is scored.
        store: keeps the rows.
        done: positions that the store held before.
        images_per_second: of this sitting; None where nothing was left to score.
    """

    cell: Cell
    store: RunDirectory | RunInMemory
    done: set[int]
    images_per_second: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every image has its row."""
        return len(self.done) == len(self.cell.dataset)


@dataclass(frozen=True, eq=False)
class KeptMaps:
    """Maps that are written as they are made.

    Attributes:
        maps: whose.
        dataset: of which images.
        folder: one .npy an image id, see `save_maps`.
        fresh: positions whose file is written anew, whatever is there.
    """

    maps: Maps
    dataset: ImageDataset
    folder: Path
    fresh: frozenset[int] = frozenset()

    def missing(self) -> set[int]:
        """Positions that have no file yet, or a fresh one to come."""
        ids = enumerate(self.dataset.ids)
        return {place for place, name in ids if place in self.fresh or not map_path(self.folder, name).is_file()}


def run_cells(
    runs: Sequence[CellRun], kept: Sequence[KeptMaps], inputs: StudyInputs, progress: Progress | None = None
) -> None:
    """Score what the runs do not hold yet, and write the maps that are kept.

    Models that do not fit into memory together are taken in turns; a crossing waits for the turn that has both, or for
    the maps that an earlier turn kept.

    Args:
        runs: cells with their stores.
        kept: maps to be written.
        inputs: models and options.
        progress: told after every batch.

    Raises:
        XkdError: an unreadable image under `strict`, logits that are not finite, a full disk.
    """
    state = process_state(inputs.options.device)
    device = state.device if inputs.options.device == "auto" else torch.device(inputs.options.device)
    waiting = [run for run in runs if not run.is_finished]
    missing = {job: places for job in kept if (places := job.missing())}
    total = sum(len(run.cell.dataset) for run in runs)
    report = _Report(progress, sum(len(run.done) for run in runs), total, state.num_processes)
    there = [job.maps for job in kept if job not in missing]
    for labels, now, writing in turns(waiting, list(missing), there, inputs, device):
        networks = {
            label: Network(inputs.classifiers[label], inputs.preprocess(label), device, inputs.options.precision)
            for label in labels
        }
        for dataset in _distinct([run.cell.dataset for run in now] + [job.dataset for job in writing]):
            here = [run for run in now if run.cell.dataset is dataset]
            jobs = {job: missing[job] for job in writing if job.dataset is dataset}
            report.doing(_title(here, labels))
            _Sitting(dataset, here, jobs, kept, networks, inputs, state, device).run(report)
        state.wait_for_everyone()


class _Report:
    """Rows done so far, over all turns."""

    def __init__(self, progress: Progress | None, done: int, total: int, processes: int) -> None:
        self._progress = progress
        self._done, self._total, self._processes = done, total, processes
        self._what = ""

    def doing(self, what: str) -> None:
        self._what = what
        self.add(0)

    def add(self, rows: int) -> None:
        self._done = min(self._done + rows * self._processes, self._total)
        if self._progress is not None:
            self._progress(self._what, self._done, self._total)


class _Sitting:
    """One pass over one data set, for the cells of one turn."""

    def __init__(
        self,
        dataset: ImageDataset,
        runs: Sequence[CellRun],
        jobs: Mapping[KeptMaps, set[int]],
        kept: Sequence[KeptMaps],
        networks: Mapping[str, Network],
        inputs: StudyInputs,
        state: Any,
        device: torch.device,
    ) -> None:
        self.dataset, self.runs, self.jobs, self.networks, self.inputs = dataset, runs, jobs, networks, inputs
        self.device = device
        self.stored = {job.maps: job for job in kept if job.dataset is dataset}
        # Each colour convention of one geometry shares its pixels.
        self.geometries = _distinct([_geometry(network.preprocess) for network in networks.values()])
        # Shared out by position and not by what is left: another process may have written a part since.
        mine = range(state.process_index, len(dataset), state.num_processes)
        self.todo = {run: set(mine) - run.done for run in runs}
        self.writing = {job: places & set(mine) for job, places in jobs.items()}

    def run(self, report: _Report) -> None:
        options = self.inputs.options
        positions = sorted(set().union(*self.todo.values(), *self.writing.values()))
        items = stream(
            self.dataset,
            positions,
            *self.geometries,
            mask_size=MASK_SIZE if self.dataset.has_masks else None,
            workers=options.workers_for(len(self.dataset)),
            strict=options.strict,
        )
        start, scored = time.perf_counter(), dict.fromkeys(self.runs, 0)
        with ExitStack() as stack:
            writers = {run: stack.enter_context(PartWriter(run.store.write_part)) for run in self.runs}
            for entries in _batched(items, options.batch_size):
                photographs = _Photographs(self, entries)
                for job, places in self.writing.items():
                    photographs.keep(job, places)
                for run in self.runs:
                    rows = photographs.rows(run)
                    if rows is not None:
                        writers[run].add(rows)
                        scored[run] += rows.num_rows
                        report.add(rows.num_rows)
        elapsed = time.perf_counter() - start
        for run, count in scored.items():
            run.images_per_second = count * process_state(options.device).num_processes / elapsed if count else None

    def label_of(self, model: str, position: int, required: bool) -> int | None:
        """The class index of an image among a model's classes."""
        return self.inputs.labels(self.dataset, model, required=required)[position]


@dataclass(frozen=True)
class _Seen:
    """Some photographs of a batch, as one model sees and answers them; places are into the batch."""

    places: list[int]
    pixels: Tensor
    images: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor | None

    def at(self, places: list[int]) -> _Seen:
        if places == self.places:
            return self
        rows = _rows_of(self.places, places)
        return _Seen(
            places,
            self.pixels[rows],
            self.images[rows],
            self.labels[rows],
            self.logits[rows],
            None if self.features is None else self.features[rows],
        )


class _Photographs:
    """What is known of one batch of photographs; each fact is found once, for all cells that want it."""

    def __init__(self, sitting: _Sitting, entries: Sequence[Item | Skipped]) -> None:
        self._sitting, self._entries = sitting, entries
        self._seen: dict[str, _Seen] = {}
        self._maps: dict[tuple[Maps, tuple[int, int] | None], tuple[list[int], Tensor]] = {}
        self._wanted: dict[CellRun, list[int]] = {run: self._places(run) for run in sitting.runs}
        self._kept = {job: self._positions(places) for job, places in sitting.writing.items()}

    def rows(self, run: CellRun) -> pa.Table | None:
        """The rows of one cell, skipped photographs included; None where it wants none of them."""
        due = [entry for entry in self._entries if entry.position in self._sitting.todo[run]]
        if not due:
            return None
        skipped = [found for entry in due if (found := self._skipped(run, entry)) is not None]
        places = self._wanted[run]
        tables = [self._scored(run.cell, places)] if places else []
        if skipped:
            tables.append(_skipped_table(skipped))
        return concatenated(tables)

    def keep(self, job: KeptMaps, positions: set[int]) -> None:
        """Write the maps of those photographs that are among the positions."""
        places = self._kept[job]
        if places:
            maps = self._map(job.maps, None, places)
            save_maps(job.folder, [self._entries[place].id for place in places], maps)

    def _scored(self, cell: Cell, places: list[int]) -> pa.Table:
        batch = self._batch(cell, cell.model, cell.maps, places)
        if cell.test.needs_reference:
            reference = self._batch(cell, self._sitting.inputs.reference, cell.reference, places)
            batch = replace(batch, reference=reference)
        columns: Columns = {
            "label": batch.labels.cpu().numpy(),
            "predicted": batch.logits.argmax(1).cpu().numpy(),
            "probability": batch.logits.softmax(1).amax(1).cpu().numpy(),
            "target": batch.target.cpu().numpy(),
        }
        if batch.reference is not None:
            columns["reference_hit"] = (batch.reference.logits.argmax(1) == batch.reference.labels).cpu().numpy()
        with torch.inference_mode():
            columns.update(cell.test.rows(batch))
        items = [self._entries[place] for place in places]
        identity = {
            "position": pa.array([item.position for item in items]),
            "id": pa.array([item.id for item in items]),
            "skipped": pa.nulls(len(items), pa.string()),
        }
        table = to_table(columns)
        return pa.table({**identity, **{name: table[name] for name in table.column_names}})

    def _batch(self, cell: Cell, model: str, maps: Maps | None, places: list[int]) -> Batch:
        network = self._sitting.networks[model]
        seen = self._answers(model).at(places)
        target = cell.test.protocol.target
        if model != cell.model and target == "reference":
            target = "predicted"
        size = cell.test.scored_size(network.preprocess)
        return Batch(
            ids=tuple(self._entries[place].id for place in places),
            pixels=seen.pixels,
            images=seen.images,
            logits=seen.logits,
            target=self._classes(model, target, places),
            labels=seen.labels,
            maps=None if maps is None else self._map(maps, size, places),
            masks=self._masks(places),
            preprocess=network.preprocess,
            network=network,
            explainer=None if maps is None else maps.explainer,
        )

    def _answers(self, model: str) -> _Seen:
        """The one clean pass of a model over the photographs that any cell wants of it."""
        if model not in self._seen:
            runs = [places for run, places in self._wanted.items() if model in self._models(run.cell)]
            jobs = [places for job, places in self._kept.items() if model in self._explained(job.maps)]
            self._seen[model] = self._classified(model, sorted(set().union(*runs, *jobs)))
        return self._seen[model]

    def _classified(self, model: str, places: list[int]) -> _Seen:
        sitting, network = self._sitting, self._sitting.networks[model]
        items = self._items(places)
        view = sitting.geometries.index(_geometry(network.preprocess))
        pixels = torch.stack([item.views[view] for item in items]).to(sitting.device)
        known = [sitting.label_of(model, item.position, required=False) for item in items]
        labels = torch.tensor([-1 if label is None else label for label in known]).to(sitting.device)
        images = network.preprocess.normalise(pixels)
        logits, features = network.clean(images, [item.id for item in items])
        return _Seen(places, pixels, images, labels, logits, features)

    def _classes(self, model: str, target: str, places: list[int]) -> Tensor:
        """(n,) the class that is explained."""
        if target == "reference":
            model = self._sitting.inputs.reference
        seen = self._answers(model).at(places)
        return seen.labels if target == "true" else seen.logits.argmax(1)

    def _map(self, maps: Maps, size: tuple[int, int] | None, places: list[int]) -> Tensor:
        """(n, h, w) raw maps, each made once: all that any cell wants are made together."""
        # Only maps that are brought to the size at which they are scored differ from test to test.
        key = (maps, size if maps.explainer.reads_size else None)
        if key not in self._maps:
            runs = [found for run, found in self._wanted.items() if maps in run.cell.sources]
            jobs = [found for job, found in self._kept.items() if job.maps == maps]
            wanted = sorted(set().union(*runs, *jobs))
            self._maps[key] = (wanted, self._explained_or_stored(maps, key[1], wanted))
        made, values = self._maps[key]
        return values if made == places else values[_rows_of(made, places)]

    def _explained_or_stored(self, maps: Maps, size: tuple[int, int] | None, places: list[int]) -> Tensor:
        sitting, ids = self._sitting, [self._entries[place].id for place in places]
        job = sitting.stored.get(maps)
        due = sitting.writing.get(job, set()) if job is not None else set()
        if job is not None and not any(self._entries[place].position in due for place in places):
            files = [map_path(job.folder, name) for name in ids]
            if all(file.is_file() for file in files):  # an earlier sitting or turn left them
                stored = StoredMaps(job.folder)
                return torch.stack([torch.from_numpy(stored.load(name)) for name in ids]).to(sitting.device)
        model = next(iter(self._explained(maps)))
        network, seen = sitting.networks[model], self._answers(model).at(places)
        context = Context(tuple(ids), seen.features, self._masks(places), size)
        classes = self._classes(model, maps.target, places)
        return network.explain(maps.explainer, seen.images, classes, ids, context=context)

    def _explained(self, maps: Maps) -> tuple[str, ...]:
        """The model that maps are made with, and the reference where its answers say which class."""
        sitting = self._sitting
        model = maps.model
        if model not in sitting.networks and maps.explainer.model_free:
            model = sitting.inputs.alike(model, list(sitting.networks))
        return (model, sitting.inputs.reference) if maps.target == "reference" else (model,)

    def _models(self, cell: Cell) -> set[str]:
        """Every model that answers for a cell."""
        reference = [self._sitting.inputs.reference] if cell.asks_reference else []
        return {cell.model, *reference, *(model for maps in cell.sources for model in self._explained(maps))}

    def _places(self, run: CellRun) -> list[int]:
        todo = self._sitting.todo[run]
        return [
            place
            for place, entry in enumerate(self._entries)
            if entry.position in todo and self._skipped(run, entry) is None
        ]

    def _positions(self, positions: set[int]) -> list[int]:
        return [
            place
            for place, entry in enumerate(self._entries)
            if isinstance(entry, Item) and entry.position in positions
        ]

    def _skipped(self, run: CellRun, entry: Item | Skipped) -> Skipped | None:
        """Why a cell has no score of a photograph: not readable, or no label where one is needed."""
        if isinstance(entry, Skipped):
            return entry
        cell = run.cell
        asked = [cell.model] if needs_labels(cell) else []
        asked += [maps.model for maps in cell.sources if maps.target == "true"]
        if any(self._sitting.label_of(model, entry.position, required=True) is None for model in asked):
            return Skipped(entry.position, entry.id, UNLABELLED)
        return None

    def _items(self, places: list[int]) -> list[Item]:
        return [entry for place in places if isinstance(entry := self._entries[place], Item)]

    def _masks(self, places: list[int]) -> Tensor | None:
        masks = [item.mask for item in self._items(places) if item.mask is not None]
        return torch.stack(masks).to(self._sitting.device) if masks else None


def _rows_of(places: list[int], chosen: list[int]) -> list[int]:
    row = {place: number for number, place in enumerate(places)}
    return [row[place] for place in chosen]


def _geometry(preprocess: Preprocess) -> Preprocess:
    """What decides the pixels alone: the same for every mean, deviation, channel order and range."""
    neutral = Preprocess()
    return replace(
        preprocess,
        mean=neutral.mean,
        std=neutral.std,
        channel_order=neutral.channel_order,
        value_range=neutral.value_range,
    )


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _title(runs: Sequence[CellRun], labels: Sequence[str]) -> str:
    tests = _distinct([run.cell.test.name for run in runs])
    if len(runs) == 1:
        return tests[0]
    return f"{', '.join(tests) or 'maps'} of {', '.join(labels)}"


def _skipped_table(skipped: Sequence[Skipped]) -> pa.Table:
    return pa.table(
        {
            "position": pa.array([item.position for item in skipped]),
            "id": pa.array([item.id for item in skipped]),
            "skipped": pa.array([item.reason for item in skipped], type=pa.string()),
        }
    )


def _batched(items: Iterable[Item | Skipped], size: int) -> Iterator[list[Item | Skipped]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
