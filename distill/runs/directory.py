"""A training run on disk: recipe, metrics, states, students and result, each file whole or not at all."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distill.data import IMAGES
from distill.recipe.files import recipe_text
from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import read_yaml
from distill.runs.job import JOB, LOG
from distill.runs.layout import BEST, METRICS, NEW_BEST, RECIPE, RESULT, STATE, STUDENT
from distill.runs.origin import Origin, check_origin, check_recipe, goes_on
from distill.runs.outcome_file import read_result, sealed
from distill.runs.state_file import read_state, write_state
from distill.runs.tables import csv_text
from xkd_eval.errors import XkdError
from xkd_eval.files import locked, replacing, writing
from xkd_eval.foreign import file_digest, read_bytes, short

# In the order in which they are removed: what says that a run is there and finished is the first to go.
_FILES = (RESULT, STUDENT, NEW_BEST, BEST, STATE, METRICS, IMAGES, RECIPE)


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


def finished_in(path: Path, recipe: Recipe, *, resume: bool) -> dict[str, Any] | None:
    """What the finished training in a directory came to.

    Args:
        path: of the directory.
        recipe: as resolved.
        resume: whether a training of fewer epochs is to go on.

    Returns:
        None where none has finished, or the one that has goes on.

    Raises:
        XkdError: it is of another recipe, or was damaged.
    """
    result = read_result(path)
    if result is None:
        return None
    theirs = Origin.model_validate(result["origin"])
    if resume and goes_on(recipe, theirs):
        return None
    check_recipe(recipe, theirs, path)
    return result


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
        self._metrics, self._recipe = b"", recipe_text(recipe).encode()
        if path.exists() and not path.is_dir():
            raise XkdError(f"output {path}: is a file; expected a directory")
        self._refuse_what_is_no_file()
        if overwrite and write:
            self._remove()
        self.result = None if overwrite else finished_in(path, recipe, resume=resume)
        self.state = None if overwrite or self.result is not None else self._read_state(recipe)
        if self.state is not None and not resume:
            raise XkdError(
                f"output {path}: holds an unfinished run of {self.state['epoch']} epochs; `resume` continues it, "
                "`overwrite` starts afresh"
            )

    def begin(self, images: str | None) -> None:
        """Leave the recipe, once all that can be refused has been: whoever mends it comes back to the same place.

        Args:
            images: the list of the images; None where the data set says itself which are which.
        """
        if self._write:
            self._clear()
            self.write_bytes(RECIPE, self._recipe)
            if images is not None:
                self.write_bytes(IMAGES, images.encode())

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
        written = sealed(result, {RECIPE: self._recipe, METRICS: self._metrics, STUDENT: student})
        self.write_bytes(RESULT, (json.dumps(written, indent=2, allow_nan=False) + "\n").encode())
        return written

    def settle_best(self, digest: str | None) -> None:
        """Make best.new.pt best.pt if the state that was written says that it is, or else remove it.

        Args:
            digest: of the best epoch's checkpoint by that state; None before the first epoch.

        Raises:
            XkdError: neither file is that checkpoint.
        """
        if not self._write:
            return
        new, best = self.path / NEW_BEST, self.path / BEST
        with writing(f"output {self.path}: {BEST}"):
            if new.is_file() and file_digest(new) == digest:
                new.replace(best)
                return
            new.unlink(missing_ok=True)
        found = file_digest(best) if best.is_file() else None
        if digest is not None and found != digest:
            fault = "is gone" if found is None else f"is not the best epoch's by {STATE}"
            raise XkdError(f"output {self.path}: {BEST} {fault}; restore it, or `overwrite` starts afresh")

    def check_origin(self, ours: Origin) -> None:
        """Refuse to give, or to go on with, what was made of other images or by another teacher.

        Args:
            ours: of the training that is asked for; the recipe has been compared already.

        Raises:
            XkdError: says which differ.
        """
        there = self.result or self.state
        if there is not None:
            check_origin(ours, Origin.model_validate(there["origin"]), self.path)

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

    def _refuse_what_is_no_file(self) -> None:
        for name in _FILES:
            entry = self.path / name
            if entry.exists() and not entry.is_file():
                raise XkdError(
                    f"output {self.path}: {name} is no file, and a training's has to go there; remove it, or choose "
                    "another directory"
                )

    def _read_state(self, recipe: Recipe) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            self._refuse_files_of_others(recipe)
            return None
        state = read_state(file)
        theirs = Origin.model_validate(state["origin"])
        if not goes_on(recipe, theirs):
            check_recipe(recipe, theirs, self.path)
        return state

    def _refuse_files_of_others(self, recipe: Recipe) -> None:
        """Without a state, all that can be a training's own is what it leaves before the first one."""
        names = {entry.name for entry in self._visible()} if self.path.is_dir() else set()
        begun = self._begun() if names and names <= {RECIPE, IMAGES, NEW_BEST} else None
        # Without an epoch there is nothing that another recipe could lose, or take for its own.
        if not names or (begun is not None and (names <= {RECIPE, IMAGES} or begun.identity() == recipe.identity())):
            return
        found = next((name for name in _FILES if name in names), None)
        if found is None or not names <= set(_FILES):
            other = short(min(names - set(_FILES)))
            raise XkdError(f"output {self.path}: holds {other}, which is no run's; choose another directory")
        raise XkdError(
            f"output {self.path}: holds {found}, and no {STATE} that says that it is this training's; another "
            "directory, or `overwrite`, starts afresh"
        )

    def _begun(self) -> Recipe | None:
        """What recipe.yaml holds, if it is as a training writes it."""
        try:
            written = parse_recipe(read_yaml(self.path / RECIPE, "output")["recipe"])
            content = read_bytes(self.path / RECIPE, "output")
        except (XkdError, KeyError, TypeError):  # no recipe
            return None
        return written if content == recipe_text(written).encode() else None

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
        was_run = (self.path / RECIPE).is_file()
        with writing(f"output {self.path}:"):
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
        if was_run:
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
