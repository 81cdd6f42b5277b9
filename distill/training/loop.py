"""The training loop: one run of one recipe, continued where it stopped, to the same weights."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import torchvision
from accelerate.utils import broadcast
from torch import Tensor

from distill.data.augmentation import derive_seed
from distill.data.batches import Batch, HeldOutImages
from distill.recipe.schema import Recipe
from distill.runs.directory import RunDirectory
from distill.students.scores import Scores, score
from distill.training.captured_step import WholeStep, check_capturable
from distill.training.interruption import StopRequest, TrainingInterruptedError
from distill.training.means import EpochMeans
from distill.training.schedules import factor
from distill.training.setup import Parts, assemble
from distill.training.step import OrdinaryStep, Step
from distill.training.tensorboard import TensorBoard
from xkd_eval import __version__
from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError

_SECONDS_BETWEEN_SAVES = 600.0
# Asking whether all is well makes an accelerator, which runs ahead, wait.
_STEPS_BETWEEN_CHECKS = 50
_LEAST_EVALUATED_AT_ONCE = 250

Progress = Callable[[int, int, str], None]
"""Called with the images seen, the images of the whole training, and where it is."""


@dataclass
class _Position:
    """Where a run is, beside the weights.

    Attributes:
        epoch: completed ones.
        step: completed ones of the next epoch.
        history: a row an epoch.
        best: the row of the best epoch.
        means: of the epoch that is under way.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    means: EpochMeans = field(default_factory=EpochMeans)


def train(
    recipe: Recipe,
    output: Path,
    *,
    device: str = "auto",
    runs: Path = Path("runs"),
    resume: bool = False,
    overwrite: bool = False,
    capture: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a student and keep all of it in a directory.

    Args:
        recipe: as resolved.
        output: the run directory.
        device: "auto" or "cpu".
        runs: where the runs of other recipes lie, for a teacher that is named by its recipe.
        resume: continue the unfinished run in `output`. On a CPU the weights come out as without the interruption.
        overwrite: discard the run in `output`.
        capture: launch each step as one CUDA graph; the result is the same up to rounding.
        progress: told after every step.

    Returns:
        What result.json holds: the scores of the last and of the best epoch, and which of the two student.pt is. A run
        that is already finished is not run again.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; the state is saved.
        XkdError: bad input, a loss that is not finite, a full disk, `capture` where it cannot be.
    """
    main = process_state(device).is_main_process
    directory = RunDirectory(output, recipe, resume=resume, overwrite=overwrite, write=main)
    if directory.result is not None and directory.state is not None:
        return directory.result
    parts = assemble(recipe, device, runs)
    if capture:
        check_capturable(parts)
    run = _Run(parts, directory, progress or (lambda done, total, where: None), capture)
    with StopRequest() as stop:
        while run.position.epoch < recipe.epochs:
            run.train_epoch(stop)
            run.close_epoch()
    return run.finish()


class _Run:
    """The parts of a run and its position."""

    def __init__(self, parts: Parts, directory: RunDirectory, progress: Progress, capture: bool) -> None:
        self.parts = parts
        self.recipe = parts.recipe
        self.directory = directory
        self.position = _Position()
        self._progress = progress
        self._steps_per_epoch = parts.train.n_images // parts.recipe.batch_size
        self._steps_between_checks = 1 if parts.accelerator.device.type == "cpu" else _STEPS_BETWEEN_CHECKS
        self._answers: dict[int, Tensor] = {}
        self._saved_at = self._started_at = time.monotonic()
        self._seconds = 0.0
        if directory.state is not None:
            self._restore(directory.state)
        self._step: Step = WholeStep(parts) if capture else OrdinaryStep(parts)
        self._tensorboard = TensorBoard(directory.path, parts.accelerator.is_main_process, self.position.epoch)

    def train_epoch(self, stop: StopRequest) -> None:
        """The rest of the epoch at whose start, or within which, the run stands."""
        parts, recipe, position = self.parts, self.recipe, self.position
        parts.wrapped.train()
        start = time.monotonic()
        weights = parts.objective.weights(position.epoch + 1)
        for given in self._step.inputs(position.epoch, position.step):
            # Whatever else draws at random starts afresh with every step, so that a run may be continued at any.
            torch.manual_seed(derive_seed(recipe.seed, position.epoch, position.step, parts.accelerator.process_index))
            values = self._step(given, self._learning_rate(position.step), weights)
            position.means.add(values, position.step)
            position.step += 1
            self._report()
            self._check(stop)
        self._seconds = time.monotonic() - start

    def close_epoch(self) -> None:
        """Evaluate, keep the best, save."""
        parts, position = self.parts, self.position
        means = parts.accelerator.reduce(position.means.means(), reduction="mean")
        self._share_batch_statistics()
        scores = self.evaluate(parts.selection)
        learning_rate = self._learning_rate(position.step - 1)
        position.epoch += 1
        split = "test" if parts.val is None else "val"
        row = {
            "epoch": position.epoch,
            "learning_rate": learning_rate,
            **position.means.named(means),
            **{f"{split}_{name}": value for name, value in scores.to_dict().items() if name != "n_images"},
            "seconds": self._seconds,
        }
        position.history.append(row)
        position.step, position.means = 0, EpochMeans()
        if position.best is None or scores.top1 > position.best[f"{split}_top1"]:
            position.best = row
            self._write_student("best.pt", row)
        self.save()
        self.directory.write_metrics(position.history)
        self._tensorboard.write(row)

    def evaluate(self, images: HeldOutImages) -> Scores:
        """The scores of the network that is saved."""
        parts = self.parts
        network = parts.evaluated.eval()
        with parts.autocast():
            return score(
                lambda pixels: network(parts.normalise(pixels)),
                images.batches(max(self.recipe.batch_size, _LEAST_EVALUATED_AT_ONCE)),
                None if parts.teacher is None else self._teacher_answers,
                parts.accelerator.gather,
            )

    def save(self) -> None:
        """last.pt, once all losses are known to be finite."""
        self._refuse_not_finite()
        parts, position = self.parts, self.position
        self.directory.write_state(
            {
                "recipe": self.recipe.identity(),
                "teacher": None if parts.teacher is None else parts.teacher.classifier.digest(),
                "epoch": position.epoch,
                "step": position.step,
                "history": position.history,
                "best": position.best,
                "means": position.means.state(),
                "student": parts.student.model.state_dict(),
                "methods": parts.objective.methods.state_dict(),
                "optimiser": parts.optimiser.state_dict(),
                "average": None if parts.average is None else parts.average.state_dict(),
            }
        )
        self._saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Write student.pt and result.json: the last epoch, or the best where images were held out to select it."""
        parts, position = self.parts, self.position
        assert position.best is not None
        last, best = dict(position.history[-1]), dict(position.best)
        if parts.val is not None:
            last |= {f"test_{name}": value for name, value in self.evaluate(parts.test).to_dict().items()}
            selected = read_checkpoint(self.directory.path / "best.pt")
            parts.evaluated.load_state_dict(dict(selected.state_dict))
            best |= {f"test_{name}": value for name, value in self.evaluate(parts.test).to_dict().items()}
        chosen = last if parts.val is None else best
        self._write_student("student.pt", chosen)
        result = {
            "last": last,
            "best": best,
            "best_on": "test images" if parts.val is None else "held-out training images",
            "student": "last" if parts.val is None else "best",
            "seed": self.recipe.seed,
            "epochs": self.recipe.epochs,
            "train_images": parts.train.n_images,
            "processes": parts.accelerator.num_processes,
            "batch_norm_images": self._images_at_once(),
        }
        self.directory.write_result(result)
        parts.accelerator.wait_for_everyone()
        return result

    def _learning_rate(self, step: int) -> float:
        """In a step of the epoch that is under way."""
        recipe, per_epoch = self.recipe, self._steps_per_epoch
        done = self.position.epoch * per_epoch + step
        return recipe.optimiser.learning_rate * factor(recipe.schedule, done, recipe.epochs * per_epoch, per_epoch)

    def _report(self) -> None:
        position, size = self.position, self.recipe.batch_size
        done = (position.epoch * self._steps_per_epoch + position.step) * size
        total = self.recipe.epochs * self._steps_per_epoch * size
        self._progress(done, total, f"epoch {position.epoch + 1}/{self.recipe.epochs}{self._latest()}")

    def _latest(self) -> str:
        if not self.position.history:
            return ""
        row = self.position.history[-1]
        return "".join(f", {name} {row[name]:.3f}" for name in ("val_top1", "test_top1") if name in row)

    def _check(self, stop: StopRequest) -> None:
        """Now and then: is a stop asked for, are the losses finite, is it time to save?"""
        parts, position = self.parts, self.position
        asked_alone = stop.made and parts.accelerator.num_processes == 1
        due = position.step % self._steps_between_checks == 0 or position.step == self._steps_per_epoch
        if not asked_alone and not due:
            return
        self._refuse_not_finite()
        late = time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES
        wishes = torch.tensor([float(stop.made), float(late)], device=parts.accelerator.device)
        asked, late = (wish > 0 for wish in parts.accelerator.reduce(wishes, reduction="sum").tolist())
        if asked or late:
            self.save()
        if asked:
            raise TrainingInterruptedError(
                f"stopped in epoch {position.epoch + 1} after step {position.step}; saved in {self.directory.path}: "
                "the same command with `resume` continues"
            )

    def _refuse_not_finite(self) -> None:
        bad = self.position.means.first_not_finite()
        flags = self.parts.accelerator.gather(torch.tensor([bad is not None], device=self.parts.accelerator.device))
        if bad is not None:
            step, name = bad
            raise XkdError(
                f"training: the loss {name} is not finite in step {step + 1} of epoch {self.position.epoch + 1}; the "
                f"last good checkpoint is {self._last_good()}: lower the learning rate, or set clip_norm"
            )
        if bool(flags.any()):
            raise XkdError("training: another process stopped on a loss that is not finite")

    def _last_good(self) -> str:
        file = self.directory.path / "last.pt"
        return str(file) if file.is_file() else "the start: none was written yet"

    def _images_at_once(self) -> int:
        return self.recipe.batch_size // (self.parts.accelerator.num_processes * self.recipe.accumulate)

    def _share_batch_statistics(self) -> None:
        """Every process normalises by the main one's statistics, which are those that are saved."""
        if self.parts.accelerator.num_processes > 1:
            for buffer in self.parts.evaluated.buffers():
                buffer.copy_(broadcast(buffer.clone()))

    @torch.inference_mode()
    def _teacher_answers(self, batch: Batch) -> Tensor:
        """The teacher's classes, asked once."""
        assert self.parts.teacher is not None
        key = int(batch.indices[0])
        if key not in self._answers:
            self._answers[key] = self.parts.teacher.classes(batch.pixels)
        return self._answers[key]

    def _write_student(self, name: str, row: dict[str, Any]) -> None:
        if not self.parts.accelerator.is_main_process:
            return
        student = self.parts.student
        contents = Checkpoint(
            architecture=self.recipe.student.architecture,
            arguments={"num_classes": student.num_classes, **self.recipe.student.arguments},
            state_dict={key: value.contiguous() for key, value in self.parts.evaluated.state_dict().items()},
            preprocess=student.preprocess,
            class_names=student.class_names,
            wordnet_ids=student.wordnet_ids,
            recipe=self.recipe.model_dump(mode="json"),
            metrics=dict(row),
            versions=_versions(),
        )
        save_checkpoint(contents, self.directory.path / name)

    def _restore(self, state: dict[str, Any]) -> None:
        parts, position = self.parts, self.position
        if parts.teacher is not None and state["teacher"] != parts.teacher.classifier.digest():
            raise XkdError(f"output {self.directory.path}: holds a run with another teacher; `overwrite` starts afresh")
        parts.student.model.load_state_dict(state["student"])
        parts.objective.methods.load_state_dict(state["methods"])
        parts.optimiser.load_state_dict(state["optimiser"])
        if parts.average is not None:
            parts.average.load_state_dict(state["average"])
        position.epoch, position.step = state["epoch"], state["step"]
        position.history, position.best = state["history"], state["best"]
        position.means = EpochMeans(state["means"])
        self.directory.write_metrics(position.history)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "xkd": __version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "accelerate": accelerate.__version__,
        "numpy": np.__version__,
    }
