"""What result.json says of a finished training beside its scores: what it was, what it cost, where it was made."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from typing import Any

import torch

from distill.students.cost import cost_of
from distill.training.checkpoint import versions
from distill.training.setup import TrainingSetup
from distill.training.state import Position
from xkd_eval.engines.base import ENGINES


def outcome_of(setup: TrainingSetup, position: Position, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The facts of a training that is over.

    Args:
        setup: of the training.
        position: after its last epoch.
        notes: what was found out since it was set up.

    Returns:
        Plain values, by the names of `distill.TrainingResult`.
    """
    recipe, processes = setup.recipe, setup.accelerator.num_processes
    apart = 1 if recipe.sync_batch_norm else processes
    seconds = sum(row["seconds"] for row in position.history)
    cost = cost_of(setup.student)
    engines = {engine: ENGINES[engine]().version for engine in (setup.origin.engines or {}).values()}
    return {
        "origin": setup.origin.model_dump(mode="json"),
        "best_on": setup.splits.val_from or "test images",
        "seed": recipe.seed,
        "epochs": position.epoch,
        "train_images": setup.train.n_images,
        "processes": processes,
        "batch_norm_images": recipe.batch_size // (apart * recipe.accumulate),
        "seconds": seconds,
        "images_per_second": setup.train.steps.n_images * position.epoch / seconds,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "peak_memory": _peak_memory(setup.accelerator.device),
        "device": _named(setup.accelerator.device),
        "versions": versions() | engines,
        "notes": [*setup.notes, *notes],
    }


def record_of(setup: TrainingSetup) -> dict[str, Any]:
    """What a student's own file says of its training beside recipe and metrics; the same for the same training.

    Args:
        setup: of a training that is over.

    Returns:
        Plain values: the numbers of images, the digests of their listings, what the best epoch is best on, and of each
        teacher by name its digest and its scores.
    """
    origin, scores = setup.origin, setup.answers.scores(*dict.fromkeys((setup.selection, "test")))
    return {
        "train_images": setup.train.n_images,
        "test_images": len(setup.splits.test.labels),
        "trained": origin.trained.listing,
        "tested": origin.tested.listing,
        "best_on": setup.splits.val_from or "test images",
        "teachers": {name: {"digest": digest, **scores.get(name, {})} for name, digest in origin.teachers.items()},
    }


def _peak_memory(device: torch.device) -> int:
    """Bytes, of this process since it started: on an accelerator torch's tensors there, else all that is resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _named(device: torch.device) -> str:
    """The device as its maker calls it, as far as that can be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
