"""Photographs: what is known of one batch, each fact found once for all cells that want it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess, stacked
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.grids import Grids, side_of
from xkd_eval.datasets.loader import Item, Skipped
from xkd_eval.devices import sent
from xkd_eval.engines.network import Network
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.removal import own_probability
from xkd_eval.evaluations.returned import named
from xkd_eval.evaluations.scores import PHOTOGRAPH, Columns
from xkd_eval.explainers.base import Context
from xkd_eval.explainers.stored import StoredMaps, map_path, save_maps
from xkd_eval.study.cells import Cell, MapSource, needs_labels
from xkd_eval.study.geometry import at_size, geometry
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.parts import concatenated, identity_table, to_table
from xkd_eval.study.regions import masks_of, regions_of
from xkd_eval.study.seen import Seen, clean_once, held_classes, hits, rows_of
from xkd_eval.study.work import CellRun, KeptMaps

UNLABELLED = "no label among the model's classes"
UNBOXED = "no box of an object of its class"
UNSCORED = (UNLABELLED, UNBOXED)
"""Why an image that can be read has no score."""


@dataclass(frozen=True)
class Sitting:
    """A pass over one data set, to which batches belong.

    Attributes:
        dataset: of the photographs.
        inputs: models and options.
        networks: those that are in memory, by name.
        device: where they are.
        geometries: of the views that each photograph comes in; models that differ in colour convention alone share one.
        todo: cell -> positions that it wants.
        writing: kept maps -> positions to be written.
        stored: maps that are, or will be, on disk.
        columns: cell -> the columns that its first batch had.
    """

    dataset: ImageDataset
    inputs: StudyInputs
    networks: Mapping[str, Network]
    device: torch.device
    geometries: Sequence[Preprocess]
    todo: Mapping[CellRun, set[int]]
    writing: Mapping[KeptMaps, set[int]]
    stored: Mapping[MapSource, KeptMaps]
    columns: dict[CellRun, pa.Schema] = field(default_factory=dict)

    def label_of(self, model: str, position: int, *, required: bool) -> int | None:
        """The class index of an image among a model's classes."""
        return self.inputs.labels(self.dataset, model, required=required)[position]


class Photographs:
    """What is known of one batch of photographs; each fact is found once, for all cells that want it."""

    def __init__(self, sitting: Sitting, entries: Sequence[Item | Skipped]) -> None:
        self._sitting, self._entries = sitting, entries
        self._seen: dict[str, Seen] = {}
        self._maps: dict[tuple[MapSource, tuple[int, int] | None], tuple[list[int], Tensor]] = {}
        self._wanted: dict[CellRun, list[int]] = {run: self._places(run) for run in sitting.todo}
        self._kept = {job: self._positions(places) for job, places in sitting.writing.items()}

    def rows(self, run: CellRun) -> pa.Table | None:
        """The rows of one cell, skipped photographs included; None where it wants none of them."""
        due = [entry for entry in self._entries if entry.position in self._sitting.todo[run]]
        if not due:
            return None
        skipped = [found for entry in due if (found := self._skipped(run, entry)) is not None]
        places = self._wanted[run]
        tables = [self._scored(run, places)] if places else []
        if skipped:
            tables.append(_identity(skipped))
        return concatenated(tables)

    def keep(self, job: KeptMaps) -> None:
        """Write the maps that are due."""
        places = self._kept[job]
        if places:
            maps = self._map(job.source, None, places)
            save_maps(job.folder, [self._entries[place].id for place in places], maps)

    def _scored(self, run: CellRun, places: list[int]) -> pa.Table:
        cell = run.cell
        batch = self._batch(cell, cell.model, cell.source, places)
        if cell.test.needs_reference:
            reference = self._batch(cell, self._sitting.inputs.reference, cell.reference, places)
            batch = replace(batch, reference=reference)
        by_all = cell.test.protocol.probability == "softmax"
        columns: Columns = {
            "label": batch.labels.cpu().numpy(),
            "predicted": batch.logits.argmax(1).cpu().numpy(),
            "probability": (batch.logits.softmax(1) if by_all else own_probability(batch.logits)).amax(1).cpu().numpy(),
            "target": batch.target.cpu().numpy(),
        }
        if batch.held is not None:
            columns["label_found"] = hits(batch).cpu().numpy()
            columns[PHOTOGRAPH] = np.array(self._photographs(places))
        if batch.reference is not None:
            columns["reference_hit"] = hits(batch.reference).cpu().numpy()
        try:
            with torch.inference_mode():
                columns.update(cell.test.rows(batch))
        finally:  # a test may stumble over answers that are not finite: they are the cause
            for network in self._sitting.networks.values():
                network.check_answers(batch.ids)
        table = _identity([self._entries[place] for place in places])
        scores = to_table(columns)
        _check_columns(cell, scores.schema, self._sitting.columns.setdefault(run, scores.schema))
        for name in scores.column_names:
            table = table.append_column(name, scores[name])
        return table

    def _batch(self, cell: Cell, model: str, maps: MapSource | None, places: list[int]) -> Batch:
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
            held=self._held(model, places, seen.logits.shape[1]),
            preprocess=network.preprocess,
            network=network,
            explainer=None if maps is None else maps.explainer,
            features=seen.features,
            n_images=len(self._sitting.dataset),
            **regions_of(self._items(places)),
            tiles=self._tiles(model, places),
            tile_scale=self._tile_scale(model),
        )

    def _answers(self, model: str) -> Seen:
        """The one clean pass of a model over the photographs that any cell wants of it."""
        if model not in self._seen:
            runs = [places for run, places in self._wanted.items() if model in self._models(run.cell)]
            jobs = [places for job, places in self._kept.items() if model in self._explained(job.source)]
            self._seen[model] = self._classified(model, sorted(set().union(*runs, *jobs)))
        return self._seen[model]

    def _classified(self, model: str, places: list[int]) -> Seen:
        sitting, network = self._sitting, self._sitting.networks[model]
        items = self._items(places)
        view = sitting.geometries.index(geometry(sitting.inputs.preprocess(model)))
        views = [at_size(item.views[view], network.preprocess) for item in items]
        pixels = sent(stacked(views), sitting.device)
        known = [sitting.label_of(model, item.position, required=False) for item in items]
        labels = sent(torch.tensor([-1 if label is None else label for label in known]), sitting.device)
        images = network.preprocess.normalise(pixels)
        logits, features = clean_once(network, images, [item.id for item in items], self._photographs(places))
        return Seen(places, pixels, images, labels, logits, features)

    def _photographs(self, places: list[int]) -> list[int] | None:
        """Which photograph each image is, where photographs are images once a label."""
        sets = self._sitting.dataset.label_sets
        return None if sets is None else [sets.photographs[self._entries[place].position] for place in places]

    def _held(self, model: str, places: list[int], n_classes: int) -> Tensor | None:
        """(n, K) booleans: what each photograph holds, where it may be several classes."""
        held = self._sitting.inputs.held(self._sitting.dataset, model)
        if held is None:
            return None
        found = held_classes([held[self._entries[place].position] for place in places], n_classes)
        return sent(found, self._sitting.device)

    def _classes(self, model: str, target: str, places: list[int]) -> Tensor:
        """(n,) the class that is explained; of a grid the first tile's."""
        tiles = self._tiles(model, places)
        if tiles is not None:
            return tiles[:, 0]
        if target == "reference":
            model = self._sitting.inputs.reference
        seen = self._answers(model).at(places)
        return seen.labels if target == "true" else seen.logits.argmax(1)

    def _tiles(self, model: str, places: list[int]) -> Tensor | None:
        """(n, tiles) the classes of the tiles of grids, as the model calls them."""
        dataset = self._sitting.dataset
        if not isinstance(dataset, Grids):
            return None
        chosen = [self._entries[place].position for place in places]
        return sent(torch.from_numpy(dataset.classes_of[model][chosen]), self._sitting.device)

    def _tile_scale(self, model: str) -> float:
        alone = self._sitting.inputs.preprocess(model).size[0]
        return self._sitting.networks[model].preprocess.size[0] / (side_of(self._sitting.dataset) * alone)

    def _map(self, maps: MapSource, size: tuple[int, int] | None, places: list[int]) -> Tensor:
        """(n, h, w) raw maps, each made once: all that any cell wants are made together."""
        # Only maps that are brought to the size at which they are scored differ from test to test.
        key = (maps, size if maps.explainer.reads_size else None)
        if key not in self._maps:
            runs = [found for run, found in self._wanted.items() if maps in run.cell.sources]
            jobs = [found for job, found in self._kept.items() if job.source == maps]
            wanted = sorted(set().union(*runs, *jobs))
            self._maps[key] = (wanted, self._explained_or_stored(maps, key[1], wanted))
        made, values = self._maps[key]
        return values if made == places else values[rows_of(made, places)]

    def _explained_or_stored(self, maps: MapSource, size: tuple[int, int] | None, places: list[int]) -> Tensor:
        sitting, ids = self._sitting, [self._entries[place].id for place in places]
        job = sitting.stored.get(maps)
        due = sitting.writing.get(job, set()) if job is not None else set()
        if job is not None and not any(self._entries[place].position in due for place in places):
            files = [map_path(job.folder, name) for name in ids]
            if all(file.is_file() for file in files):  # an earlier sitting or turn left them
                stored = StoredMaps(job.folder)
                return sent(torch.stack([torch.from_numpy(stored.load(name)) for name in ids]), sitting.device)
        model = next(iter(self._explained(maps)))
        network, seen = sitting.networks[model], self._answers(model).at(places)
        context = Context(tuple(ids), seen.features, self._masks(places), size)
        classes = self._classes(model, maps.target, places)
        return network.explain(maps.explainer, seen.images, classes, ids, context=context)

    def _explained(self, maps: MapSource) -> tuple[str, ...]:
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
        """Why a cell has no score of a photograph: not readable, or no label or box where one is needed."""
        if isinstance(entry, Skipped):
            return entry
        cell = run.cell
        asked = [cell.model] if needs_labels(cell) else []
        asked += [maps.model for maps in cell.sources if maps.target == "true"]
        if any(self._sitting.label_of(model, entry.position, required=True) is None for model in asked):
            return Skipped(entry.position, entry.id, UNLABELLED, entry.content_hash)
        if cell.test.needs_boxes and (entry.boxes is None or not len(entry.boxes)):
            return Skipped(entry.position, entry.id, UNBOXED, entry.content_hash)
        return None

    def _items(self, places: list[int]) -> list[Item]:
        return [entry for place in places if isinstance(entry := self._entries[place], Item)]

    def _masks(self, places: list[int]) -> Tensor | None:
        return masks_of(self._items(places), self._sitting.device)


def _check_columns(cell: Cell, found: pa.Schema, first: pa.Schema) -> None:
    """Rows of one run have the same columns in all batches."""
    kinds, known = ({column.name: str(column.type) for column in schema} for schema in (found, first))
    for name in (*kinds, *known):
        if kinds.get(name) != known.get(name):
            before, now = known.get(name, "not there"), kinds.get(name, "not there")
            raise XkdError(
                f"{named(cell.test)}: its column {name!r} is {now}, and in an earlier batch it was {before}; expected "
                "the same columns of the same types for every batch"
            )


def _identity(entries: Sequence[Item | Skipped]) -> pa.Table:
    return identity_table(
        [entry.position for entry in entries],
        [entry.id for entry in entries],
        [entry.content_hash for entry in entries],
        [entry.reason if isinstance(entry, Skipped) else None for entry in entries],
    )
