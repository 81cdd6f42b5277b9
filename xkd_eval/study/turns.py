"""Which models are in memory together: all of them where they fit, else as many as do, the reference first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import free_memory
from xkd_eval.study.cells import Cell, MapSource
from xkd_eval.study.inputs import StudyInputs

if TYPE_CHECKING:
    from xkd_eval.study.work import CellRun, KeptMaps

_COPIES = 3  # the network as it was made, folded, and folded in bfloat16
_SHARE = 0.5  # of the free memory; the other half is for activations


def turns(
    runs: Sequence[CellRun],
    writing: Sequence[KeptMaps],
    there: Sequence[MapSource],
    inputs: StudyInputs,
    size: int,
) -> Iterator[tuple[list[str], list[CellRun], list[KeptMaps]]]:
    """Models that are loaded together, with the cells and the kept maps that are due.

    A cell is due when the model that answers is there, and each model whose maps it scores is there too or has left
    them in an earlier turn. The reference is in every turn that has room for two and a cell that asks for it.

    Args:
        runs: unfinished.
        writing: maps to be kept.
        there: maps that an earlier study kept.
        inputs: models.
        size: how many are loaded together, see `at_once`.
    """
    waiting, jobs, left = list(runs), list(writing), list(there)
    while waiting or jobs:
        models = _next_labels(waiting, jobs, left, inputs, size)
        due = [run for run in waiting if _is_due(run.cell, models, left, inputs)]
        kept = [job for job in jobs if _is_there(job.source, models, [], inputs)]
        if not due and not kept:  # a cell that holds two models against each other needs both, however few fit
            models = _in_order(asked_models(waiting[0].cell, [], inputs), inputs)
            due = waiting[:1]
        yield models, due, kept
        left += [job.source for job in kept if job.are_read]
        waiting = [run for run in waiting if run not in due]
        jobs = [job for job in jobs if job not in kept]


def at_once(classifiers: Sequence[Classifier], device: torch.device) -> int:
    """How many of the models fit into the device's memory together, at least one.

    Args:
        classifiers: the largest decides.
        device: an accelerator's free memory; on a CPU all models are loaded anyway, so their copies are too.
    """
    if device.type == "cpu" or not classifiers:
        return max(len(classifiers), 1)
    largest = max(sum(value.numel() * value.element_size() for value in c.state_dict().values()) for c in classifiers)
    return max(1, min(len(classifiers), int(_SHARE * free_memory(device) / (_COPIES * max(largest, 1)))))


def _next_labels(
    runs: Sequence[CellRun], jobs: Sequence[KeptMaps], left: Sequence[MapSource], inputs: StudyInputs, size: int
) -> list[str]:
    """All that is asked for, if it fits; else as many, the reference first; else one for which something is due."""
    by_cells = (asked_models(run.cell, left, inputs) for run in runs)
    asked = _in_order(set().union(*by_cells, *(_makers(job.source, inputs) for job in jobs)), inputs)
    if len(asked) <= size:
        return asked
    if size > 1:
        return asked[:size]  # the reference is first where it is asked for
    for model in asked:
        due = any(_is_due(run.cell, [model], left, inputs) for run in runs)
        if due or any(_is_there(job.source, [model], [], inputs) for job in jobs):
            return [model]
    return asked[:1]


def _is_due(cell: Cell, models: Sequence[str], left: Sequence[MapSource], inputs: StudyInputs) -> bool:
    """Whether everything that a cell needs is there."""
    if cell.model not in models or (cell.asks_reference and inputs.reference not in models):
        return False
    return all(_is_there(maps, models, left, inputs) for maps in cell.sources)


def _is_there(maps: MapSource, models: Sequence[str], left: Sequence[MapSource], inputs: StudyInputs) -> bool:
    """Whether maps can be made or read."""
    if maps in left:
        return True
    if maps.explainer.model_free:
        return inputs.alike(maps.model, models) in models
    return _makers(maps, inputs) <= set(models)


def _makers(maps: MapSource, inputs: StudyInputs) -> set[str]:
    return {maps.model, inputs.reference} if maps.target == "reference" else {maps.model}


def asked_models(cell: Cell, left: Sequence[MapSource], inputs: StudyInputs) -> set[str]:
    """The models that a cell needs at once: for answers, or for maps.

    Args:
        cell: what is scored.
        left: maps that are there already.
        inputs: models.
    """
    found = {cell.model, inputs.reference} if cell.asks_reference else {cell.model}
    for maps in cell.sources:
        if maps not in left and not maps.explainer.model_free:
            found |= _makers(maps, inputs)
    return found


def _in_order(models: set[str], inputs: StudyInputs) -> list[str]:
    return [model for model in inputs.classifiers if model in models]
