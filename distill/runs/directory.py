"""A training run on disk: recipe, metrics, states, students and result, each file whole or not at all."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from distill.recipe.files import load_recipe, recipe_text
from distill.recipe.schema import Recipe
from distill.runs.job import JOB, LOG
from distill.runs.layout import BEST, METRICS, NEW_BEST, RECIPE, RESULT, STATE, STUDENT
from distill.runs.outcome_file import read_result, sealed
from distill.runs.state_file import read_state, write_state
from distill.runs.tables import csv_text
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError
from xkd_eval.files import locked, replacing, writing

# In the order in which they are removed: what says that a run is there and finished is the first to go.
_FILES = (RESULT, STUDENT, NEW_BEST, BEST, STATE, METRICS, RECIPE)


def hold(path: Path) -> ExitStack:
    """Hold a run's or a sweep's directory for this process until the stack is left.

    Args:
        path: created where absent.

    Raises:
        XkdError: another process is at work there; or nothing can be written there.
    """
    if path.exists() and not path.is_dir():
        raise XkdError(f"output {path}: is a file; expected a directory")
    with ExitStack() as stack:
        with writing(f"output {path}:"):
            stack.enter_context(locked(path))
        return stack.pop_all()


class TrainingDirectory:
    """The directory of one training.

    Args:
        path: created where absent.
        recipe: as resolved.
        resume: continue the run that is there.
        overwrite: start afresh, whatever run is there.
        write: False in processes that read alone, as all but the first of several.

    Attributes:
        result: what a finished run came to; None while it is unfinished.
        state: of an unfinished run, what `write_state` wrote last; None at the start of one.

    Raises:
        XkdError: another run is there, or an unfinished one and `resume` is False; or it cannot be written.
    """

    def __init__(self, path: Path, recipe: Recipe, *, resume: bool, overwrite: bool, write: bool) -> None:
        self.path = path
        self._write = write
        self._metrics = b""
        if path.exists() and not path.is_dir():
            raise XkdError(f"output {path}: is a file; expected a directory")
        if overwrite and write:
            self._remove()
        self.result = None if overwrite else self._read_finished(recipe)
        self.state = None if overwrite or self.result is not None else self._read_state(recipe)
        if self.state is not None and not resume:
            raise XkdError(
                f"output {path}: holds an unfinished run of {self.state['epoch']} epochs; `resume` continues it, "
                "`overwrite` starts afresh"
            )
        if self.result is None and write:
            self._clear()
        if self.result is None and self.state is None:
            self.write_bytes(RECIPE, recipe_text(recipe).encode())

    def write_state(self, state: Mapping[str, Any]) -> None:
        """last.pt: everything that a run continues from, tensors and plain values."""
        buffer = io.BytesIO()
        write_state(state, buffer)
        self.write_bytes(STATE, buffer.getbuffer())

    def write_metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv, a line an epoch."""
        self._metrics = csv_text(history).encode()
        self.write_bytes(METRICS, self._metrics)

    def write_result(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """result.json, by which a run counts as finished, beside student.pt; returns what stands there."""
        # Other processes' files are the first one's, which may not have written them yet.
        student = (self.path / STUDENT).read_bytes() if self._write else b""
        written = sealed(result, self._metrics, student)
        self.write_bytes(RESULT, (json.dumps(written, indent=2, allow_nan=False) + "\n").encode())
        return written

    def settle_best(self, best: Mapping[str, Any] | None) -> None:
        """Make best.new.pt best.pt if it is of the best epoch by the state that was written, or else remove it.

        Args:
            best: the metrics of that epoch; None before the first one.
        """
        new = self.path / NEW_BEST
        if not self._write or not new.is_file():
            return
        with suppress(XkdError):  # a damaged one is of no epoch
            if read_checkpoint(new).metrics == best:
                new.replace(self.path / BEST)
        new.unlink(missing_ok=True)

    def write_bytes(self, name: str, content: bytes | memoryview) -> None:
        """Write a file so that readers, and a run after a crash, see the former one or the new one.

        Raises:
            XkdError: the disk is full or gone; the former file survives.
        """
        if not self._write:
            return
        target = self.path / name
        kept = f"the former {name} is kept, and `resume` continues" if target.is_file() else ""
        with writing(f"output {self.path}: {name}", kept=kept):
            self.path.mkdir(parents=True, exist_ok=True)
            with replacing(target, durable=True) as file:
                file.write(content)

    def _read_finished(self, recipe: Recipe) -> dict[str, Any] | None:
        result = read_result(self.path)
        if result is not None:
            self._check_same(recipe, load_recipe(str(self.path / RECIPE)).identity())
        return result

    def _read_state(self, recipe: Recipe) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            if self.path.is_dir() and any(entry.name not in _FILES for entry in self._visible()):
                raise XkdError(
                    f"output {self.path}: holds files that are no run of this tool; choose an empty directory"
                )
            return None
        state = read_state(file)
        self._check_same(recipe, state["recipe"])
        return state

    def _check_same(self, recipe: Recipe, theirs: Mapping[str, Any]) -> None:
        differing = _differing(recipe.identity(), theirs)
        if differing:
            raise XkdError(
                f"output {self.path}: holds a run of another recipe; these differ: {', '.join(differing[:5])}; "
                "choose another directory, or `overwrite`"
            )

    def _clear(self) -> None:
        """Remove what a killed process left half-written, and a result that is not of this training."""
        with writing(f"output {self.path}:"):
            for name in _FILES if self.path.is_dir() else ():
                for left in self.path.glob(f".{name}.*"):
                    left.unlink(missing_ok=True)
            (self.path / RESULT).unlink(missing_ok=True)

    def _visible(self) -> list[Path]:
        """Entries that neither other seeds nor a sweep nor TensorBoard put there."""
        others = (".", "seed-", "tensorboard", LOG, JOB)
        return [entry for entry in self.path.iterdir() if not entry.name.startswith(others)]

    def _remove(self) -> None:
        if not (self.path / RECIPE).is_file():
            return
        with writing(f"output {self.path}:"):
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
