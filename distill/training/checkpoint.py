"""The network that a training evaluates and keeps, as a checkpoint that every command reads."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from distill.training.setup import TrainingSetup
from xkd_eval import __version__
from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.datasets.remote.urls import told
from xkd_eval.errors import XkdError
from xkd_eval.foreign import file_digest, reading

_PACKAGES = ("torch", "torchvision", "accelerate", "numpy")


def write_student(
    setup: TrainingSetup,
    network: nn.Module,
    metrics: Mapping[str, Any],
    path: Path,
    training: Mapping[str, Any] | None = None,
) -> str | None:
    """Write the student, in one process only.

    Args:
        setup: of the training.
        network: with the weights that are written: those that are trained, or their moving average.
        metrics: of the epoch.
        path: of the file.
        training: see Checkpoint; of a training that is over.

    Returns:
        SHA-256 of the file; None in the other processes.

    Raises:
        XkdError: it cannot be written; a former file survives.
    """
    if not setup.accelerator.is_main_process:
        return None
    recipe, student = setup.recipe, setup.student
    # Read anew, so that the file's bytes do not depend on which of equal texts are one object.
    values = {"recipe": recipe.model_dump(mode="json"), "metrics": _timeless(metrics), "training": training or {}}
    plain = json.loads(json.dumps(values))
    data = plain["recipe"]["data"]
    if isinstance(data.get("path"), str):
        data["path"] = told(data["path"])  # whoever is given the student is not given a password
    contents = Checkpoint(
        architecture=student.name,  # the recipe's own, but where a method has made another of it
        arguments=setup.arguments,
        state_dict={key: value.contiguous() for key, value in network.state_dict().items()},
        preprocess=student.preprocess,
        class_names=student.class_names,
        wordnet_ids=student.wordnet_ids,
        recipe=plain["recipe"],
        metrics=plain["metrics"],
        versions=versions(),
        training=plain["training"],
    )
    save_checkpoint(contents, path)
    return file_digest(path)


def load_best(file: Path, best: Mapping[str, Any], network: nn.Module) -> None:
    """Give a network the weights of the best epoch.

    Args:
        file: best.pt.
        best: the metrics of the best epoch.
        network: whose weights are replaced.

    Raises:
        XkdError: the file is of another epoch or network.
    """
    selected = read_checkpoint(file, "output")
    if selected.metrics != _timeless(best):
        raise XkdError(f"output: {str(file)!r} is not of epoch {best['epoch']}, the best; `overwrite` starts afresh")
    with reading(f"output: {str(file)!r} is of another network", "`overwrite` starts afresh"):
        network.load_state_dict(dict(selected.state_dict))


def _timeless(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of an epoch but for what a clock said: the same training leaves the same bytes."""
    return {name: value for name, value in metrics.items() if name != "seconds"}


def versions() -> dict[str, str]:
    """Of the software that trains, by name."""
    packages = {package: version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), "xkd": __version__, **packages}
