"""A training run on disk: recipe, metrics, states, students and result, each file whole or not at all."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from distill.recipe.files import recipe_text
from distill.recipe.schema import Recipe
from distill.runs.job import JOB, LOG
from distill.runs.layout import BEST, METRICS, RECIPE, RESULT, STATE, STUDENT, read_result
from distill.runs.tables import csv_text
from xkd_eval.classifiers.weight_files import read_weight_file
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing

_FORMAT = "xkd-training"
_VERSION = 1
_FILES = (RECIPE, METRICS, STATE, BEST, STUDENT, RESULT)


class TrainingDirectory:
    """The directory of one training.

    Args:
        path: created where absent.
        recipe: as resolved.
        resume: continue the run that is there.
        overwrite: start afresh, whatever run is there.
        write: False in processes that read alone, as all but the first of several.

    Attributes:
        state: what `write_state` wrote last; None at the start of a run.

    Raises:
        XkdError: another run is there, or an unfinished one and `resume` is False; or it cannot be written.
    """

    def __init__(self, path: Path, recipe: Recipe, *, resume: bool, overwrite: bool, write: bool) -> None:
        self.path = path
        self._write = write
        if path.exists() and not path.is_dir():
            raise XkdError(f"output {path}: is a file; expected a directory")
        if overwrite and write:
            self._remove()
        self.state = None if overwrite else self._read_state(recipe)
        if self.state is not None and not resume and self.result is None:
            raise XkdError(
                f"output {path}: holds an unfinished run of {self.state['epoch']} epochs; `resume` continues it, "
                "`overwrite` starts afresh"
            )
        if self.state is None:
            self.write_bytes(RECIPE, recipe_text(recipe).encode())

    @property
    def result(self) -> dict[str, Any] | None:
        """What a finished run came to; None while it is unfinished."""
        return read_result(self.path)

    def write_state(self, state: Mapping[str, Any]) -> None:
        """last.pt: everything that a run continues from, tensors and plain values."""
        buffer = io.BytesIO()
        torch.save({"format": _FORMAT, "version": _VERSION, **state}, buffer)
        self.write_bytes(STATE, buffer.getbuffer())

    def write_metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv, a line an epoch."""
        self.write_bytes(METRICS, csv_text(history).encode())

    def write_result(self, result: Mapping[str, Any]) -> None:
        """result.json, by which a run counts as finished."""
        self.write_bytes(RESULT, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())

    def write_bytes(self, name: str, content: bytes | memoryview) -> None:
        """Write a file so that readers, and a run after a crash, see the former one or the new one.

        Raises:
            XkdError: the disk is full or gone; the former file survives.
        """
        if not self._write:
            return
        target = self.path / name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with replacing(target, durable=True) as file:
                file.write(content)
        except OSError as error:
            kept = f"the former {name} is kept; " if target.is_file() else ""
            raise XkdError(
                f"output {self.path}: {name} cannot be written ({error.strerror or error}); {kept}"
                "make room and continue with `resume`"
            ) from None

    def _read_state(self, recipe: Recipe) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            if self.path.is_dir() and any(entry.name not in _FILES for entry in self._visible()):
                raise XkdError(
                    f"output {self.path}: holds files that are no run of this tool; choose an empty directory"
                )
            return None
        state = read_weight_file(file, "resume")
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise XkdError(f"resume: {str(file)!r} is no training state; `overwrite` starts afresh")
        if state.get("version") != _VERSION:
            raise XkdError(f"resume: {str(file)!r} has version {state.get('version')!r}; this release reads {_VERSION}")
        differing = _differing(recipe.identity(), state["recipe"])
        if differing:
            raise XkdError(
                f"output {self.path}: holds a run of another recipe; these differ: {', '.join(differing)}; "
                "choose another directory, or `overwrite`"
            )
        return state

    def _visible(self) -> list[Path]:
        """Entries that neither other seeds nor a sweep nor TensorBoard put there."""
        others = (".", "seed-", "tensorboard", LOG, JOB)
        return [entry for entry in self.path.iterdir() if not entry.name.startswith(others)]

    def _remove(self) -> None:
        if not (self.path / RECIPE).is_file():
            return
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)


def _differing(ours: Any, theirs: Any, place: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = dict.fromkeys([*ours, *theirs])
        return [
            difference
            for key in keys
            for difference in _differing(ours.get(key), theirs.get(key), f"{place}.{key}" if place else key)
        ]
    return [] if ours == theirs else [place]
