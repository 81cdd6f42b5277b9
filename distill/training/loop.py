"""The training loop: one run of one recipe, continued where it stopped, to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from distill.data.augmentation import derive_seed
from distill.data.draws import OwnDraws
from distill.data.listing import images_list
from distill.methods.results import TOTAL
from distill.runs.directory import TrainingDirectory
from distill.runs.epochs import TRAINED
from distill.runs.interruption import StopRequest, TrainingInterruptedError
from distill.runs.layout import BEST, NEW_BEST, STUDENT
from distill.training.batch_norms import broadcast_statistics
from distill.training.captured_step import CapturedStep
from distill.training.checkpoint import load_best, write_student
from distill.training.evaluation import Evaluation, Weights, better_weights
from distill.training.finite import FiniteChecks
from distill.training.means import EpochMeans
from distill.training.networks import proof_notes
from distill.training.outcome import outcome_of, record_of
from distill.training.progress import TrainingPoint, TrainingProgress
from distill.training.schedules import factor
from distill.training.setup import TrainingSetup
from distill.training.state import Position, restore, state_of
from distill.training.step import OrdinaryStep, Step
from distill.training.taught import TaughtBatch
from distill.training.tensorboard import TensorBoard
from xkd_eval.classifiers.told import tell_note
from xkd_eval.foreign import reading

_SECONDS_BETWEEN_SAVES = 600.0
# Asking whether all is well makes an accelerator, which runs ahead, wait.
_STEPS_BETWEEN_CHECKS = 50


class TrainingLoop:
    """A training and where it is.

    Args:
        setup: what it works on.
        directory: what it has left so far, and where the rest goes.
        progress: told of every step and epoch.
        capture: launch each step as one CUDA graph.
        force: train by a teacher that is not surely better than guessing, too.

    Raises:
        XkdError: the state in the directory is of other images or another teacher, or best.pt is not the state's; or a
            teacher is not surely better than guessing.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        directory: TrainingDirectory,
        progress: TrainingProgress,
        *,
        capture: bool,
        force: bool,
    ) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.directory = directory
        self.position = Position()
        self.evaluation = Evaluation(setup)
        self._finite = FiniteChecks(setup, directory)
        self._progress = progress
        self._steps_per_epoch = len(setup.train.steps)
        self._steps_between_checks = 1 if setup.accelerator.device.type == "cpu" else _STEPS_BETWEEN_CHECKS
        self._saved_at = time.monotonic()
        if directory.state is not None:
            directory.check_origin(setup.origin)
            self.position = restore(setup, directory.state)
            directory.settle_best(self.position.best_file)
            directory.write_metrics(self.position.history)
        self._is_resumed = directory.state is not None
        if not force and not self._is_resumed:
            setup.answers.check(setup.selection)
        self._step: Step = CapturedStep(setup) if capture else OrdinaryStep(setup)
        data = setup.recipe.data
        directory.begin(images_list(setup.splits) if data.test_split or data.val_split else None)
        self._tensorboard = TensorBoard(directory.path, setup.accelerator.is_main_process, self.position.epoch)

    def run(self) -> dict[str, Any]:
        """Train what is left.

        Returns:
            What result.json holds.

        Raises:
            TrainingInterruptedError: by Ctrl-C or SIGTERM; the state is saved.
            XkdError: a loss that is not finite, a full disk.
        """
        with StopRequest() as stop:
            for _ in self.steps(stop):
                pass
        return self.finish()

    def steps(self, stop: StopRequest) -> Iterator[tuple[int, int]]:
        """Train what is left, a step at a time, up to `finish`.

        Yields:
            Before each step its epoch (from 0) and its number in it: others that learn in step may take theirs first.

        Raises:
            TrainingInterruptedError, XkdError: see `run`.
        """
        self._report(notes=self._notes())
        while not self.is_over():
            yield from self._epoch_steps(stop)
            self.close_epoch()

    def is_over(self) -> bool:
        """Whether all epochs are made, or as many as the recipe's patience allows have not been the best."""
        position, patience = self.position, self.recipe.patience
        if position.best is not None and patience is not None and position.epoch - position.best["epoch"] >= patience:
            return True
        return position.epoch >= self.recipe.epochs

    def _epoch_steps(self, stop: StopRequest) -> Iterator[tuple[int, int]]:
        """The rest of the epoch at whose start, or within which, the run stands."""
        setup, position = self.setup, self.position
        setup.wrapped.train()
        weights = setup.objective.weights(position.epoch + 1)
        while position.step < self._steps_per_epoch:
            yield position.epoch, position.step
            self._train_step(weights)
            self._report(loss=self._latest_loss())
            self._check(stop)

    def _train_step(self, weights: Sequence[float]) -> None:
        """The next step; its seconds are what it would have taken by itself, telling of it left out."""
        position, began = self.position, time.monotonic()
        given = self._step.input(position.epoch, position.step)
        by_others = given.take() if isinstance(given, TaughtBatch) else 0.0
        may_draw = self.setup.may_draw and isinstance(self._step, OrdinaryStep)  # a graph of no draws repeats none
        with self._draws() if may_draw else nullcontext():
            values = self._step(given, self._learning_rate(position.step), weights)
        position.means.add(values, position.step)
        position.step += 1
        position.seconds += time.monotonic() - began + by_others

    def close_epoch(self) -> None:
        """Evaluate, keep the best, save."""
        setup, position = self.setup, self.position
        self._finite.weights(position)
        means = setup.accelerator.reduce(position.means.means(), reduction="mean")
        broadcast_statistics([setup.student.model, setup.evaluated], setup.accelerator.num_processes)
        scores = self.evaluate()
        learning_rate = self._learning_rate(position.step - 1)
        position.epoch += 1
        measured = {
            "epoch": position.epoch,
            "learning_rate": learning_rate,
            **position.means.named(means),
            **scores,
            "seconds": position.seconds,
        }
        # Clocks differ between processes, and what they know of the best epoch must not.
        (metrics,) = broadcast_object_list([measured])
        position.history.append(metrics)
        position.step, position.seconds, position.means = 0, 0.0, EpochMeans()
        if position.best is None or self._best_top1(metrics) > self._best_top1(position.best):
            position.best = metrics
            network = self._network(better_weights(metrics, setup.selection))
            position.best_file = write_student(setup, network, metrics, self.directory.path / NEW_BEST)
        self.save()
        self.directory.settle_best(position.best_file)
        self.directory.write_metrics(position.history)
        self._tensorboard.write(metrics)
        self._report(loss=metrics["total"], metrics=metrics)

    def evaluate(self) -> dict[str, float]:
        """The scores of the epoch's weights on the images that select the epoch.

        Raises:
            XkdError: one of them is not finite.
        """
        epoch = self.position.epoch + 1
        with reading(f"training: the student cannot be evaluated in epoch {epoch}", "lower the learning rate"):
            scores = self.evaluation.scores(self.setup.selection)
        for name, value in scores.items():
            if not math.isfinite(value):
                self._finite.refuse(f"the student's {name} is {value} in epoch {epoch}")
        return scores

    def save(self) -> None:
        """last.pt, once all losses and weights are known to be finite."""
        self._finite.losses(self.position)
        self._finite.weights(self.position)
        self.directory.write_state(state_of(self.setup, self.position))
        self._saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Write student.pt and result.json: the best epoch where images are there to select it, or else the last."""
        setup, position = self.setup, self.position
        assert position.best is not None
        last, best = dict(position.history[-1]), dict(position.best)
        selected = setup.val is not None or self.recipe.select_on_test
        if setup.val is not None:
            last |= self.evaluation.scores("test")
        weights: Weights = "average"
        if selected:
            weights = better_weights(best, setup.selection)
            self.directory.settle_best(position.best_file)
            load_best(self.directory.path / BEST, position.best, self._network(weights))
        if setup.val is not None:  # of the other weights of that epoch nothing is kept
            best |= self.evaluation.scores("test", weights)
        chosen = best if selected else last
        notes = proof_notes(setup.student, self._network(weights))
        for note in notes:
            tell_note(note)
        write_student(setup, self._network(weights), chosen, self.directory.path / STUDENT, record_of(setup))
        average = {"saved": weights, "better": better_weights(chosen, setup.selection)}
        written = self.directory.write_result(
            {
                "last": last,
                "best": best,
                "student": "best" if selected else "last",
                "average": None if setup.average is None else average,
                "teachers": setup.answers.scores(*dict.fromkeys((setup.selection, "test"))),
                **outcome_of(setup, position, notes),
            }
        )
        setup.accelerator.wait_for_everyone()
        return written

    def _learning_rate(self, step: int) -> float:
        """The learning rate in a step, from 0, of the epoch that is under way."""
        recipe, per_epoch = self.recipe, self._steps_per_epoch
        done = self.position.epoch * per_epoch + step
        return recipe.optimiser.learning_rate * factor(recipe.schedule, done, recipe.epochs * per_epoch, per_epoch)

    def _draws(self) -> AbstractContextManager[Any]:
        """Whatever draws at random starts afresh with every step, so that a run may be continued at any."""
        position, process = self.position, self.setup.accelerator.process_index
        return OwnDraws(derive_seed(self.recipe.seed, position.epoch, position.step, process))

    def _report(self, **told: Any) -> None:
        position, steps = self.position, self.setup.train.steps
        epoch = position.epoch + (1 if "metrics" not in told else 0)
        done = position.epoch * steps.n_images + steps.seen_before(position.step)
        total = self.recipe.epochs * steps.n_images
        self._progress(TrainingPoint(done, total, min(epoch, self.recipe.epochs), self.recipe.epochs, **told))

    def _latest_loss(self) -> float | None:
        """The mean of the total so far, now and then: an accelerator that runs ahead is waited for."""
        if self.position.step % self._steps_between_checks:
            return None
        return self.position.means.named(self.position.means.means())[TOTAL]

    def _notes(self) -> tuple[str, ...]:
        """What the user should know before the first step."""
        split, answers = self.setup.selection, self.setup.answers
        # Of a training that goes on all this was measured and said when it began.
        asked = () if self._is_resumed else self.recipe.named_teachers
        measured = (line for name in asked for line in answers.accuracy(name, split))
        return (*self.setup.notes, *self.setup.splits.notes, *answers.inputs(), *measured)

    def _network(self, weights: Weights) -> nn.Module:
        return self.setup.evaluated if weights == "average" else self.setup.student.model

    def _best_top1(self, epoch: dict[str, Any]) -> float:
        """What the best epoch is the best by."""
        name = f"{self.setup.selection}_top1"
        return max(epoch[name], epoch.get(f"{name}{TRAINED}", 0.0))

    def _check(self, stop: StopRequest) -> None:
        """Now and then: is a stop asked for, are the losses finite, is it time to save?"""
        setup, position = self.setup, self.position
        asked_alone = stop.made and setup.accelerator.num_processes == 1
        due = position.step % self._steps_between_checks == 0 or position.step == self._steps_per_epoch
        if not asked_alone and not due:
            return
        self._finite.losses(position)
        late = time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES
        wishes = torch.tensor([float(stop.made), float(late)], device=setup.accelerator.device)
        asked, late = (wish > 0 for wish in setup.accelerator.reduce(wishes, reduction="sum").tolist())
        if asked or late:
            self.save()
        if asked:
            raise TrainingInterruptedError(
                f"stopped in epoch {position.epoch + 1} after step {position.step}; saved in {self.directory.path}: "
                "the same command with `resume` continues",
                stop.number,
            )
