"""The training loop: one run of one recipe, continued where it stopped, to the same weights."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NoReturn

import torch
from accelerate.utils import broadcast
from torch import Tensor

from distill.data.augmentation import derive_seed
from distill.data.batches import HeldOutImages, LabelledBatch
from distill.data.draws import OwnDraws
from distill.runs.directory import TrainingDirectory
from distill.runs.interruption import StopRequest, TrainingInterruptedError
from distill.runs.layout import BEST, NEW_BEST, STATE, STUDENT
from distill.students.scores import Scores, score
from distill.training.captured_step import CapturedStep
from distill.training.checkpoint import write_student
from distill.training.means import EpochMeans
from distill.training.schedules import factor
from distill.training.setup import TrainingSetup
from distill.training.state import Position, restore, state_of
from distill.training.step import OrdinaryStep, Step
from distill.training.tensorboard import TensorBoard
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading

_SECONDS_BETWEEN_SAVES = 600.0
# Asking whether all is well makes an accelerator, which runs ahead, wait.
_STEPS_BETWEEN_CHECKS = 50
_LEAST_EVALUATED_AT_ONCE = 250

TrainingProgress = Callable[[int, int, str], None]
"""Called with the images seen, the images of the whole training, and where it is."""


class TrainingLoop:
    """A training and where it is.

    Args:
        setup: what it works on.
        directory: what it has left so far, and where the rest goes.
        progress: told after every step.
        capture: launch each step as one CUDA graph.

    Raises:
        XkdError: the state in the directory is of other images or another teacher, or best.pt is not the state's.
    """

    def __init__(
        self, setup: TrainingSetup, directory: TrainingDirectory, progress: TrainingProgress, capture: bool
    ) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.directory = directory
        self.position = Position()
        self._progress = progress
        self._steps_per_epoch = setup.train.n_images // setup.recipe.batch_size
        self._steps_between_checks = 1 if setup.accelerator.device.type == "cpu" else _STEPS_BETWEEN_CHECKS
        self._answers: defaultdict[HeldOutImages, dict[int, Tensor]] = defaultdict(dict)
        self._saved_at = time.monotonic()
        self._began = 0.0
        if directory.state is not None:
            directory.check_origin(setup.origin)
            self.position = restore(setup, directory.state)
            directory.settle_best(self.position.best_file)
            directory.write_metrics(self.position.history)
        self._step: Step = CapturedStep(setup) if capture else OrdinaryStep(setup)
        directory.begin()
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
            while self.position.epoch < self.recipe.epochs:
                self.train_epoch(stop)
                self.close_epoch()
        return self.finish()

    def train_epoch(self, stop: StopRequest) -> None:
        """The rest of the epoch at whose start, or within which, the run stands."""
        setup, position = self.setup, self.position
        setup.wrapped.train()
        self._began = time.monotonic() - position.seconds
        weights = setup.objective.weights(position.epoch + 1)
        may_draw = setup.may_draw and isinstance(self._step, OrdinaryStep)  # a graph of no draws repeats none
        for given in self._step.inputs(position.epoch, position.step):
            with self._draws() if may_draw else nullcontext():
                values = self._step(given, self._learning_rate(position.step), weights)
            position.means.add(values, position.step)
            position.step += 1
            self._report()
            self._check(stop)
        position.seconds = time.monotonic() - self._began

    def close_epoch(self) -> None:
        """Evaluate, keep the best, save."""
        setup, position = self.setup, self.position
        self._refuse_weights_not_finite()
        means = setup.accelerator.reduce(position.means.means(), reduction="mean")
        self._broadcast_batch_statistics()
        scores = self.evaluate(setup.selection)
        learning_rate = self._learning_rate(position.step - 1)
        position.epoch += 1
        split = "test" if setup.val is None else "val"
        metrics = {
            "epoch": position.epoch,
            "learning_rate": learning_rate,
            **position.means.named(means),
            **{f"{split}_{name}": value for name, value in scores.to_dict().items() if name != "n_images"},
            "seconds": position.seconds,
        }
        position.history.append(metrics)
        position.step, position.seconds, position.means = 0, 0.0, EpochMeans()
        if position.best is None or scores.top1 > position.best[f"{split}_top1"]:
            position.best = metrics
            position.best_file = write_student(setup, metrics, self.directory.path / NEW_BEST)
        self.save()
        self.directory.settle_best(position.best_file)
        self.directory.write_metrics(position.history)
        self._tensorboard.write(metrics)

    def evaluate(self, images: HeldOutImages) -> Scores:
        """The scores of the network that is saved, on images that are not trained on.

        Raises:
            XkdError: one of them is not finite.
        """
        setup = self.setup
        network = setup.evaluated.eval()
        with setup.autocast():
            scores = score(
                lambda pixels: network(setup.normalise(pixels)),
                images.batches(max(self.recipe.batch_size, _LEAST_EVALUATED_AT_ONCE)),
                None if setup.teacher is None else partial(self._teacher_answers, images),
                setup.accelerator.gather,
            )
        for name, value in scores.to_dict().items():
            if not math.isfinite(value):
                self._refuse(f"the {name} of the student is {value} in epoch {self.position.epoch + 1}")
        return scores

    def save(self) -> None:
        """last.pt, once all losses and weights are known to be finite."""
        self._refuse_not_finite()
        self._refuse_weights_not_finite()
        self.directory.write_state(state_of(self.setup, self.position))
        self._saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Write student.pt and result.json: the last epoch, or the best where images were held out to select it."""
        setup, position = self.setup, self.position
        assert position.best is not None
        last, best = dict(position.history[-1]), dict(position.best)
        if setup.val is not None:
            last |= {f"test_{name}": value for name, value in self.evaluate(setup.test).to_dict().items()}
            self._load_best(position.best)
            best |= {f"test_{name}": value for name, value in self.evaluate(setup.test).to_dict().items()}
        chosen = last if setup.val is None else best
        write_student(setup, chosen, self.directory.path / STUDENT)
        result = {
            "origin": setup.origin.model_dump(mode="json"),
            "last": last,
            "best": best,
            "best_on": setup.val_from or "test images",
            "student": "last" if setup.val is None else "best",
            "seed": self.recipe.seed,
            "epochs": self.recipe.epochs,
            "train_images": setup.train.n_images,
            "processes": setup.accelerator.num_processes,
            "batch_norm_images": self._images_at_once(),
        }
        written = self.directory.write_result(result)
        setup.accelerator.wait_for_everyone()
        return written

    def _load_best(self, best: dict[str, Any]) -> None:
        """The weights of the best epoch, as best.pt has them."""
        self.directory.settle_best(self.position.best_file)
        file = self.directory.path / BEST
        selected = read_checkpoint(file, "output")
        if selected.metrics != best:
            raise XkdError(
                f"output: {str(file)!r} is not of epoch {best['epoch']}, the best; `overwrite` starts afresh"
            )
        with reading(f"output: {str(file)!r} is of another network", "`overwrite` starts afresh"):
            self.setup.evaluated.load_state_dict(dict(selected.state_dict))

    def _learning_rate(self, step: int) -> float:
        """The learning rate in a step, from 0, of the epoch that is under way."""
        recipe, per_epoch = self.recipe, self._steps_per_epoch
        done = self.position.epoch * per_epoch + step
        return recipe.optimiser.learning_rate * factor(recipe.schedule, done, recipe.epochs * per_epoch, per_epoch)

    def _draws(self) -> AbstractContextManager[Any]:
        """Whatever draws at random starts afresh with every step, so that a run may be continued at any."""
        position, process = self.position, self.setup.accelerator.process_index
        return OwnDraws(derive_seed(self.recipe.seed, position.epoch, position.step, process))

    def _report(self) -> None:
        position, size = self.position, self.recipe.batch_size
        done = (position.epoch * self._steps_per_epoch + position.step) * size
        total = self.recipe.epochs * self._steps_per_epoch * size
        self._progress(done, total, f"epoch {position.epoch + 1}/{self.recipe.epochs}{self._latest()}")

    def _latest(self) -> str:
        if not self.position.history:
            return ""
        metrics = self.position.history[-1]
        return "".join(f", {name} {metrics[name]:.3f}" for name in ("val_top1", "test_top1") if name in metrics)

    def _check(self, stop: StopRequest) -> None:
        """Now and then: is a stop asked for, are the losses finite, is it time to save?"""
        setup, position = self.setup, self.position
        asked_alone = stop.made and setup.accelerator.num_processes == 1
        due = position.step % self._steps_between_checks == 0 or position.step == self._steps_per_epoch
        if not asked_alone and not due:
            return
        self._refuse_not_finite()
        late = time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES
        wishes = torch.tensor([float(stop.made), float(late)], device=setup.accelerator.device)
        asked, late = (wish > 0 for wish in setup.accelerator.reduce(wishes, reduction="sum").tolist())
        if asked or late:
            position.seconds = time.monotonic() - self._began
            self.save()
        if asked:
            raise TrainingInterruptedError(
                f"stopped in epoch {position.epoch + 1} after step {position.step}; saved in {self.directory.path}: "
                "the same command with `resume` continues",
                stop.number,
            )

    def _refuse_not_finite(self) -> None:
        """Stop on a loss, or on weights, that are not finite: before they are saved."""
        position, accelerator = self.position, self.setup.accelerator
        bad = position.means.first_not_finite()
        flags = accelerator.gather(torch.tensor([bad is not None], device=accelerator.device))
        if bad is not None:
            step, name = bad
            if self.setup.teacher is not None:
                self.setup.teacher.check_finite()
            self._refuse(f"the loss {name} is not finite in step {step + 1} of epoch {position.epoch + 1}")
        if bool(flags.any()):
            raise XkdError("training: another process stopped on a loss that is not finite")

    def _refuse_weights_not_finite(self) -> None:
        """The last step's gradient may have spoilt what no loss has been computed by."""
        names, values = zip(*self.setup.objective.named_parameters(), strict=True)
        finite = torch.stack([value.isfinite().all() for value in values])  # waits for the device once
        if not bool(finite.all()):
            name, position = names[int(finite.logical_not().nonzero()[0])], self.position
            self._refuse(f"the weights {name} are not finite after step {position.step} of epoch {position.epoch + 1}")

    def _refuse(self, fault: str) -> NoReturn:
        raise XkdError(
            f"training: {fault}; the last good checkpoint is {self._last_good()}: lower the learning rate, or set "
            "clip_norm"
        )

    def _last_good(self) -> str:
        file = self.directory.path / STATE
        return str(file) if file.is_file() else "the start: none was written yet"

    def _images_at_once(self) -> int:
        return self.recipe.batch_size // (self.setup.accelerator.num_processes * self.recipe.accumulate)

    def _broadcast_batch_statistics(self) -> None:
        """Every process normalises by the main one's statistics, which are those that are saved."""
        if self.setup.accelerator.num_processes > 1:
            for buffer in self.setup.evaluated.buffers():
                buffer.copy_(broadcast(buffer.clone()))

    @torch.inference_mode()
    def _teacher_answers(self, images: HeldOutImages, batch: LabelledBatch) -> Tensor:
        """(B,) classes that the teacher predicts; each batch of a split, whose indices say which, is asked for once."""
        assert self.setup.teacher is not None
        answers, first = self._answers[images], int(batch.indices[0])
        if first not in answers:
            answers[first] = self.setup.teacher.classes(batch.pixels)
        return answers[first]
