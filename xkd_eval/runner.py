"""The stream: data -> classifier -> explainer -> evaluation -> rows, on any number of processes.

Every forward has one fixed shape, the device's chunk of images, and the last one is padded: float32 convolutions
differ by about 3e-6 between batch shapes, and not within one. So on one kind of device a row depends on its image
alone: not on the batch size, the order, a resumption or the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.loader import Item, Skipped, stream
from xkd_eval.devices import process_state
from xkd_eval.engines.eager import check_finite, chunk_size, on_device, prepare
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Batch, Columns, Evaluation
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.explainers.stored import map_path, save_maps
from xkd_eval.results import PartWriter, RunDirectory, concatenated, in_order, to_table

MASK_SIZE = (224, 224)

_UNLABELLED = "no label among the model's classes"

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Job:
    """What is evaluated.

    Attributes:
        classifier: the model, with the Preprocess of its own.
        preprocess: the input convention that the protocol resolves to.
        dataset: images, possibly limited.
        labels: the classifier's class index an image, None where there is none.
        explainer: makes the maps.
        evaluation: scores them.
        save_maps: where the raw maps are written as well, or None.
    """

    classifier: Classifier
    preprocess: Preprocess
    dataset: ImageDataset
    labels: list[int | None]
    explainer: Explainer
    evaluation: Evaluation
    save_maps: Path | None = None


@dataclass(frozen=True)
class Settings:
    """How it is evaluated; none of it changes a row but the precision.

    Attributes:
        device: "auto", "cpu", "cuda", "cuda:1", ...
        precision: "fp32" or "bf16".
        workers: processes that decode images; 0 decodes in this one.
        batch_size: images read at a time.
        strict: an unreadable image is an error instead of being skipped.
    """

    device: str = "auto"
    precision: str = "fp32"
    workers: int = 0
    batch_size: int = 32
    strict: bool = False


@dataclass
class Run:
    """A run's outcome so far: its rows in the data set's order, and how fast this sitting was."""

    rows: pa.Table
    images_per_second: float | None = field(default=None)


def run(job: Job, settings: Settings, directory: RunDirectory | None, progress: Progress | None = None) -> Run:
    """Evaluate what the directory does not hold yet.

    Args:
        job: what.
        settings: how.
        directory: keeps the rows and makes the run resumable; None keeps them in memory.
        progress: told after every batch.

    Raises:
        XkdError: nothing is left to evaluate, an unreadable image under `strict`, a full disk.
    """
    state = process_state(settings.device)
    before = directory.read_rows() if directory else None
    done = set(before["position"].to_pylist()) if before is not None else set()
    n_images = len(job.dataset)
    # Shared out by position and not by what is left: another process may have written a part since.
    mine = range(state.process_index, n_images, state.num_processes)
    report = progress or (lambda done, total: None)
    report(len(done), n_images)
    start, scored = time.perf_counter(), 0
    parts: list[pa.Table] = [] if before is None else [before]
    write = directory.write_part if directory else parts.append
    with PartWriter(write) as writer:
        for rows in _row_batches(job, settings, [place for place in mine if place not in done], state.device):
            writer.add(rows)
            scored += rows.num_rows
            report(min(len(done) + scored * state.num_processes, n_images), n_images)
    elapsed = time.perf_counter() - start
    state.wait_for_everyone()
    rows = directory.read_rows() if directory else _gathered(parts)
    if rows is None or rows.num_rows == rows["skipped"].drop_null().length():
        raise XkdError("data: no image could be evaluated; " + _first_reasons(rows))
    if rows.num_rows != n_images:
        raise XkdError(f"output: holds rows of {rows.num_rows} of {n_images} images; run the same command to continue")
    return Run(rows, scored * state.num_processes / elapsed if scored else None)


def check_continuable(rows: pa.Table, job: Job, settings: Settings) -> None:
    """Raise XkdError where the rows of a former sitting cannot stand for what is asked now.

    Args:
        rows: that the run directory holds.
        job: may ask for maps, which only an image that is scored leaves.
        settings: may be strict, which the former sitting need not have been.
    """
    unreadable = [row for row in skipped_rows(rows) if row["reason"] != _UNLABELLED]
    if settings.strict and unreadable:
        raise XkdError(
            f"strict: the run directory skipped {len(unreadable)} images, the first as {unreadable[0]['id']}: "
            f"{unreadable[0]['reason']}; mend them and `overwrite`"
        )
    folder = job.save_maps
    if folder is not None and not all(map_path(folder, name).is_file() for name in scored_rows(rows)["id"].to_pylist()):
        raise XkdError(
            f"save_maps {folder}: the run directory holds images whose maps are not there; `overwrite`, or `output`"
        )


def scored_rows(rows: pa.Table) -> pa.Table:
    """The rows of images that were not skipped."""
    return rows.filter(rows["skipped"].is_null())


def skipped_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """[{"id", "reason"}] of the images that were skipped."""
    skipped = rows.filter(rows["skipped"].is_valid())
    reasons = zip(skipped["id"].to_pylist(), skipped["skipped"].to_pylist(), strict=True)
    return [{"id": identifier, "reason": reason} for identifier, reason in reasons]


def in_chunks(forward: Callable[[Tensor], _T], images: Tensor, chunk: int) -> Iterator[tuple[_T, int]]:
    """Feed (B, ...) through `forward` `chunk` at a time, the last one padded; yields the result and its real length."""
    for part in images.split(chunk):
        padding = part.new_zeros((chunk - len(part), *part.shape[1:]))
        yield forward(torch.cat([part, padding]) if len(padding) else part), len(part)


def _row_batches(job: Job, settings: Settings, positions: list[int], device: torch.device) -> Iterator[pa.Table]:
    device = device if settings.device == "auto" else torch.device(settings.device)
    scorer = _Scorer(job, device, settings.precision)
    mask_size = MASK_SIZE if job.dataset.has_masks else None
    items = stream(
        job.dataset, positions, job.preprocess, mask_size=mask_size, workers=settings.workers, strict=settings.strict
    )
    for batch in _batched(items, settings.batch_size):
        entries = [
            Skipped(entry.position, entry.id, _UNLABELLED)
            if isinstance(entry, Item) and scorer.needs_label and job.labels[entry.position] is None
            else entry
            for entry in batch
        ]
        scorable = [entry for entry in entries if isinstance(entry, Item)]
        skipped = [entry for entry in entries if isinstance(entry, Skipped)]
        tables = [scorer.score(scorable)] if scorable else []
        if skipped:
            tables.append(_skipped_table(skipped))
        yield concatenated(tables)


class _Scorer:
    """Scores batches of decoded images with one prepared model."""

    def __init__(self, job: Job, device: torch.device, precision: str) -> None:
        self._job = job
        self._device = device
        self._chunk = chunk_size(device)
        size = job.preprocess.size
        self._model = prepare(job.classifier, device, precision, size)
        # The map and the class that it explains are worth one exact forward among many.
        exact = precision == "fp32" or not job.evaluation.forwards_again
        self._clean_model = self._model if exact else prepare(job.classifier, device, size=size)
        # Explainers see the network as it was made: folded batch norms would change FullGrad's biases.
        self._original = on_device(job.classifier, device)
        self.needs_label = job.evaluation.needs_labels or job.evaluation.protocol.explained == "true"

    def score(self, items: list[Item]) -> pa.Table:
        job = self._job
        pixels = torch.stack([item.pixels for item in items]).to(self._device)
        images = job.preprocess.normalise(pixels)
        known = (job.labels[item.position] for item in items)
        labels = torch.tensor([-1 if label is None else label for label in known]).to(self._device)
        masked = [item.mask for item in items if item.mask is not None]
        masks = torch.stack(masked).to(self._device) if masked else None
        logits, features = self._clean(images)
        check_finite(logits, job.classifier.name, f"the images from {items[0].id} to {items[-1].id}")
        explained = logits.argmax(1) if job.evaluation.protocol.explained == "predicted" else labels
        scored_size = job.evaluation.scored_size(job.preprocess)
        context = Context(tuple(item.id for item in items), features, masks, scored_size)
        maps = self._explain(images, explained, context)
        if job.save_maps is not None:
            save_maps(job.save_maps, [item.id for item in items], maps)
        batch = Batch(pixels, images, logits, explained, labels, maps, masks, job.preprocess)
        columns: Columns = {
            "label": labels.cpu().numpy(),
            "predicted": logits.argmax(1).cpu().numpy(),
            "explained": explained.cpu().numpy(),
        }
        with torch.inference_mode():
            columns.update(job.evaluation.rows(batch, self._model, self._chunk))
        identity = {
            "position": pa.array([item.position for item in items]),
            "id": pa.array([item.id for item in items]),
            "skipped": pa.nulls(len(items), pa.string()),
        }
        table = to_table(columns)
        return pa.table({**identity, **{name: table[name] for name in table.column_names}})

    @torch.inference_mode()
    def _clean(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._clean_model.head is None:
            parts = [logits[:n] for logits, n in in_chunks(self._clean_model, images, self._chunk)]
            return torch.cat(parts), None
        passes = list(in_chunks(self._clean_model.forward_with_features, images, self._chunk))
        logits = torch.cat([forward.logits[:n] for forward, n in passes])
        return logits, torch.cat([forward.features[:n] for forward, n in passes])

    def _explain(self, images: Tensor, explained: Tensor, context: Context) -> Tensor:
        explainer, n_images = self._job.explainer, len(images)
        width = 1 if explainer.per_image else self._chunk
        maps = []
        for start in range(0, n_images, width):
            # Padded by repeating the last image: a fixed shape, and an input that every method can digest.
            places = torch.arange(start, start + width, device=images.device).clamp(max=n_images - 1)
            part = explainer(self._original, images[places], explained[places], _taken(context, places))
            maps.append(part[: n_images - start].detach().float())
        return torch.cat(maps).to(self._device)


def _taken(context: Context, places: Tensor) -> Context:
    return Context(
        ids=tuple(context.ids[place] for place in places.tolist()) if context.ids else None,
        features=None if context.features is None else context.features[places],
        masks=None if context.masks is None else context.masks[places],
        size=context.size,
    )


def _gathered(parts: list[pa.Table]) -> pa.Table | None:
    """The rows that all processes keep in memory."""
    from accelerate.utils import gather_object

    tables = gather_object(parts)
    return in_order(concatenated(tables)) if tables else None


def _skipped_table(skipped: list[Skipped]) -> pa.Table:
    return pa.table(
        {
            "position": pa.array([item.position for item in skipped]),
            "id": pa.array([item.id for item in skipped]),
            "skipped": pa.array([item.reason for item in skipped], type=pa.string()),
        }
    )


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _first_reasons(rows: pa.Table | None) -> str:
    if rows is None:
        return "the set is empty"
    reasons = [f"{skipped['id']}: {skipped['reason']}" for skipped in skipped_rows(rows)]
    return f"{len(reasons)} were skipped, the first as {reasons[0]}"
